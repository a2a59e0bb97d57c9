package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/relay/endpoint"
)

// A Draft is a document that somebody is writing: it may be incomplete and
// wrong, and is kept as it is. Its secrets stand apart, each under a name that
// the state refers to, so that what is shown can be edited and given back
// without anyone having seen them.
type Draft struct {
	state   *node
	secrets map[string]string
}

// draftSecret begins the names of secrets that were written in their places.
const draftSecret = "draft-"

// ParseDraft reads one. Of the secrets, {"set": true} stands for the one of
// that name in before, which may be nil. Only what is no JSON of bounded size
// and depth, or no document at all, is an error; it quotes no value.
func ParseDraft(raw []byte, before *Draft) (*Draft, error) {
	if len(raw) > MaxDocument {
		return nil, refuse(CodeTooLarge, "the document has %d bytes: use at most %d", len(raw), MaxDocument)
	}
	return parseDraft(raw, before)
}

// Draft returns the document as one that can be edited.
func (d *Document) Draft() (*Draft, error) {
	stored, err := d.Stored()
	if err != nil {
		return nil, err
	}
	return parseDraft(stored, nil)
}

func parseDraft(raw []byte, before *Draft) (*Draft, error) {
	if !utf8.Valid(raw) {
		return nil, refuse(CodeUnsupported, "the document is not UTF-8 at byte %d: send UTF-8", invalidAt(raw))
	}
	top, err := scan(raw)
	if err != nil {
		return nil, refuse(CodeBadRequest, "%s", err)
	}
	if top.kind != objectKind {
		return nil, refuse(CodeBadRequest, "the document is %v: send an object", top.kind)
	}
	if s := top.get("schema"); s != nil && (s.kind != stringKind || s.text != Schema) {
		return nil, refuse(CodeBadRequest, "the document is of another schema: use %s", Schema)
	}
	d := &Draft{state: top.get("state"), secrets: map[string]string{}}
	if d.state == nil {
		d.state = &node{kind: objectKind}
	}
	if d.state.kind != objectKind {
		return nil, refuse(CodeBadRequest, "state is %v: send an object", d.state.kind)
	}
	if err := d.take(top.get("secrets"), before); err != nil {
		return nil, refuse(CodeBadRequest, "%s", err)
	}
	walker{fields: newFields(), secret: d.setApart}.walk(d.state, reflect.TypeFor[Settings](), true, "")
	return d, nil
}

// take reads the secrets of a draft.
func (d *Draft) take(n *node, before *Draft) error {
	if n == nil {
		return nil
	}
	if n.kind != objectKind {
		return fmt.Errorf("secrets is %v: send an object", n.kind)
	}
	name := forms()["secret"]
	for _, m := range n.members {
		switch {
		case !name.compiled.MatchString(m.name):
			return errors.New("a name of one of the secrets will not do: use " + name.words)
		case m.value.kind == stringKind:
			d.secrets[m.name] = m.value.text
		case isKeep(m.value):
			value, ok := "", false
			if before != nil {
				value, ok = before.secrets[m.name]
			}
			if !ok {
				return fmt.Errorf("the secret %s is to be kept, and there is none: give it", m.name)
			}
			d.secrets[m.name] = value
		default:
			return fmt.Errorf(`the secret %s is %v: give a string, or {"set": true} to keep it`, m.name, m.value.kind)
		}
	}
	return nil
}

// isKeep tells whether n is {"set": true}.
func isKeep(n *node) bool {
	if n.kind != objectKind || len(n.members) != 1 {
		return false
	}
	m := n.members[0]
	return m.name == "set" && m.value.kind == boolKind && m.value.text == "true"
}

// isReference tells whether n is {"secret": "NAME"}.
func isReference(n *node) bool {
	return n.kind == objectKind && len(n.members) == 1 && n.members[0].name == "secret" && n.members[0].value.kind == stringKind &&
		forms()["secret"].compiled.MatchString(n.members[0].value.text)
}

// setApart takes a secret that was written in its place to the others.
func (d *Draft) setApart(n *node) {
	if n.kind != stringKind || n.text == "" {
		return
	}
	name := ""
	for i := len(d.secrets) + 1; name == ""; i++ {
		if _, taken := d.secrets[draftSecret+strconv.Itoa(i)]; !taken {
			name = draftSecret + strconv.Itoa(i)
		}
	}
	d.secrets[name] = n.text
	*n = node{kind: objectKind, members: []member{{"secret", &node{kind: stringKind, text: name}}}}
}

// Document returns what Parse makes a Document of, with its secrets.
func (d *Draft) Document() []byte {
	top := &node{kind: objectKind, members: []member{
		{"schema", &node{kind: stringKind, text: Schema}},
		{"state", d.state},
	}}
	if len(d.secrets) > 0 {
		top.members = append(top.members, member{"secrets", d.named(func(value string) *node { return &node{kind: stringKind, text: value} })})
	}
	return top.append(nil)
}

// named returns an object with a member for each secret.
func (d *Draft) named(value func(string) *node) *node {
	n := &node{kind: objectKind}
	for _, name := range slices.Sorted(maps.Keys(d.secrets)) {
		n.members = append(n.members, member{name, value(d.secrets[name])})
	}
	return n
}

// Redacted returns the draft as it may be shown: nothing in it was, or may
// have been meant as, a secret. What stands where no such value belongs is
// {"set": false}: it may be one that was written to the wrong place, and as it
// is shown it is the fault that it was.
func (d *Draft) Redacted() json.RawMessage {
	state := d.state.clone()
	walker{fields: newFields(), secret: hideSecret, stray: hide}.walk(state, reflect.TypeFor[Settings](), true, "")
	top := &node{kind: objectKind, members: []member{
		{"schema", &node{kind: stringKind, text: Schema}},
		{"state", state},
	}}
	if len(d.secrets) > 0 {
		top.members = append(top.members, member{"secrets", d.named(func(string) *node {
			return marker("true")
		})})
	}
	return top.append(nil)
}

// marker returns {"set": true} or {"set": false}.
func marker(set string) *node {
	return &node{kind: objectKind, members: []member{{"set", &node{kind: boolKind, text: set}}}}
}

// hide hides what has no business in its place.
func hide(n *node) { *n = *marker("false") }

// hideSecret hides what stands in the place of a secret, unless it says only
// where that is to be found.
func hideSecret(n *node) {
	switch {
	case isReference(n), isKeep(n), n.kind == nullKind, n.kind == boolKind:
	case n.kind == stringKind && n.text == "":
	default:
		hide(n)
	}
}

// A walker goes through a state as it was written, along the types that it
// should have.
type walker struct {
	fields *fieldsOf
	secret func(*node) // is called with what stands in the place of a secret
	// stray, unless nil, is called with every value that has no business in its
	// place. It may have been meant as a secret.
	stray func(*node)
}

// walk goes through n, which should be a t. belongs tells that such a value may
// stand there, mode is that of the object around it.
func (w walker) walk(n *node, t reflect.Type, belongs bool, mode string) {
	if t == reflect.TypeFor[endpoint.Secret]() {
		w.secret(n)
		return
	}
	if t.Kind() == reflect.Pointer {
		w.walk(n, t.Elem(), belongs, mode)
		return
	}
	text := t == reflect.TypeFor[time.Time]() || isText(t) || t.Kind() == reflect.String
	fits := false
	switch {
	case n.kind == nullKind, n.kind == boolKind:
		fits = true // tells nothing
	case t == reflect.TypeFor[endpoint.AllowList]():
		w.items(n, reflect.TypeFor[string](), mode)
		fits = n.kind == stringKind || n.kind == listKind
	case text:
		fits = n.kind == stringKind
	case t.Kind() == reflect.Struct:
		if fits = n.kind == objectKind; fits {
			w.object(n, t, mode)
		}
	case t.Kind() == reflect.Slice:
		w.items(n, t.Elem(), mode)
		fits = n.kind == listKind
	case t.Kind() == reflect.Map:
		for _, m := range n.members {
			w.walk(m.value, t.Elem(), true, mode)
		}
		fits = n.kind == objectKind
	default:
		fits = n.kind == numberKind
	}
	if w.stray == nil {
		return
	}
	if !fits || !belongs {
		w.stray(n)
	} else if n.kind == stringKind {
		n.text = withoutUser(n.text)
	}
}

// withoutUser returns a URL without a name and password: no field takes any.
func withoutUser(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	if u, err := url.Parse(text); err == nil && u.User == nil && u.Opaque == "" {
		return text
	}
	return user.ReplaceAllString(text, "://")
}

// user is what may be a name and a password, in what may be a URL.
var user = regexp.MustCompile(`(?s)://.*@`)

func (w walker) items(n *node, t reflect.Type, mode string) {
	for _, item := range n.items {
		w.walk(item, t, true, mode)
	}
}

func (w walker) object(n *node, t reflect.Type, mode string) {
	fields := w.fields.of(t)
	for i := range fields {
		if f := &fields[i]; f.selects {
			mode = ""
			if m := n.get(f.name); m != nil && m.kind == stringKind && slices.Contains(f.enum, m.text) {
				mode = f.canonical(m.text)
			}
		}
	}
	for _, m := range n.members {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i < 0 {
			if w.stray != nil && m.value.kind != nullKind && m.value.kind != boolKind {
				w.stray(m.value)
			}
			continue
		}
		f := &fields[i]
		// The path of an RTMP_PULL output, which is public, has the name of
		// what is secret of the others.
		public := f.name != "stream_key" || f.belongs(mode)
		w.walk(m.value, f.typ, public, mode)
	}
}

func (n *node) clone() *node {
	c := *n
	c.members = slices.Clone(n.members)
	for i := range c.members {
		c.members[i].value = c.members[i].value.clone()
	}
	c.items = slices.Clone(n.items)
	for i := range c.items {
		c.items[i] = c.items[i].clone()
	}
	return &c
}

// append writes the value without space between its tokens.
func (n *node) append(b []byte) []byte {
	switch n.kind {
	case nullKind:
		return append(b, "null"...)
	case boolKind, numberKind:
		return append(b, n.text...)
	case stringKind:
		return appendString(b, n.text)
	case listKind:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.append(b)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, m := range n.members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, m.name), ':')
		b = m.value.append(b)
	}
	return append(b, '}')
}

// SameState tells whether two documents ask for the same, secrets included.
func (d *Document) SameState(other *Document) bool {
	e := encoder{fields: newFields(), reveal: true}
	mine, err := e.value(nil, reflect.ValueOf(d.State), "")
	if err != nil {
		return false
	}
	theirs, err := e.value(nil, reflect.ValueOf(other.State), "")
	return err == nil && bytes.Equal(mine, theirs)
}

// MarshalJSON shows no secret.
func (d *Draft) MarshalJSON() ([]byte, error) { return d.Redacted(), nil }

// ReadDraft reads what Draft.Document made. It may be larger than MaxDocument.
func ReadDraft(stored []byte) (*Draft, error) { return parseDraft(stored, nil) }

// RedactedDraft returns the document as a draft is shown: each secret is
// {"set": true}, to be kept.
func (d *Document) RedactedDraft() json.RawMessage {
	b := appendString([]byte(`{"schema":`), Schema)
	b = append(b, `,"state":`...)
	return append(append(b, d.redacted(d.State)...), '}')
}
