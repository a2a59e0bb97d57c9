package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strconv"
	"time"

	"sluice/relay/endpoint"
)

//go:generate go run ./generate ../../docs

// A schema is a JSON Schema (draft 2020-12), as far as it is used here. The
// formats ip-address, ip-prefix and ip-network (either) are ours: validators
// that do not know a format pass it over.
type schema struct {
	Schema      string     `json:"$schema,omitempty"`
	ID          string     `json:"$id,omitempty"`
	Ref         string     `json:"$ref,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Unit        string     `json:"x-unit,omitempty"`
	Form        string     `json:"x-form,omitempty"` // the pattern in words, as in "use ..."
	Type        string     `json:"type,omitempty"`
	Format      string     `json:"format,omitempty"`
	Const       any        `json:"const,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Default     any        `json:"default,omitempty"`
	Minimum     *int64     `json:"minimum,omitempty"`
	Maximum     *int64     `json:"maximum,omitempty"`
	MinLength   *int64     `json:"minLength,omitempty"`
	MaxLength   *int64     `json:"maxLength,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	MinItems    *int64     `json:"minItems,omitempty"`
	MaxItems    *int64     `json:"maxItems,omitempty"`
	Items       *schema    `json:"items,omitempty"`
	ReadOnly    bool       `json:"readOnly,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Names       *schema    `json:"propertyNames,omitempty"`
	// Additional is false, or the schema of a map's values.
	Additional any        `json:"additionalProperties,omitempty"`
	OneOf      []*schema  `json:"oneOf,omitempty"`
	AllOf      []*schema  `json:"allOf,omitempty"`
	If         *schema    `json:"if,omitempty"`
	Then       *schema    `json:"then,omitempty"`
	Not        *schema    `json:"not,omitempty"`
	Defs       properties `json:"$defs,omitempty"`
}

// properties keep the order of the fields, for whoever shows them.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSON writes the properties as an object.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, each := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(appendString(nil, each.name))
		b.WriteByte(':')
		var one bytes.Buffer
		enc := json.NewEncoder(&one)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(each.schema); err != nil {
			return nil, err
		}
		b.Write(bytes.TrimSpace(one.Bytes()))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// JSONSchema returns the JSON Schema (draft 2020-12) of a desired document. It
// states what the tags state. Rules between fields that no schema can say are
// Parse's alone: what the schema refuses, Parse refuses too.
func JSONSchema() []byte {
	m := schemaMaker{fields: newFields(), made: map[string]bool{}}
	top := m.object(reflect.TypeFor[Desired](), "")
	top.Schema = "https://json-schema.org/draft/2020-12/schema"
	top.ID = "urn:sluice:config:v1"
	top.Title = Schema
	top.Description = "The desired configuration of a Sluice box."
	top.Defs = m.defs
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(top) // it holds nothing that cannot be written
	return b.Bytes()
}

// A schemaMaker collects the definitions of the types that it meets.
type schemaMaker struct {
	fields *fieldsOf
	made   map[string]bool
	defs   properties
}

// ref returns a reference to the definition of a struct type, in the mode of
// the object around it where the type depends on that.
func (m *schemaMaker) ref(t reflect.Type, mode string) *schema {
	name := path.Base(t.PkgPath()) + "." + t.Name()
	if m.inherits(t) {
		name += "." + mode
	} else {
		mode = ""
	}
	if !m.made[name] {
		m.made[name] = true
		i := len(m.defs)
		m.defs = append(m.defs, property{name: name})
		s := m.object(t, mode)
		m.defs[i].schema = s
	}
	return &schema{Ref: "#/$defs/" + name}
}

// inherits tells whether a struct has fields that belong to modes of the
// object around it.
func (m *schemaMaker) inherits(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	bound := false
	for _, f := range m.fields.of(t) {
		if f.selects {
			return false
		}
		bound = bound || len(f.only) > 0
	}
	return bound
}

func (m *schemaMaker) object(t reflect.Type, mode string) *schema {
	s := &schema{Type: "object", Additional: false}
	fields := m.fields.of(t)
	var selector *field
	for i := range fields {
		if fields[i].selects {
			selector = &fields[i]
		}
	}
	for i := range fields {
		f := &fields[i]
		if selector == nil && !f.belongs(mode) {
			continue
		}
		if f.needed(mode) {
			s.Required = append(s.Required, f.name)
		}
		p := &schema{Description: f.doc}
		if selector == nil || !m.inherits(element(f.typ)) {
			p = m.property(f, f.typ, mode)
			p.Description, p.Unit, p.ReadOnly = f.doc, f.unit, f.readonly
			p.Default = preset(f)
		}
		s.Properties = append(s.Properties, property{f.name, p})
	}
	if selector != nil {
		for _, value := range selector.modes() {
			s.AllOf = append(s.AllOf, m.branch(fields, selector, value))
		}
	}
	return s
}

// branch says what else holds for an object in one mode.
func (m *schemaMaker) branch(fields []field, selector *field, mode string) *schema {
	is := &schema{}
	for _, v := range selector.enum {
		if selector.canonical(v) == mode {
			is.Enum = append(is.Enum, v)
		}
	}
	then := &schema{}
	for i := range fields {
		f := &fields[i]
		switch {
		case !f.belongs(mode):
			then.Properties = append(then.Properties, property{f.name, &schema{Not: &schema{}}})
		case m.inherits(element(f.typ)):
			then.Properties = append(then.Properties, property{f.name, m.property(f, f.typ, mode)})
		}
		if f.needed(mode) && !slices.Contains(f.required, always) {
			then.Required = append(then.Required, f.name)
		}
	}
	return &schema{
		If:   &schema{Properties: properties{{selector.name, is}}, Required: []string{selector.name}},
		Then: then,
	}
}

// property returns the schema of a field's value, or of an item of it.
func (m *schemaMaker) property(f *field, t reflect.Type, mode string) *schema {
	switch t {
	case reflect.TypeFor[endpoint.Secret]():
		return m.secret(f)
	case reflect.TypeFor[endpoint.AllowList]():
		return &schema{OneOf: []*schema{
			{Type: "array", Items: &schema{Type: "string", Format: "ip-network"}, MaxItems: &f.items.max},
			{Type: "string"},
		}}
	case reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[netip.Addr]():
		return &schema{Type: "string", Format: "ip-address"}
	case reflect.TypeFor[netip.Prefix]():
		return &schema{Type: "string", Format: "ip-prefix"}
	}
	s := &schema{}
	switch t.Kind() {
	case reflect.Pointer:
		return m.property(f, t.Elem(), mode)
	case reflect.Struct:
		return m.ref(t, mode)
	case reflect.Slice:
		s.Type, s.Items = "array", m.property(f, t.Elem(), mode)
		if f.items != nil {
			s.MinItems, s.MaxItems = &f.items.min, &f.items.max
		}
	case reflect.Map:
		s.Type, s.Additional = "object", m.property(f, t.Elem(), mode)
		names := m.fields.forms[f.keys]
		s.Names = &schema{Pattern: names.expression, Form: names.words}
	case reflect.Bool:
		s.Type = "boolean"
	case reflect.Int, reflect.Uint64:
		s.Type = "integer"
		if f.bounds != nil {
			s.Minimum, s.Maximum = &f.bounds.min, &f.bounds.max
		}
	case reflect.String:
		s.Type = "string"
		looks := m.fields.forms[f.pattern]
		s.Pattern, s.Form = looks.expression, looks.words
		m.length(s, f)
	}
	for _, v := range f.enum {
		s.Enum = append(s.Enum, typed(t, v))
	}
	return s
}

func (m *schemaMaker) secret(f *field) *schema {
	text := &schema{Type: "string"}
	m.length(text, f)
	if f.keys != "" {
		return text
	}
	one := int64(1)
	return &schema{OneOf: []*schema{
		text,
		{
			Type: "object", Additional: false, Required: []string{"secret"},
			Properties: properties{{"secret", &schema{Type: "string", MinLength: &one, Description: "name of one of the document's secrets"}}},
		},
		{
			Type: "object", Additional: false, Required: []string{"set"},
			Properties: properties{{"set", &schema{Const: true, Description: "keep what is in force"}}},
		},
	}}
}

func (m *schemaMaker) length(s *schema, f *field) {
	if f.length != nil {
		s.MinLength, s.MaxLength = &f.length.min, &f.length.max
	}
}

// preset returns the default of a field as JSON has it, or nil.
func preset(f *field) any {
	if f.preset == "" {
		return nil
	}
	return typed(f.typ, f.preset)
}

// typed returns the value that a tag writes as text.
func typed(t reflect.Type, text string) any {
	switch t.Kind() {
	case reflect.Int:
		n, _ := strconv.Atoi(text)
		return n
	case reflect.Bool:
		return text == "true"
	}
	return text
}

// element returns the type of what a pointer or list holds.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}
