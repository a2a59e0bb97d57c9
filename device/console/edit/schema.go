// Package edit changes a configuration document by words, as a person types
// them at the console: `flows stage outputs wall srt latency_ms 200`. What there
// is to set, which values it takes and what it is for comes from the JSON Schema
// that the box serves. The package does no I/O.
package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Limits of what is read.
const (
	maxSchema   = 1 << 20
	MaxDocument = 256 << 10 // bytes, the largest that the box takes
	maxDepth    = 32        // of a document, as the box has it
	maxNesting  = 64        // of a schema
	maxWords    = 320       // of one line: the longest list has 256
	maxWord     = 8 << 10   // bytes
	maxHops     = 8         // references to references
)

// A Schema knows every field of a document. It does not change, and may be
// shared.
type Schema struct {
	state *node
	defs  properties
}

// A node is a JSON Schema (draft 2020-12), as far as the box's own uses it.
type node struct {
	Ref         string          `json:"$ref"`
	Description string          `json:"description"`
	Unit        string          `json:"x-unit"`
	Form        string          `json:"x-form"` // the pattern in words
	Type        string          `json:"type"`
	Format      string          `json:"format"`
	Const       json.RawMessage `json:"const"`
	Enum        []json.RawMessage
	Default     json.RawMessage
	Minimum     *int64
	Maximum     *int64
	MinLength   *int64
	MaxLength   *int64
	MinItems    *int64
	MaxItems    *int64
	Pattern     string
	Items       *node
	ReadOnly    bool
	Properties  properties
	Required    []string
	Names       *node `json:"propertyNames"`
	Additional  *node `json:"additionalProperties"`
	OneOf       []*node
	AllOf       []*node
	If          *node
	Then        *node
	Not         *node
	Defs        properties `json:"$defs"`

	never   bool           // the schema false, or one that nothing satisfies
	pattern *regexp.Regexp // of Pattern
}

// UnmarshalJSON reads an object, or a schema that is true or false.
func (n *node) UnmarshalJSON(raw []byte) error {
	switch string(bytes.TrimSpace(raw)) {
	case "true":
		return nil
	case "false":
		n.never = true
		return nil
	}
	type plain node
	if err := json.Unmarshal(raw, (*plain)(n)); err != nil {
		return err
	}
	n.never = n.Not != nil && !n.Not.never && len(n.Not.Properties) == 0 && n.Not.Type == ""
	return nil
}

// properties keep the order of the fields.
type properties []property

type property struct {
	name string
	node *node
}

// UnmarshalJSON reads an object of schemas.
func (p *properties) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("properties are not an object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the decoder lets nothing else stand here
		n := new(node)
		if err := d.Decode(n); err != nil {
			return err
		}
		*p = append(*p, property{name, n})
	}
	return nil
}

func (p properties) get(name string) *node {
	for _, each := range p {
		if each.name == name {
			return each.node
		}
	}
	return nil
}

// Load reads the document "schema" of the control socket.
func Load(raw []byte) (*Schema, error) {
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("the schema has %d bytes: more than %d are not read", len(raw), maxSchema)
	}
	if err := nesting(raw, maxNesting); err != nil {
		return nil, fmt.Errorf("the schema cannot be read: %w", err)
	}
	var top node
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("the schema cannot be read: %w", err)
	}
	s := &Schema{defs: top.Defs}
	for _, d := range top.Defs {
		if err := s.check(d.node); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", d.name, err)
		}
	}
	if s.state = top.Properties.get("state"); s.state == nil {
		return nil, errors.New("the schema has no state: it is not that of this box")
	}
	if err := s.check(s.state); err != nil {
		return nil, err
	}
	if s.state = s.resolve(s.state); kindOf(s, s.state) != Fields {
		return nil, errors.New("the schema's state is not an object")
	}
	return s, nil
}

// check looks at all of a node once, so that nothing can fail later.
func (s *Schema) check(n *node) error {
	if n == nil {
		return nil
	}
	if n.Ref != "" {
		if _, err := s.follow(n); err != nil {
			return err
		}
	}
	if n.Pattern != "" {
		var err error
		if n.pattern, err = regexp.Compile(n.Pattern); err != nil {
			return err
		}
	}
	below := []*node{n.Items, n.Names, n.Additional, n.If, n.Then}
	for _, p := range n.Properties {
		below = append(below, p.node)
	}
	below = append(append(below, n.OneOf...), n.AllOf...)
	for _, b := range below {
		if err := s.check(b); err != nil {
			return err
		}
	}
	return nil
}

// follow returns what a node's reference leads to.
func (s *Schema) follow(n *node) (*node, error) {
	for range maxHops {
		if n.Ref == "" {
			return n, nil
		}
		name, ok := strings.CutPrefix(n.Ref, "#/$defs/")
		to := s.defs.get(name)
		if !ok || to == nil {
			return nil, fmt.Errorf("it refers to %s, which is not there", n.Ref)
		}
		n = to
	}
	return nil, fmt.Errorf("it refers to %s, which leads nowhere", n.Ref)
}

// resolve returns a node without a reference, with its own description.
func (s *Schema) resolve(n *node) *node {
	if n.Ref == "" {
		return n
	}
	to, err := s.follow(n)
	if err != nil {
		return &node{} // Load has seen that it does not happen
	}
	own := *to
	if n.Description != "" {
		own.Description = n.Description
	}
	return &own
}

// nesting refuses JSON that is too deep, before anything recurses into it.
func nesting(raw []byte, most int) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for depth := 0; ; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > most {
				return fmt.Errorf("it nests deeper than %d", most)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// A Kind is how a value is named and written at the console.
type Kind int

const (
	Unknown Kind = iota // not settled before another field is, or beyond this console
	Fields              // an object
	Entries             // names, each with a value
	Items               // a list of objects, each with a name
	List                // a list of words
	Scalar              // one word
	Secret              // asked for
)

// kindOf returns the kind of a node that is resolved.
func kindOf(s *Schema, n *node) Kind {
	switch {
	case isSecret(n):
		return Secret
	case n.list() != nil:
		items := n.list().Items
		if items == nil {
			return Unknown
		}
		switch kindOf(s, s.resolve(items)) {
		case Fields:
			return Items
		case Scalar:
			return List
		}
		return Unknown
	case n.Type == "object" && n.Additional != nil && !n.Additional.never && len(n.Properties) == 0:
		return Entries
	case n.Type == "object":
		return Fields
	case n.Type == "string", n.Type == "integer", n.Type == "boolean":
		return Scalar
	}
	return Unknown
}

// isSecret tells a secret by its forms: one of them names an entry of the
// document's secrets.
func isSecret(n *node) bool {
	return slices.ContainsFunc(n.OneOf, func(one *node) bool { return one.Properties.get("secret") != nil })
}

// list returns the form of a value that is a list, or nil.
func (n *node) list() *node {
	if n.Type == "array" {
		return n
	}
	for _, one := range n.OneOf {
		if one.Type == "array" {
			return one
		}
	}
	return nil
}
