package edit

import (
	"fmt"
	"strings"
)

const indent = "    "

// Show returns what is at a path as indented lines, without quotes. Secrets
// are (set).
func (t *Tree) Show(path ...string) ([]string, error) {
	c, full, err := t.find(path)
	if err != nil {
		return nil, err
	}
	if c.value == nil {
		message := fmt.Sprintf("%s is not set", c.name)
		if d := c.node.preset(); d != "" {
			message += ": by default it is " + d
		}
		return nil, &Error{len(full), message}
	}
	s := shower{schema: t.schema}
	switch kindOf(t.schema, c.node) {
	case Fields:
		s.below(c.node, c.value, 0, t.keyAt(full))
	default:
		s.line(0, c.name, c.node, c.value, "")
	}
	return s.lines, nil
}

// keyAt returns the name of the field that the item at a path is called by, ""
// where it is not an item.
func (t *Tree) keyAt(path []string) string {
	if len(path) == 0 {
		return ""
	}
	up, _, err := t.find(path[:len(path)-1])
	if err != nil || kindOf(t.schema, up.node) != Items {
		return ""
	}
	return key(t.schema.resolve(up.node.list().Items))
}

type shower struct {
	schema *Schema
	lines  []string
}

func (s *shower) add(depth int, text string) {
	s.lines = append(s.lines, strings.Repeat(indent, depth)+text)
}

// line shows a value under the words that lead to it from the line above.
func (s *shower) line(depth int, words string, n *node, v any, called string) {
	switch kindOf(s.schema, n) {
	case Fields:
		s.add(depth, words)
		s.below(n, v, depth+1, called)
	case Entries:
		for _, c := range s.schema.children(n, v) {
			s.line(depth, words+" "+clean(c.name), c.node, c.value, "")
		}
	case Items:
		item := s.schema.resolve(n.list().Items)
		for _, c := range s.schema.children(n, v) {
			s.line(depth, words+" "+clean(c.name), item, c.value, key(item))
		}
	default:
		s.add(depth, clean(words)+" "+written(s.schema, n, v))
	}
}

// below shows what is in an object; not the field that it is called by.
func (s *shower) below(n *node, v any, depth int, called string) {
	for _, c := range s.schema.children(n, v) {
		if called == "" || c.name != called {
			s.line(depth, clean(c.name), c.node, c.value, "")
		}
	}
}

// written returns a value that is not an object as the words that set it.
func written(s *Schema, n *node, v any) string {
	switch kindOf(s, n) {
	case Secret:
		return "(set)"
	case List:
		if words := listed(v); len(words) > 0 {
			return clean(strings.Join(words, " "))
		}
		return "(none)"
	case Scalar:
		return shown(v)
	}
	return "(not shown)" // not of this schema: it might be a secret
}
