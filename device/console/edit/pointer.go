package edit

import (
	"strconv"
	"strings"
)

// Pointer returns the path in words of a JSON pointer of the box's faults:
// /state/flows/0/outputs/1/srt/port is flows stage outputs hub srt port. What
// does not lead on keeps the words of the pointer.
func (t *Tree) Pointer(pointer string) []string {
	rest, ok := strings.CutPrefix(pointer, "/state")
	if !ok || len(pointer) > maxWord {
		return nil
	}
	at := child{"", t.schema.state, t.state}
	var path []string
	for part := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if part == "" {
			continue
		}
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		below := t.schema.children(at.node, at.value)
		next := child{name, &node{}, nil}
		switch kindOf(t.schema, at.node) {
		case Items:
			if i, err := strconv.Atoi(name); err == nil && 0 <= i && i < len(below) {
				next = below[i]
			} else if err == nil && i >= 0 {
				next.name = strconv.Itoa(i + 1)
			}
		case List:
			if i, err := strconv.Atoi(name); err == nil {
				if words := listed(at.value); 0 <= i && i < len(words) {
					next.name = words[i]
				}
			}
		default:
			if c, ok := lookup(below, name); ok {
				next = c
			} else if n := at.node.Properties.get(name); n != nil {
				next.node = t.schema.resolve(n)
			}
		}
		path = append(path, next.name)
		at = next
	}
	return path
}

// Line returns a path and what is there as the words that would be typed, for
// a caret under the last. marked is how many columns come before what the path
// ends in: its value where it has one.
func (t *Tree) Line(path []string) (line string, marked, width int) {
	var words []string
	for _, w := range path {
		words = append(words, Quote(w))
	}
	start := func(n int) int { return Columns(strings.Join(words[:n], " ")) + min(n, 1) }
	c, _, err := t.find(path)
	if err == nil && c.value != nil {
		switch kindOf(t.schema, c.node) {
		case Scalar, List, Secret:
			value := written(t.schema, c.node, c.value)
			words = append(words, value)
		}
	}
	if len(words) == 0 {
		return "", 0, 0
	}
	at := start(len(words) - 1)
	return strings.Join(words, " "), at, Columns(words[len(words)-1])
}
