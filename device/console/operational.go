package console

import (
	"context"
	"fmt"
	"strconv"
)

// operational is the grammar of the prompt after the login.
func (s *session) operational() *node {
	root := &node{elsewhere: ofConfigure, nodes: []*node{
		s.showNode(),
		{word: "explain", help: "why something is as it is", nodes: []*node{
			{word: "output", help: "an output", nodes: []*node{
				{arg: "FLOW/OUTPUT", help: "which", values: s.outputNames, check: named, run: s.shows(s.explain)},
			}},
		}},
		s.testNode(),
		s.monitorNode(),
		s.requestNode(),
		{word: "configure", help: "change the configuration", run: func(ctx context.Context, _ call) error { return enterConfigure(ctx, s) }},
	}}
	root.nodes = append(root.nodes, confirmNode(s), cancelNode(s))
	root.nodes = append(root.nodes, setupNodes(s)...)
	leave := func(context.Context, call) error { return errLogout }
	root.nodes = append(root.nodes, s.terminalNode(), s.helpNode(),
		&node{word: "logout", help: "end this session", run: leave},
		&node{word: "exit", help: "end this session", run: leave})
	return root
}

// ofConfigure refuses what somebody types who forgot to begin with configure:
// set is not a short setup.
func ofConfigure(word string) error {
	switch word {
	case "set", "delete", "edit", "compare", "check", "commit", "rollback", "rebase", "discard":
		return fmt.Errorf("%q belongs to configure: type configure first", word)
	}
	return nil
}

// terminalNode is what to say to a terminal that differs from VT100 of 80 by 24.
func (s *session) terminalNode() *node {
	set := func(f func()) func(context.Context, call) error {
		return func(context.Context, call) error {
			f()
			s.edit = nil
			return nil
		}
	}
	number := func(what string, low, high int, to *int) *node {
		return &node{word: what, help: "of the screen, in characters", nodes: []*node{{
			arg: "N", help: fmt.Sprintf("%d to %d", low, high), check: between("a "+what, low, high),
			run: func(_ context.Context, c call) error {
				*to, _ = strconv.Atoi(c.arg(0)) // checked above
				s.edit = nil
				return nil
			},
		}}}
	}
	return &node{word: "terminal", help: "say what this terminal is", nodes: []*node{
		number("width", 40, 250, &s.width),
		number("height", 10, 200, &s.height),
		{word: "dumb", help: "it moves no cursor: write plain lines", run: set(func() { s.dumb = true })},
		{word: "vt100", help: "it moves its cursor as a VT100 does", run: set(func() { s.dumb = false })},
		{word: "script", help: "it is a program: no pages, no questions, a last line ok or error", nodes: []*node{
			{word: "on", help: "begin", run: set(func() { s.script = true })},
			{word: "off", help: "end", run: set(func() { s.script = false })},
		}},
	}}
}

func (s *session) helpNode() *node {
	return &node{word: "help", help: "how this console works", run: func(ctx context.Context, _ call) error {
		return s.page(ctx, "Commands:\n"+list(s.mode().root.choices(ctx, word{}))+editing)
	}}
}

const editing = `
Words may be shortened. ? at any place shows what can follow, Tab completes.
A word with spaces or ? in it is written "in quotes".
Ctrl-A, Ctrl-E   begin and end of the line      Ctrl-U   take the line away
Ctrl-W, Ctrl-K   take a word, the rest away     Ctrl-L   draw the screen again
Up, Down         lines typed before             Ctrl-C   end what is going on
                                                Ctrl-D   leave
`
