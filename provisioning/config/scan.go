package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds how deep objects and lists may stand in each other. The
// deepest place of a real document is at 9.
const maxDepth = 32

// A kind is one of JSON's.
type kind uint8

const (
	nullKind kind = iota
	boolKind
	numberKind
	stringKind
	listKind
	objectKind
)

// String returns the kind in words of a sentence.
func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "a string", "a list", "an object"}[k]
}

// A node is a JSON value as it was written: nothing is converted yet, members
// keep their order, and a name that stands twice is there twice.
type node struct {
	kind    kind
	text    string // of a string, decoded; of a number, as written; of a bool, true or false
	raw     []byte // the bytes of the value
	members []member
	items   []*node
}

type member struct {
	name  string
	value *node
}

// get returns the first member of that name, or nil.
func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// A scanner reads JSON text (RFC 8259) into nodes, within bounds.
type scanner struct {
	raw []byte
	dec *json.Decoder
	top *node // as far as it could be read
}

// scan reads all of raw. After an error the node is what came before it, and
// may be nil.
func scan(raw []byte) (*node, error) {
	s := &scanner{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw))}
	s.dec.UseNumber()
	err := s.value(new(node), 0)
	if err != nil {
		return s.top, s.explain(err)
	}
	if rest := bytes.TrimLeft(raw[s.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return s.top, fmt.Errorf("something stands after the end of the document at %s: send one JSON object", s.place(len(raw)-len(rest)))
	}
	return s.top, nil
}

// value reads the next value into n.
func (s *scanner) value(n *node, depth int) error {
	if s.top == nil {
		s.top = n
	}
	token, err := s.token()
	if err != nil {
		return err
	}
	end := int(s.dec.InputOffset())
	start := end - 1 // of { and [; the others find theirs below
	switch t := token.(type) {
	case nil:
		n.kind, start = nullKind, end-len("null")
	case bool:
		n.kind, n.text = boolKind, fmt.Sprint(t)
		start = end - len(n.text)
	case json.Number:
		n.kind, n.text = numberKind, t.String()
		start = end - len(n.text)
	case string:
		n.kind, n.text = stringKind, t
		start = end // the raw bytes of a string are of no use to anyone
	case json.Delim:
		if depth == maxDepth {
			return fmt.Errorf("nesting is deeper than %d at %s: use the fields of the reference", maxDepth, s.place(start))
		}
		if t == '[' {
			err = s.list(n, depth)
		} else {
			err = s.object(n, depth)
		}
		end = int(s.dec.InputOffset())
	}
	n.raw = s.raw[start:end]
	return err
}

func (s *scanner) list(n *node, depth int) error {
	n.kind = listKind
	for s.dec.More() {
		item := new(node)
		n.items = append(n.items, item)
		if err := s.value(item, depth+1); err != nil {
			return err
		}
	}
	_, err := s.token() // ]
	return err
}

func (s *scanner) object(n *node, depth int) error {
	n.kind = objectKind
	for s.dec.More() {
		token, err := s.token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder lets nothing else stand here
		value := new(node)
		if err := s.value(value, depth+1); err != nil {
			return err
		}
		n.members = append(n.members, member{name, value})
	}
	_, err := s.token() // }
	return err
}

// token reads one token. A string that the decoder had to repair, because half
// of a surrogate pair is missing (RFC 8259 section 8.2), is an error.
func (s *scanner) token() (json.Token, error) {
	before := s.dec.InputOffset()
	t, err := s.dec.Token()
	if err != nil {
		return nil, err
	}
	if text, ok := t.(string); ok && strings.ContainsRune(text, '\uFFFD') {
		raw := bytes.ToLower(s.raw[before:s.dec.InputOffset()])
		meant := bytes.Count(raw, []byte("\uFFFD")) + bytes.Count(raw, []byte(`\ufffd`))
		if strings.Count(text, "\uFFFD") != meant {
			return nil, fmt.Errorf("half a character stands in the string before %s: write both \\u escapes of the pair", s.place(int(s.dec.InputOffset())))
		}
	}
	return t, nil
}

// explain makes one sentence of an error.
func (s *scanner) explain(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the document ends too early: send all of it")
	case errors.As(err, &syntax):
		return fmt.Errorf("the document is not JSON at %s: %w", s.place(int(s.dec.InputOffset())), syntax)
	}
	return err
}

// place names an offset as editors do.
func (s *scanner) place(offset int) string {
	before := s.raw[:min(offset, len(s.raw))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return fmt.Sprintf("line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}
