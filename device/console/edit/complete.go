package edit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Purpose is what a path is completed for.
type Purpose int

const (
	ToSet   Purpose = iota // everything that could be set, and values
	ToFind                 // what is there: to show or delete it
	ToEnter                // what has something below it
)

// A Word is one that could come next.
type Word struct {
	Text  string
	Help  string // one line
	Facts string // what it takes, and its default; for fields
	// Open tells that Text is not to be typed: it stands for one of many, such
	// as <1 to 65535>.
	Open bool
}

// maxChoices bounds an answer: names of items are from outside.
const maxChoices = 256

// Complete returns what could follow the words, and begins with prefix. An
// empty answer is that nothing can.
func (t *Tree) Complete(p Purpose, words []string, prefix string) []Word {
	at, item, ok := t.place(p, words)
	if !ok {
		return nil
	}
	var out []Word
	for _, w := range t.follow(p, at, item) {
		if len(out) < maxChoices && (w.Open || strings.HasPrefix(w.Text, prefix) || len(at.node.Enum) > 0 && strings.HasPrefix(strings.ToLower(w.Text), strings.ToLower(prefix))) {
			out = append(out, w)
		}
	}
	return out
}

// Kind returns what is at a path, or would be if it were set. ok is false where
// it leads nowhere.
func (t *Tree) Kind(p Purpose, words []string) (k Kind, ok bool) {
	at, _, ok := t.place(p, words)
	return kindOf(t.schema, at.node), ok
}

// place goes along words, to set also through items that are not there. item
// tells that the last word is the name of one.
func (t *Tree) place(p Purpose, words []string) (at child, item, ok bool) {
	at = child{"", t.schema.state, t.state}
	if sizes(words) != nil {
		return at, false, false
	}
	for i, w := range words {
		k := kindOf(t.schema, at.node)
		if k == List && p == ToSet {
			return at, false, true // any number of words
		}
		item = k == Items
		next, err := t.step(at, w, i)
		switch {
		case err == nil:
		case p == ToFind:
			return at, false, false
		case k == Items:
			next = child{w, t.schema.resolve(at.node.list().Items), nil}
		case k == Entries:
			next = child{w, t.schema.resolve(at.node.Additional), nil}
		default:
			return at, false, false
		}
		at = next
	}
	return at, item, true
}

// Check says what is wrong with the last word of a path, given that the others
// are right.
func (t *Tree) Check(p Purpose, words []string) error {
	var err error
	if p != ToFind { // what can be made can be entered
		_, err = t.Clone().Set(words...)
	} else if k, ok := t.Kind(p, words[:max(len(words)-1, 0)]); ok && k == List && p == ToFind {
		_, err = t.Clone().Delete(words...)
	} else {
		_, _, err = t.find(words)
	}
	var fault *Error
	if errors.As(err, &fault) && fault.Word == len(words)-1 {
		return fault
	}
	return nil
}

// follow returns everything that could come after a place.
func (t *Tree) follow(p Purpose, at child, item bool) []Word {
	switch kindOf(t.schema, at.node) {
	case Fields:
		return t.fieldWords(p, at, item)
	case Items:
		return t.itemWords(p, at)
	case Entries:
		out := t.names(at, "")
		if p == ToSet {
			out = append(out, Word{Text: "<name>", Help: at.node.Description, Open: true})
		}
		return out
	case List:
		switch p {
		case ToSet:
			n := *t.schema.resolve(at.node.list().Items)
			n.Description = at.node.Description
			return t.valueWords(at.name, &n, nil)
		case ToFind:
			var out []Word
			for _, w := range listed(at.value) {
				out = append(out, Word{Text: w, Help: "one of " + at.name})
			}
			return out
		}
	case Scalar:
		if p == ToSet {
			return t.valueWords(at.name, at.node, at.value)
		}
	}
	return nil // a secret is not typed in a line
}

func (t *Tree) fieldWords(p Purpose, at child, item bool) (out []Word) {
	m, _ := at.value.(map[string]any)
	for _, f := range t.schema.fields(at.node, m) {
		k := kindOf(t.schema, f.node)
		_, there := m[f.name]
		switch {
		case item && f.name == key(at.node):
			continue // it has been said
		case p == ToFind && !there, p == ToSet && f.node.ReadOnly:
			continue
		case p == ToEnter && k != Fields && k != Items:
			continue
		}
		help := f.node.Description
		if p == ToSet && f.required && !there {
			help = "needed: " + help
		}
		out = append(out, Word{Text: f.name, Help: help, Facts: f.node.facts()})
	}
	return out
}

func (t *Tree) itemWords(p Purpose, at child) []Word {
	item := t.schema.resolve(at.node.list().Items)
	out := t.names(at, "name")
	if p == ToFind {
		return out
	}
	most := at.node.list().MaxItems
	if most != nil && int64(len(out)) >= *most {
		return out
	}
	k := key(item)
	if k == "" {
		return append(out, Word{Text: fmt.Sprint(len(out) + 1), Help: "another: " + at.node.Description})
	}
	n := t.schema.resolve(item.Properties.get(k))
	help := "another " + singular(at.name) + ": " + n.Description
	if n.Form != "" {
		help += " (" + n.Form + ")"
	}
	return append(out, Word{Text: "<" + k + ">", Help: help, Open: true})
}

// names returns what a list or map has, with the named field as help.
func (t *Tree) names(at child, field string) (out []Word) {
	for _, c := range t.schema.children(at.node, at.value) {
		help := ""
		if m, ok := c.value.(map[string]any); ok && field != "" && plain(m[field]) != c.name {
			help = clean(plain(m[field]))
		} else if !ok {
			help = written(t.schema, c.node, c.value)
		}
		out = append(out, Word{Text: c.name, Help: help})
	}
	return out
}

// valueWords returns the values of a scalar, that which it has first.
func (t *Tree) valueWords(name string, n *node, now any) (out []Word) {
	add := func(w Word) {
		if !slices.ContainsFunc(out, func(o Word) bool { return o.Text == w.Text }) {
			out = append(out, w)
		}
	}
	values := texts(n.Enum)
	if n.Type == "boolean" {
		values = []string{"true", "false"}
	}
	for _, v := range values {
		help := ""
		switch {
		case now != nil && v == plain(now):
			help = "as it is"
		case v == n.preset():
			help = "default"
		}
		add(Word{Text: v, Help: help})
	}
	if len(values) > 0 {
		if len(out) > 0 && out[0].Help == "" {
			out[0].Help = n.Description
		}
		return out
	}
	if now != nil && plain(now) != "" {
		add(Word{Text: plain(now), Help: "as it is"})
	}
	for _, v := range t.known(name) {
		add(Word{Text: v})
	}
	what := n.takes()
	switch {
	case what != "" && n.Unit != "":
		what += " " + n.Unit
	case what == "" && n.Form != "":
		what = "text"
	case what == "":
		what = "text"
		switch n.Format {
		case "ip-address":
			what = "address"
		case "ip-prefix":
			what = "address/length"
		case "ip-network":
			what = "address or address/length"
		}
	}
	help := n.Description
	if d := n.preset(); d != "" {
		help += " (default " + d + ")"
	}
	add(Word{Text: "<" + what + ">", Help: help, Open: true})
	return out
}

// known returns names that fields of these names refer to. The schema does not
// say it; a wrong guess only shows a word that the check then refuses.
func (t *Tree) known(field string) []string {
	switch field {
	case "uplink", "uplinks":
		return t.Names("uplinks")
	case "region":
		return t.Names("regions")
	}
	return nil
}
