package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"sluice/relay/endpoint"
)

// Reference returns the reference of every field of a desired document, in
// Markdown.
func Reference() []byte {
	r := reference{fields: newFields()}
	r.print("# Configuration reference\n\n" +
		"Every field of a `" + Schema + "` document. This page and [config.schema.json](config.schema.json) are made from the code with `go generate ./...`.\n\n" +
		"A field that has a mode belongs only there: elsewhere it is a fault, and its default does not apply. `[]` stands for each item of a list.\n" +
		"A **secret** is a string, `{\"secret\": \"NAME\"}` for one of the document's `secrets` (plain or age armor), or `{\"set\": true}` to keep what is in force.\n" +
		"`null` stands nowhere: leave a field out instead.\n")
	r.object("", reflect.TypeFor[Desired](), "")
	return r.out.Bytes()
}

type reference struct {
	fields *fieldsOf
	out    bytes.Buffer
}

func (r *reference) print(s string) { r.out.WriteString(s) }

// object writes the table of one object, and then those of the objects in it.
// selector names the field whose value is the mode.
func (r *reference) object(at string, t reflect.Type, selector string) {
	title := "The document"
	if at != "" {
		title = "`" + at + "`"
	}
	r.print("\n## " + title + "\n\n")
	r.print("| field | type | default | allowed | unit | description |\n|---|---|---|---|---|---|\n")
	fields := r.fields.of(t)
	for i := range fields {
		if fields[i].selects {
			selector = fields[i].name
		}
	}
	for i := range fields {
		r.row(&fields[i], selector)
	}
	for i := range fields {
		f := &fields[i]
		if e := element(f.typ); e.Kind() == reflect.Struct && !isText(e) {
			r.object(strings.TrimPrefix(at+"."+f.name, ".")+strings.Repeat("[]", lists(f.typ)), e, selector)
		}
	}
}

func (r *reference) row(f *field, selector string) {
	var notes []string
	if f.doc != "" {
		notes = append(notes, f.doc)
	}
	if len(f.only) > 0 {
		notes = append(notes, fmt.Sprintf("only with `%s` %s", selector, code(f.only)))
	}
	byDefault := ""
	if f.preset != "" {
		byDefault = "`" + f.preset + "`"
	}
	if len(f.required) > 0 {
		byDefault = "**required**"
	}
	r.print(fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n",
		f.name, typeName(f.typ), byDefault, r.allowed(f), f.unit, strings.ReplaceAll(strings.Join(notes, "; "), "|", "\\|")))
}

// allowed says which values may stand in a field.
func (r *reference) allowed(f *field) string {
	var parts []string
	if len(f.enum) > 0 {
		parts = append(parts, code(f.enum))
	}
	if f.bounds != nil {
		parts = append(parts, f.bounds.String())
	}
	if f.items != nil {
		parts = append(parts, f.items.String()+" items")
	}
	if f.length != nil {
		parts = append(parts, f.length.String()+" characters")
	}
	if p, ok := r.fields.forms[f.pattern]; ok {
		parts = append(parts, p.words)
	}
	if p, ok := r.fields.forms[f.keys]; ok {
		parts = append(parts, "names: "+p.words)
	}
	for from, to := range f.alias {
		parts = append(parts, fmt.Sprintf("`%s` is stored as `%s`", from, to))
	}
	return strings.Join(parts, "; ")
}

func code(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = "`" + v + "`"
	}
	return join(quoted, "or")
}

func lists(t reflect.Type) int {
	if t.Kind() == reflect.Slice {
		return 1
	}
	return 0
}

// typeName names the type of a field for people.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[endpoint.Secret]():
		return "secret"
	case reflect.TypeFor[endpoint.AllowList]():
		return "list of CIDR prefixes, or one string"
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[netip.Addr]():
		return "IP address"
	case reflect.TypeFor[netip.Prefix]():
		return "IP address with prefix length"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + strings.TrimSuffix(typeName(t.Elem()), "s") + "s"
	case reflect.Map:
		return "object of " + typeName(t.Elem()) + "s"
	case reflect.Struct:
		return "object"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Uint64:
		return "integer"
	}
	return "string"
}
