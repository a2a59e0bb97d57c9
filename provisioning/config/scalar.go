package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"sluice/relay/endpoint"
)

// secret reads one of the three forms of a secret. Nothing of it is quoted.
func (d *decoder) secret(n *node, at string, to *endpoint.Secret, f *field) {
	switch {
	case n.kind == stringKind:
		if !f.length.holds(int64(len([]rune(n.text)))) {
			d.faults.addf(at, "%s", wrongLength(f, n.text))
			return
		}
		*to = endpoint.NewSecret(n.text)
	case f.keys != "":
		// The document's own secrets are what the other forms refer to.
		d.faults.addf(at, "%s is %v: give a string, plain or age armor", f.name, n.kind)
	case n.kind == objectKind && len(n.members) == 1:
		switch m := n.members[0]; {
		case m.name == "secret" && m.value.kind == stringKind && m.value.text != "":
			*to = endpoint.SecretRef(m.value.text)
			return
		case m.name == "set" && m.value.text == "true" && m.value.kind == boolKind:
			*to = endpoint.KeepSecret()
			return
		}
		fallthrough
	default:
		d.faults.addf(at, `%s is none of the forms of a secret: give a string, {"secret": "NAME"} or {"set": true}`, f.name)
	}
}

// allow reads prefixes from a list, or from the console's string with ;
// between them. Neither an empty entry nor an unreadable one may stand for
// everyone.
func (d *decoder) allow(n *node, at string, to *endpoint.AllowList, f *field) {
	type entry struct{ text, at string }
	var entries []entry
	switch n.kind {
	case stringKind:
		text := strings.TrimSuffix(strings.TrimSpace(n.text), ";")
		if text == "" && !strings.Contains(n.text, ";") {
			return
		}
		d.count(strings.Count(text, ";")+1, at, f)
		for part := range strings.SplitSeq(text, ";") {
			if int64(len(entries)) == f.items.max {
				break // more is a fault already
			}
			entries = append(entries, entry{part, at})
		}
	case listKind:
		d.count(len(n.items), at, f)
		for i, it := range n.items[:min(int64(len(n.items)), f.items.max)] {
			place := fmt.Sprintf("%s/%d", at, i)
			if it.kind != stringKind {
				d.faults.addf(place, "%s has %v: give a CIDR prefix such as 203.0.113.0/28", f.name, it.kind)
				continue
			}
			entries = append(entries, entry{it.text, place})
		}
	default:
		d.wrong(n, at, f, reflect.TypeFor[endpoint.AllowList]())
		return
	}
	for _, e := range entries {
		p, err := endpoint.ParseAllow(e.text)
		if err != nil {
			d.faults.addf(e.at, "%s has %s: use CIDR prefixes such as 203.0.113.0/28", f.name, quote(e.text))
			continue
		}
		*to = append(*to, p)
	}
}

func (d *decoder) time(n *node, at string, to *time.Time, f *field) {
	if n.kind != stringKind {
		d.wrong(n, at, f, reflect.TypeFor[time.Time]())
		return
	}
	t, err := time.Parse(time.RFC3339Nano, n.text)
	if err != nil {
		d.faults.addf(at, "%s is %s: use RFC 3339, such as 2026-11-23T09:00:00Z", f.name, quote(n.text))
		return
	}
	*to = t.UTC()
}

// A textual value reads itself from a string: an address or a prefix.
type textual interface {
	encoding.TextUnmarshaler
	IsValid() bool
}

func (d *decoder) text(n *node, at string, to textual, f *field) {
	t := reflect.TypeOf(to).Elem()
	if n.kind != stringKind {
		d.wrong(n, at, f, t)
		return
	}
	if err := to.UnmarshalText([]byte(n.text)); err != nil || !to.IsValid() {
		d.faults.addf(at, "%s is %s: use %s", f.name, quote(n.text), d.describe(f, t))
	}
}

// isText tells whether a struct type is written as a string.
func isText(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[time.Time](), reflect.TypeFor[endpoint.Secret]():
		return true
	}
	return false
}

// describe says what may stand in a field, as in "give ...".
func (d *decoder) describe(f *field, t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[endpoint.Secret]():
		return `a string, {"secret": "NAME"} or {"set": true}`
	case reflect.TypeFor[endpoint.AllowList]():
		return "a list of CIDR prefixes, or a string of them joined with ;"
	case reflect.TypeFor[time.Time]():
		return "a time in RFC 3339"
	case reflect.TypeFor[netip.Addr]():
		return "an IP address"
	case reflect.TypeFor[netip.Prefix]():
		return "an IP address with its prefix length, such as 192.0.2.9/24"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Uint64:
		switch {
		case len(f.enum) > 0:
			return join(f.enum, "or")
		case f.bounds != nil:
			return "a whole number, " + f.bounds.String()
		}
		return "a whole number"
	case reflect.String:
		if len(f.enum) > 0 {
			return join(f.enum, "or")
		}
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}
