package edit

import (
	"slices"
	"strings"
)

// Compare returns what has to be done to one tree to make another of it: lines
// that begin with + for what is new, - for what is gone and ~ for what has
// another value, with full paths. Secrets are not shown; a field that is not
// set is as good as its default.
func Compare(from, to *Tree) []string {
	c := comparer{schema: to.schema}
	c.value(nil, to.schema.state, from.state, to.state)
	return c.lines
}

type comparer struct {
	schema *Schema
	lines  []string
}

func (c *comparer) add(sign string, path []string, rest string) {
	words := make([]string, len(path))
	for i, w := range path {
		words[i] = clean(w)
	}
	c.lines = append(c.lines, strings.TrimRight(sign+" "+strings.Join(words, " ")+" "+rest, " "))
}

// value compares what is at one path: from and to are both there.
func (c *comparer) value(path []string, n *node, from, to any) {
	switch kindOf(c.schema, n) {
	case Fields, Entries, Items:
		c.below(path, n, from, to)
	case Secret:
		if !sameSecret(from, to) {
			c.add("~", path, "(set) -> (set anew)")
		}
	default:
		if a, b := written(c.schema, n, from), written(c.schema, n, to); a != b {
			c.add("~", path, a+" -> "+b)
		}
	}
}

func (c *comparer) below(path []string, n *node, from, to any) {
	was, is := c.schema.children(n, from), c.schema.children(n, to)
	ordered := kindOf(c.schema, n) == Items && key(c.schema.resolve(n.list().Items)) != ""
	for _, each := range is {
		here := append(slices.Clone(path), each.name)
		if old, ok := lookup(was, each.name); ok {
			c.value(here, each.node, old.value, each.value)
		} else if !standing(each) {
			c.all("+", here, each)
		}
	}
	for _, each := range was {
		if _, ok := lookup(is, each.name); !ok && !standing(each) {
			c.all("-", append(slices.Clone(path), each.name), each)
		}
	}
	if before, after := common(was, is), common(is, was); ordered && !slices.Equal(before, after) {
		c.add("~", path, "in the order "+strings.Join(before, " ")+" -> "+strings.Join(after, " "))
	}
}

// all shows everything at a path that only one of the trees has.
func (c *comparer) all(sign string, path []string, at child) {
	switch kindOf(c.schema, at.node) {
	case Fields, Entries, Items:
		below := c.schema.children(at.node, at.value)
		k := ""
		if kindOf(c.schema, at.node) == Fields {
			k = key(at.node)
		}
		shown := 0
		for _, each := range below {
			if k != "" && each.name == k && plain(each.value) == path[len(path)-1] {
				continue // it is in the path
			}
			c.all(sign, append(slices.Clone(path), each.name), each)
			shown++
		}
		if shown == 0 {
			c.add(sign, path, "")
		}
	default:
		c.add(sign, path, written(c.schema, at.node, at.value))
	}
}

// standing tells a value that changes nothing: the default.
func standing(c child) bool {
	d := c.node.preset()
	return d != "" && plain(c.value) == d
}

// sameSecret tells whether a secret stays as it is. One that was typed is new;
// those of other names the box gave to what was there.
func sameSecret(from, to any) bool {
	typed := func(v any) string {
		m, _ := v.(map[string]any)
		s, _ := m["secret"].(string)
		if !strings.HasPrefix(s, ownSecret) {
			return ""
		}
		return s
	}
	return typed(from) == typed(to)
}

func lookup(in []child, name string) (child, bool) {
	for _, c := range in {
		if c.name == name {
			return c, true
		}
	}
	return child{}, false
}

// common returns the names in a that b has too, in a's order.
func common(a, b []child) (names []string) {
	for _, c := range a {
		if _, ok := lookup(b, c.name); ok {
			names = append(names, clean(c.name))
		}
	}
	return names
}
