package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"

	"sluice/relay"
	"sluice/relay/endpoint"
)

// Options are what Parse has to know beside the document. The zero value is
// of use: no document in force, no sealed secrets, no roles but the document's.
type Options struct {
	// InForce is the document in force, for secrets that are kept with
	// {"set": true}. Nil if there is none.
	InForce *Document
	// Unseal opens a secret sealed to this box, given as age armor. Nil where
	// the box has no key: a sealed secret is then a fault.
	Unseal func(armor string) (string, error)
	// LocalUplinks are the NIC roles given on the command line, in their
	// order. They exist whether or not the document names them, and the first
	// is the default where the document has none.
	LocalUplinks []string
	// Local marks an edit made on the box: its version may be left out, and is
	// then 0.
	Local bool
	// Stored marks what Document.Stored made. With every default written out
	// it may be larger than MaxDocument; and roles may have gone from the
	// command line since, which is no reason to lose the rest: what refers to
	// one is then on an uplink that is never ready.
	Stored bool
}

// A Document is a Desired one that has no fault: secrets are resolved, and
// every field that has a default and belongs to its object is filled.
type Document struct {
	Desired
	// Digest is the SHA-256 in hexadecimal of state and secrets as they were
	// received: each compacted, that is without the space between tokens, and
	// followed by a newline; secrets that are not there are null. This is what
	//
	//	jq -c .state,.secrets | sha256sum
	//
	// says of a document whose strings and numbers jq would write the same way.
	Digest string

	local []string // Options.LocalUplinks
}

// Parse reads, resolves and validates a desired document. The error is a
// *Faults that holds everything that is wrong with it, within 200 faults.
//
// What the document asks for and this build cannot do is no fault: see
// relay.InputGap and relay.OutputGap. Nor is Commit: whether it can be obeyed,
// and whether the version may follow the one in force, the caller knows.
func Parse(raw []byte, o Options) (*Document, error) {
	if len(raw) > MaxDocument && !o.Stored {
		return nil, refuse(CodeTooLarge, "the document has %d bytes: use at most %d", len(raw), MaxDocument)
	}
	if !utf8.Valid(raw) {
		return nil, refuse(CodeUnsupported, "the document is not UTF-8 at byte %d: send UTF-8", invalidAt(raw))
	}
	top, err := scan(raw)
	if err != nil {
		return nil, named(refuse(CodeBadRequest, "%s", err), top)
	}
	if top.kind != objectKind {
		return nil, refuse(CodeBadRequest, "the document is %v: send an object", top.kind)
	}
	if s := top.get("schema"); s != nil && s.kind == stringKind && s.text != Schema {
		// Whatever else seems wrong with it is right by its own schema.
		faults := refuse(CodeBadRequest, "schema is %s: use %s", quote(s.text), Schema)
		faults.Errors[0].Pointer = "/schema"
		return nil, named(faults, top)
	}

	doc := &Document{Digest: digest(top), local: slices.Clone(o.LocalUplinks)}
	faults := &faultList{}
	d := &decoder{fields: newFields(), faults: faults}
	d.object(top, "", reflect.ValueOf(&doc.Desired).Elem(), mode{})
	if !o.Local && top.get("version") == nil {
		faults.addf("/version", "version is missing: give a whole number above the version in force")
	} else if !o.Local && doc.Version == 0 {
		faults.follow([]endpoint.Fault{endpoint.Faultf("/version", "version is 0: use a whole number above the version in force")})
	}
	resolveSecrets(doc, d.fields, faults, o)
	for i := range doc.State.Flows {
		doc.State.Flows[i].Fill()
	}
	faults.follow(doc.rules(o.Stored))
	if faults.total > 0 {
		return nil, named(&Faults{Code: CodeBadRequest, Errors: faults.faults, Total: faults.total}, top)
	}
	return doc, nil
}

// refuse returns the one fault of a document that is not even read.
func refuse(code int, format string, args ...any) *Faults {
	f := endpoint.Fault{Code: endpoint.CodeInvalid, Message: fmt.Sprintf(format, args...)}
	return &Faults{Code: code, Errors: []endpoint.Fault{f}, Total: 1}
}

// named puts the document's version and token into the answer, as far as they
// can be read.
func named(f *Faults, top *node) *Faults {
	if top == nil {
		return f
	}
	if v := top.get("version"); v != nil && v.kind == numberKind {
		_ = json.Unmarshal([]byte(v.text), &f.Version)
	}
	if t := top.get("client_token"); t != nil && t.kind == stringKind && len([]rune(t.text)) <= 64 {
		f.ClientToken = t.text
	}
	return f
}

func invalidAt(raw []byte) int {
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(raw)
}

// digest is explained at Document.
func digest(top *node) string {
	var b bytes.Buffer
	for _, name := range []string{"state", "secrets"} {
		raw := []byte("null")
		if n := top.get(name); n != nil && len(n.raw) > 0 {
			raw = n.raw
		}
		_ = json.Compact(&b, raw) // it was read as JSON before
		b.WriteByte('\n')
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

// DefaultUplink is the role of what names none: the document's default, or
// else the first of the command line. It is empty where there is neither.
func (d *Document) DefaultUplink() string {
	for _, u := range d.State.Uplinks {
		if u.Default {
			return u.Name
		}
	}
	if len(d.local) > 0 {
		return d.local[0]
	}
	return ""
}

// Engine returns what is to be relayed, with the uplink of every input,
// output and RTP destination named: its own, or that of the output's region,
// or the default. The Config shares nothing with the document that a change
// of uplinks would touch.
func (d *Document) Engine() relay.Config {
	byDefault := d.DefaultUplink()
	or := func(names ...string) string {
		for _, n := range names {
			if n != "" {
				return n
			}
		}
		return byDefault
	}
	flows := slices.Clone(d.State.Flows)
	for i := range flows {
		f := &flows[i]
		f.Inputs = slices.Clone(f.Inputs)
		for j := range f.Inputs {
			f.Inputs[j].Uplink = or(f.Inputs[j].Uplink)
		}
		f.Outputs = slices.Clone(f.Outputs)
		for j := range f.Outputs {
			o := &f.Outputs[j]
			o.Uplink = or(o.Uplink, d.State.Regions[o.Region])
			if o.RTP == nil {
				continue
			}
			c := *o.RTP
			c.Destinations = slices.Clone(c.Destinations)
			for k := range c.Destinations {
				c.Destinations[k].Uplink = or(c.Destinations[k].Uplink, o.Uplink)
			}
			o.RTP = &c
		}
	}
	return relay.Config{Flows: flows}
}

// Stored returns the document as it is kept on the box's own disk, every
// secret in its place and readable. Parse makes an equal document of it, but
// for the digest, which is of what was received.
func (d *Document) Stored() ([]byte, error) {
	e := encoder{fields: newFields(), reveal: true}
	return e.value(nil, reflect.ValueOf(d.Desired), "")
}

// RedactedDesired returns the document without its secrets, to be read,
// edited and sent back: every secret is {"set": true}. What belongs to one
// delivery alone (base_version, client_token, timestamp, commit) is left out.
func (d *Document) RedactedDesired() json.RawMessage {
	return d.redacted(Desired{Schema: d.Schema, Version: d.Version, State: d.State})
}

// RedactedState returns the state of the Reported document: secrets are
// {"set": true}, and every output has the playback URLs that playback gives
// for its flow's id and its own.
func (d *Document) RedactedState(playback func(flow, output string) []string) json.RawMessage {
	s := d.State
	s.Flows = slices.Clone(s.Flows)
	for i := range s.Flows {
		f := &s.Flows[i]
		f.Outputs = slices.Clone(f.Outputs)
		for j := range f.Outputs {
			urls := playback(f.ID, f.Outputs[j].ID)
			f.Outputs[j].PlaybackURLs = append([]string{}, urls...)
		}
	}
	return d.redacted(s)
}

func (d *Document) redacted(v any) json.RawMessage {
	e := encoder{fields: newFields()}
	b, err := e.value(nil, reflect.ValueOf(v), "")
	if err != nil {
		return json.RawMessage("null") // only a time beyond year 9999 cannot be written; Parse lets none in
	}
	return b
}
