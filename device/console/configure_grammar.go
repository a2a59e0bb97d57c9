package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/device/console/edit"
)

const (
	defaultConfirm = 10   // minutes
	maxConfirm     = 1440 // minutes: the box takes a day
	maxComment     = 255  // characters
)

// outside are the commands of the operational prompt that run gives.
var outside = []string{"show", "explain", "test", "monitor", "request"}

// configureGrammar is that of the mode. What can follow set, delete, show and
// edit comes from the schema and from the candidate.
func configureGrammar(c *candidate) *node {
	path := func(word, help string, p edit.Purpose, run func(context.Context, []string) error) *node {
		v := verb{p, func(ctx context.Context, call call) error { return run(ctx, c.at(call.words[1:])) }}
		n := &node{
			word: word, help: help,
			more:   func(context.Context) []*node { return c.nodes(v, c.base) },
			refuse: func(value string) error { return c.tree.Check(p, c.at([]string{value})) },
		}
		if word == "show" {
			n.run = v.run
		}
		return n
	}
	plainly := func(word, help string, run func(context.Context, call) error) *node {
		return &node{word: word, help: help, run: run}
	}
	with := func(document string) func(context.Context, call) error {
		return func(ctx context.Context, _ call) error { return c.compare(ctx, document) }
	}
	return &node{nodes: []*node{
		path("set", "give a field a value, or make an item", edit.ToSet, c.set),
		path("delete", "take a field or an item away", edit.ToFind, c.delete),
		path("show", "show the candidate, or a part of it", edit.ToFind, c.show),
		path("edit", "go to a part of it: paths then begin there", edit.ToEnter, c.enterPath),
		plainly("up", "go to what is around this part", c.up),
		plainly("top", "go back to the whole", c.top),
		{
			word: "compare", help: "show what the candidate changes", run: with("desired"),
			nodes: []*node{
				plainly("saved", "of what was saved last", with("saved")),
				c.versionNode("of an older one: run show commits lists them", func(ctx context.Context, n int) error {
					return c.compare(ctx, fmt.Sprintf("saved-%d", n))
				}),
			},
		},
		plainly("check", "look for faults, and change nothing", func(ctx context.Context, _ call) error { return c.check(ctx) }),
		commitNode(c),
		confirmNode(c.session), cancelNode(c.session),
		{word: "rollback", help: "make an older one the candidate", nodes: []*node{
			c.versionNode("0 is in force, 1 the one before: run show commits", c.rollback),
		}},
		plainly("rebase", "take it over, as it is, onto what came into force since", func(ctx context.Context, _ call) error { return c.rebase(ctx) }),
		plainly("discard", "drop the candidate", func(ctx context.Context, _ call) error { return c.discard(ctx) }),
		{word: "run", help: "look, try or ask as outside: run show commits", more: func(context.Context) []*node {
			return slices.DeleteFunc(c.operational().nodes, func(n *node) bool { return !slices.Contains(outside, n.word) })
		}},
		c.terminalNode(), c.helpNode(),
		plainly("exit", "leave; the candidate is kept", func(ctx context.Context, _ call) error { return c.exit(ctx) }),
	}}
}

func (c *candidate) versionNode(help string, run func(context.Context, int) error) *node {
	return &node{
		arg: "N", help: help,
		check: func(v string) error {
			if n, err := strconv.Atoi(v); err != nil || n < 0 || n > 999 {
				return errors.New("an older one is a number: 0 is in force, 1 the one before")
			}
			return nil
		},
		run: func(ctx context.Context, call call) error {
			n, _ := strconv.Atoi(call.arg(0)) // checked above
			return run(ctx, n)
		},
	}
}

func commitNode(c *candidate) *node {
	commit := func(minutes int, comment func(call) string) func(context.Context, call) error {
		return func(ctx context.Context, call call) error {
			m := minutes
			if m < 0 {
				m, _ = strconv.Atoi(call.arg(0)) // checked below
			}
			return c.commit(ctx, m, comment(call))
		}
	}
	none := func(call) string { return "" }
	comment := func(minutes, before int) *node {
		return &node{word: "comment", help: "say what it is for", nodes: []*node{{
			arg: "TEXT", help: "shown with the commits", rest: true,
			run: commit(minutes, func(call call) string { return strings.Join(call.args[before:], " ") }),
		}}}
	}
	return &node{
		word: "commit", help: "put the candidate in force", run: commit(0, none),
		nodes: []*node{
			{
				word: "confirmed", help: "and go back by itself, unless confirm is typed", run: commit(defaultConfirm, none),
				nodes: []*node{{
					arg: "MINUTES", help: fmt.Sprintf("until it goes back, 1 to %d; default %d", maxConfirm, defaultConfirm),
					check: func(v string) error {
						if n, err := strconv.Atoi(v); err != nil || n < 1 || n > maxConfirm {
							return fmt.Errorf("use 1 to %d minutes", maxConfirm)
						}
						return nil
					},
					run: commit(-1, none), nodes: []*node{comment(-1, 1)},
				}},
			},
			comment(0, 0),
		},
	}
}

// A verb is a command that a path follows.
type verb struct {
	purpose edit.Purpose
	run     func(context.Context, call) error
}

// nodes are what may follow a path.
func (c *candidate) nodes(v verb, path []string) []*node {
	kind, ok := c.tree.Kind(v.purpose, path)
	if !ok {
		return nil
	}
	words := c.tree.Complete(v.purpose, path, "")
	if v.purpose == edit.ToSet && (kind == edit.Scalar || kind == edit.List) {
		return c.value(v, path, kind, words)
	}
	room := c.width - 2*len(gap)
	for _, w := range words {
		room = min(room, c.width-2*len(gap)-columns(w.Text))
	}
	var out []*node
	for _, w := range words {
		here := append(slices.Clone(path), w.Text)
		n := &node{word: w.Text, help: helpOf(w, room)}
		if w.Open { // what is made has the same fields, whatever it is called
			n.word, n.arg = "", w.Text
			n.check = func(value string) error { return c.tree.Check(v.purpose, append(slices.Clone(path), value)) }
			here[len(path)] = c.unused(path)
		}
		n.more = func(context.Context) []*node { return c.nodes(v, here) }
		n.refuse = func(value string) error { return c.tree.Check(v.purpose, append(slices.Clone(here), value)) }
		below, _ := c.tree.Kind(v.purpose, here)
		if v.purpose == edit.ToFind || below == edit.Fields || v.purpose == edit.ToSet && below == edit.Secret {
			n.run = v.run
		}
		out = append(out, n)
	}
	return out
}

// value is the node of what a field may hold.
func (c *candidate) value(v verb, path []string, kind edit.Kind, words []edit.Word) []*node {
	n := &node{
		arg: "VALUE", rest: kind == edit.List,
		check: func(value string) error { return c.tree.Check(v.purpose, append(slices.Clone(path), value)) },
		run:   v.run,
	}
	n.refuse = func(string) error {
		return fmt.Errorf("%s takes one value: use quotes for one with spaces", path[len(path)-1])
	}
	var choices []choice
	for _, w := range words {
		if w.Open {
			n.arg, n.help = w.Text, w.Help
			continue
		}
		choices = append(choices, choice{w.Text, w.Help})
	}
	n.values = func(context.Context) []choice { return choices }
	return []*node{n}
}

// unused returns a name that no item of a list has.
func (c *candidate) unused(path []string) string {
	name := "x"
	for slices.Contains(c.tree.Names(path...), name) {
		name += "x"
	}
	return name
}

// helpOf writes the help of a field on what is left of a line.
func helpOf(w edit.Word, room int) string {
	facts := ""
	if w.Facts != "" {
		facts = " (" + w.Facts + ")"
	}
	if left := room - columns(facts); columns(w.Help) > left && left > room/3 {
		return cut(w.Help, left) + facts
	}
	return cut(w.Help+facts, room)
}
