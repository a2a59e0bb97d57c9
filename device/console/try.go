package console

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// testNode is what can be tried. The box does it, from the uplink that is
// named, or else from the default one.
func (s *session) testNode() *node {
	host := func(arg string) *node { return &node{arg: arg, help: "name or address"} }
	port := func() *node { return &node{arg: "PORT", help: "1 to 65535", check: between("a port", 1, 65535)} }
	// test makes the nodes of one: its words, then perhaps via an uplink.
	test := func(word, help string, fields []string, args ...*node) *node {
		first := &node{word: word, help: help}
		last := first
		for _, a := range args {
			last.nodes = []*node{a}
			last = a
		}
		run := func(ctx context.Context, c call) error { return s.try(ctx, word, fields, c.args) }
		last.run = run
		last.nodes = append(last.nodes, &node{word: "via", help: "an uplink that is not the default one", nodes: []*node{
			{arg: "UPLINK", help: "which", values: s.uplinkNames, run: run},
		}})
		return first
	}
	return &node{word: "test", help: "try what the box can reach", nodes: []*node{
		{word: "link", help: "is the uplink ready?", nodes: []*node{{
			arg: "UPLINK", help: "which", values: s.uplinkNames,
			run: func(ctx context.Context, c call) error { return s.try(ctx, "link", []string{"uplink"}, c.args) },
		}}},
		test("ping", "does a host answer echo requests?", []string{"host", "uplink"}, host("HOST")),
		test("dns", "which addresses does a name have?", []string{"host", "uplink"}, host("NAME")),
		test("tcp", "does a host accept connections?", []string{"host", "port", "uplink"}, host("HOST"), port()),
		test("srt", "does an SRT listener answer?", []string{"host", "port", "uplink"}, host("HOST"), port()),
		test("ntp", "what time does a server have?", []string{"host", "uplink"}, host("HOST")),
		test("multicast", "does a group's stream come in?", []string{"host", "port", "uplink"}, host("GROUP"), port()),
		test("fleet", "is there a way to the broker?", []string{"uplink"}),
		{word: "output", help: "is there a way to where an output goes?", nodes: []*node{{
			arg: "FLOW/OUTPUT", help: "which", values: s.outputNames, check: named,
			run: func(ctx context.Context, c call) error {
				flow, output, err := splitName(c.arg(0), "FLOW/OUTPUT")
				if err != nil {
					return err
				}
				return s.try(ctx, "output", []string{"flow", "output"}, []string{flow, output})
			},
		}}},
	}}
}

// errTold is the error of what was told already: for scripts it is told again,
// on their last line.
type errTold struct{ message string }

func (e errTold) Error() string { return e.message }

// try has the box try something, and tells how it went.
func (s *session) try(ctx context.Context, test string, fields, values []string) error {
	data := map[string]any{"test": test}
	for i, v := range values {
		data[fields[i]] = v
		if fields[i] == "port" {
			data["port"], _ = strconv.Atoi(v) // checked by the grammar
		}
	}
	var r struct {
		Uplink    string   `json:"uplink"`
		Interface string   `json:"interface"`
		OK        bool     `json:"ok"`
		Message   string   `json:"message"`
		Addresses []string `json:"addresses"`
		TimeMS    float64  `json:"time_ms"`
	}
	if err := s.request(ctx, "test", data, &r); err != nil {
		return err
	}
	verdict := "ok"
	if !r.OK {
		verdict = "failed"
	}
	way := ""
	if r.Uplink != "" {
		way = fmt.Sprintf(" through %s (%s)", r.Uplink, dash(r.Interface))
	}
	text := fold(clean(fmt.Sprintf("%s%s: %s: %s", test, way, verdict, r.Message))+"\n", s.width)
	if r.TimeMS > 0 {
		text += labelled("Time", s.width, fmt.Sprintf("%.1f ms", r.TimeMS))
	}
	if len(r.Addresses) > 0 {
		text += labelled("Addresses", s.width, r.Addresses...)
	}
	if err := s.page(ctx, text); err != nil {
		return err
	}
	if !r.OK {
		return errTold{"failed: " + r.Message}
	}
	return nil
}

// told tells an error that a person has read already.
func told(err error) bool { return errors.As(err, new(errTold)) }
