package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A node is one place of the grammar: a word, or an argument. The tree of them
// is all that completion, ?, abbreviation and errors go by.
type node struct {
	word string // a keyword; empty: an argument
	arg  string // what stands for the argument in help, such as FLOW/OUTPUT
	help string // a few words

	// values are what the argument may be completed to; nil: anything. It is
	// no check.
	values func(ctx context.Context) []choice
	// check refuses a value; nil: anything goes. The error says what to do.
	check func(value string) error
	// refuse says why a word is none of those below; nil: that it is not there.
	refuse func(value string) error
	// elsewhere refuses words of another place, before they are taken for the
	// beginning of one of this; nil: none.
	elsewhere func(word string) error
	// rest takes all further words too, each as an argument of its own.
	rest bool
	// short tells that the beginning of the word means it also where a longer
	// word begins so: output beside outputs.
	short bool

	nodes []*node
	// more are further nodes, found when they are needed: for a tree that
	// another document decides.
	more func(ctx context.Context) []*node
	// run carries out a line that ends here; nil: more words are needed.
	run func(ctx context.Context, c call) error
}

// A choice is one of the values of an argument.
type choice struct {
	text string
	help string
}

// A call is a line that was understood.
type call struct {
	words []string // all, keywords in full
	args  []string // the arguments alone, in order
}

// arg returns the nth argument, or nothing.
func (c call) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}

func (n *node) children(ctx context.Context) []*node {
	if n.more == nil {
		return n.nodes
	}
	return append(slices.Clip(n.nodes), n.more(ctx)...)
}

// name is how help writes it.
func (n *node) name() string {
	if n.word != "" {
		return n.word
	}
	return n.arg
}

// step finds the node of one word below n. The error is a sentence.
func (n *node) step(ctx context.Context, w word) (*node, error) {
	var arg *node
	var matches []*node
	children := n.children(ctx)
	if n.rest {
		children = append(slices.Clip(children), n)
	}
	for _, c := range children {
		switch {
		case c.word == "":
			arg = c
		case w.quoted:
		case c.word == w.text:
			return c, nil
		case strings.HasPrefix(c.word, w.text):
			matches = append(matches, c)
		}
	}
	if n.elsewhere != nil && !w.quoted {
		if err := n.elsewhere(w.text); err != nil {
			return nil, err
		}
	}
	switch {
	case arg != nil: // a value is never a shortened keyword
		if arg.check != nil {
			if err := arg.check(w.text); err != nil {
				return nil, err
			}
		}
		return arg, nil
	case len(matches) == 1:
		return matches[0], nil
	case len(matches) > 1:
		for _, m := range matches {
			if m.short && !slices.ContainsFunc(matches, func(other *node) bool { return !strings.HasPrefix(other.word, m.word) }) {
				return m, nil
			}
		}
		return nil, fmt.Errorf("\"%s\" may be %s", brief(w.text), orList(matches))
	case n.refuse != nil:
		if err := n.refuse(w.text); err != nil {
			return nil, err
		}
	case len(children) == 0:
		return nil, fmt.Errorf("nothing can follow here")
	}
	return nil, fmt.Errorf("there is no %s here: type ? to see what there is", brief(w.text))
}

// orList writes what may stand at one place: "flows, outputs or uplinks".
func orList(nodes []*node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.name())
	}
	if len(names) > 8 {
		names = append(names[:7], "others: type ?")
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// walk follows words as far as they go. The error is a *wrongWord.
func (n *node) walk(ctx context.Context, line string, words []word) (*node, call, error) {
	var c call
	for _, w := range words {
		if w.open {
			return n, c, wrong(line, w.at, "the quotation mark does not end")
		}
		next, err := n.step(ctx, w)
		if err != nil {
			return n, c, wrong(line, w.at, "%v", err)
		}
		if n = next; n.word != "" {
			c.words = append(c.words, n.word)
			continue
		}
		c.words, c.args = append(c.words, w.text), append(c.args, w.text)
	}
	return n, c, nil
}

// parse understands a line. The error is errEmpty or a *wrongWord.
func (n *node) parse(ctx context.Context, line string) (*node, call, error) {
	words := split(line)
	if len(words) == 0 || strings.HasPrefix(words[0].text, "!") || strings.HasPrefix(words[0].text, "#") {
		return nil, call{}, errEmpty // a comment, in what is pasted
	}
	at, c, err := n.walk(ctx, line, words)
	switch {
	case err != nil:
		return nil, c, err
	case at.run == nil:
		return nil, c, wrong(line+" ", len(line)+1, "what is to follow is missing: %s", orList(at.children(ctx)))
	}
	return at, c, nil
}

// complete is the completer of a grammar.
func (n *node) complete(ctx context.Context, line string, pos int, k key) (string, int, string) {
	before, after := line[:pos], line[pos:]
	words := split(before)
	last := word{at: len(before)}
	if len(words) > 0 && (words[len(words)-1].open || !strings.HasSuffix(before, " ")) {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	if k == '?' && last.quoted {
		return before + "?" + after, pos + 1, ""
	}
	at, _, err := n.walk(ctx, line, words)
	if err != nil {
		return line, pos, err.Error() + "\n"
	}
	choices := at.choices(ctx, last)
	if k == '?' {
		return line, pos, at.explain(ctx, last, choices)
	}
	switch len(choices) {
	case 0:
		return line, pos, ""
	case 1:
		done := choices[0].text + " "
		if !strings.HasPrefix(choices[0].text, `"`) && strings.HasSuffix(choices[0].text, "/") {
			done = choices[0].text // more of it follows
		}
		before = before[:last.at] + done
		return before + strings.TrimPrefix(after, " "), len(before), ""
	}
	if common := commonPrefix(choices); len(common) > len(last.text) && !last.quoted {
		before = before[:last.at] + common
		return before + after, len(before), ""
	}
	return line, pos, list(choices)
}

// choices are what a word that is being typed may become.
func (n *node) choices(ctx context.Context, w word) []choice {
	var all []choice
	children := n.children(ctx)
	if n.rest {
		children = append(slices.Clip(children), n)
	}
	for _, c := range children {
		switch {
		case c.word != "":
			if !w.quoted && strings.HasPrefix(c.word, w.text) {
				all = append(all, choice{c.word, c.help})
			}
		case c.values != nil:
			for _, v := range c.values(ctx) {
				if strings.HasPrefix(v.text, w.text) {
					all = append(all, choice{quote(v.text), v.help})
				}
			}
		}
	}
	return all
}

// explain answers ?: what may stand here.
func (n *node) explain(ctx context.Context, w word, choices []choice) string {
	var arguments []choice
	children := n.children(ctx)
	if n.rest {
		children = append(slices.Clip(children), n)
	}
	for _, c := range children {
		if c.word == "" {
			arguments = append(arguments, choice{c.arg, c.help})
		}
	}
	if n.run != nil && w.text == "" && !w.quoted {
		arguments = append(arguments, choice{"Enter", "do it"})
	}
	if all := append(arguments, choices...); len(all) > 0 {
		return list(all)
	}
	return fmt.Sprintf("there is no %s here\n", brief(w.text))
}

// maxChoices bounds a list of them, in lines.
const maxChoices = 60

func list(choices []choice) string {
	width := 0
	for _, c := range choices {
		width = min(max(width, columns(clean(c.text))), 32)
	}
	var b strings.Builder
	for i, c := range choices {
		if i == maxChoices {
			fmt.Fprintf(&b, "  and %d more\n", len(choices)-i)
			break
		}
		b.WriteString(strings.TrimRight("  "+pad(clean(c.text), width)+"  "+clean(c.help), " ") + "\n")
	}
	return b.String()
}

func commonPrefix(choices []choice) string {
	common := choices[0].text
	for _, c := range choices[1:] {
		for !strings.HasPrefix(c.text, common) {
			common = common[:len(common)-1]
		}
	}
	return common
}
