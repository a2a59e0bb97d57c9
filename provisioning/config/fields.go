package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A field is what the tags of one struct field say. The decoder, the encoder,
// the JSON Schema and the reference all read it here, so that they agree:
//
//	json      name; fields without one are not part of the document
//	required  true, or the modes in which the field has to be there
//	only      the modes to which the field belongs: elsewhere it is a fault,
//	          and its default does not apply
//	selects   this field's value is the mode of the object, and of the objects
//	          in it that select none themselves
//	alias     A=B: A is accepted and stored as B
//	default   value of a field that is not there
//	enum      the values allowed, separated by spaces
//	range     bounds of a whole number, inclusive
//	length    bounds of a string, in characters
//	items     bounds of a list's length
//	pattern   form of a string, by its name in patterns
//	keys      form of a map's keys, by its name in patterns
//	readonly  only reported: accepted and passed over
//	unit      of a number, for the reader
//	doc       what the field is, for the reader
type field struct {
	index    int
	name     string
	typ      reflect.Type
	omit     bool // omitempty or omitzero
	required []string
	only     []string
	selects  bool
	alias    map[string]string
	preset   string // default
	enum     []string
	bounds   *bounds // of range
	length   *bounds
	items    *bounds
	pattern  string
	keys     string
	readonly bool
	unit     string
	doc      string
}

// always stands for every mode in field.required.
const always = "true"

type bounds struct{ min, max int64 }

func (b *bounds) holds(n int64) bool { return b == nil || b.min <= n && n <= b.max }

// String returns the bounds as in "use 1 to 64".
func (b *bounds) String() string {
	switch {
	case b.min == b.max:
		return fmt.Sprint(b.min)
	case b.min == 0 && b.max == math.MaxInt64:
		return "0 or more"
	}
	return fmt.Sprintf("%d to %d", b.min, b.max)
}

// belongs tells whether the field may stand in an object of that mode.
func (f *field) belongs(mode string) bool {
	return len(f.only) == 0 || slices.Contains(f.only, mode)
}

// needed tells whether the field must stand in an object of that mode.
func (f *field) needed(mode string) bool {
	return slices.Contains(f.required, always) || slices.Contains(f.required, mode)
}

// canonical returns the value that is stored for one of the enum's.
func (f *field) canonical(value string) string {
	if to, ok := f.alias[value]; ok {
		return to
	}
	return value
}

// modes returns the values that a selecting field is stored as.
func (f *field) modes() []string {
	var m []string
	for _, v := range f.enum {
		if c := f.canonical(v); !slices.Contains(m, c) {
			m = append(m, c)
		}
	}
	return m
}

// A form is what a string may look like.
type form struct {
	expression string // both RE2 and ECMA-262, for the JSON Schema
	words      string // as in "use ..."
	compiled   *regexp.Regexp
}

// forms are the named patterns of the tags. They are compiled once: that takes
// longer than to read most documents.
var forms = sync.OnceValue(func() map[string]form {
	m := map[string]form{
		"id":        {expression: `^[A-Za-z0-9_-]{1,32}$`, words: "1 to 32 of A-Z, a-z, 0-9, _ and -"},
		"uplink":    {expression: `^[A-Za-z0-9_-]{1,32}$`, words: "1 to 32 of A-Z, a-z, 0-9, _ and -"},
		"secret":    {expression: `^[A-Za-z0-9_.-]{1,64}$`, words: "1 to 64 of A-Z, a-z, 0-9, _, . and -"},
		"region":    {expression: `^[A-Za-z0-9_.-]{1,64}$`, words: "1 to 64 of A-Z, a-z, 0-9, _, . and -"},
		"text":      {expression: `^[^\x00-\x1f\x7f]*$`, words: "text without control characters"},
		"path":      {expression: `^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$`, words: "words of A-Z, a-z, 0-9, ., _, ~ and - with / between them"},
		"file":      {expression: `^[A-Za-z0-9_][A-Za-z0-9._-]*$`, words: "the name of a file in the state directory"},
		"hostname":  {expression: `^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`, words: "letters, digits and - between them"},
		"interface": {expression: `^[!-.0-~]+$`, words: "the name of a network interface, without spaces and /"},
		"mac":       {expression: `^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$`, words: "six pairs of hexadecimal digits, such as 02:00:5e:00:00:02"},
	}
	for name, f := range m {
		f.compiled = regexp.MustCompile(f.expression)
		m[name] = f
	}
	return m
})

// readFields reads the tags of a struct type.
func readFields(t reflect.Type) ([]field, error) {
	var fields []field
	for i := range t.NumField() {
		s := t.Field(i)
		name, options, _ := strings.Cut(s.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := field{
			index: i, name: name, typ: s.Type, omit: options != "",
			required: strings.Fields(s.Tag.Get("required")),
			only:     strings.Fields(s.Tag.Get("only")),
			selects:  s.Tag.Get("selects") != "",
			preset:   s.Tag.Get("default"),
			enum:     strings.Fields(s.Tag.Get("enum")),
			pattern:  s.Tag.Get("pattern"),
			keys:     s.Tag.Get("keys"),
			readonly: s.Tag.Get("readonly") != "",
			unit:     s.Tag.Get("unit"),
			doc:      s.Tag.Get("doc"),
		}
		if from, to, ok := strings.Cut(s.Tag.Get("alias"), "="); ok {
			f.alias = map[string]string{from: to}
		}
		for tag, to := range map[string]**bounds{"range": &f.bounds, "length": &f.length, "items": &f.items} {
			b, err := readBounds(s.Tag.Get(tag))
			if err != nil {
				return nil, fmt.Errorf("%v.%s: tag %s: %w", t, s.Name, tag, err)
			}
			*to = b
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func readBounds(tag string) (*bounds, error) {
	if tag == "" {
		return nil, nil
	}
	lo, hi, _ := strings.Cut(tag, "-")
	var b bounds
	var err error
	if b.min, err = strconv.ParseInt(lo, 10, 64); err != nil {
		return nil, err
	}
	if b.max, err = strconv.ParseInt(hi, 10, 64); err != nil {
		return nil, err
	}
	return &b, nil
}

// fieldsOf keeps what readFields found. It is for one goroutine.
type fieldsOf struct {
	forms map[string]form
	types map[reflect.Type][]field
}

func newFields() *fieldsOf {
	return &fieldsOf{forms: forms(), types: map[reflect.Type][]field{}}
}

// of returns the fields of a struct type. Tags that cannot be read are found
// by a test, not here: the field then has no bounds.
func (c *fieldsOf) of(t reflect.Type) []field {
	fields, ok := c.types[t]
	if !ok {
		fields, _ = readFields(t)
		c.types[t] = fields
	}
	return fields
}
