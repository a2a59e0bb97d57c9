package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/device/console/figure"
)

const monitorEvery = time.Second

// monitorNode is what can be watched, until a key is pressed.
func (s *session) monitorNode() *node {
	return &node{word: "monitor", help: "watch, until a key is pressed", nodes: []*node{
		{word: "flows", help: "states and bitrates, every second", run: func(ctx context.Context, _ call) error { return s.monitorFlows(ctx) }},
		{word: "log", help: "the log as it grows", run: func(ctx context.Context, _ call) error { return s.monitorLog(ctx) }},
	}}
}

// untilKey calls show every second until a key is pressed.
func (s *session) untilKey(ctx context.Context, show func() error) error {
	// Ctrl-C is a key like any other here.
	for {
		if err := show(); err != nil {
			return err
		}
		end := time.Now().Add(monitorEvery)
		for noise := true; noise; {
			wait, cancel := context.WithDeadline(ctx, end)
			k, err := s.key(wait, func(text string) { s.print(text) })
			cancel()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, context.DeadlineExceeded):
				noise = false
			case err != nil:
				return err
			case k != keyNoise && k != keyEscape:
				return nil
			}
		}
	}
}

const (
	cursorHome = "\x1b[H"
	eraseLine  = "\x1b[K"
	eraseBelow = "\x1b[J"
	eraseAll   = "\x1b[2J"
)

func (s *session) monitorFlows(ctx context.Context) error {
	still := !s.dumb && !s.script // the picture stays where it is
	if still {
		s.print(eraseAll)
	}
	err := s.untilKey(ctx, func() error {
		v, err := s.load(ctx)
		if err != nil {
			return err
		}
		lines := s.picture(v)
		if !still {
			s.print(strings.Join(lines, "\n") + "\n\n")
			return nil
		}
		s.print(cursorHome + strings.Join(lines, eraseLine+"\n") + eraseLine + eraseBelow)
		return nil
	})
	if still {
		s.print("\n")
	}
	return err
}

// picture is a screen of what is going on, one line for each input and output.
func (s *session) picture(v *view) []string {
	lines := []string{cut(clock(s.o.Now())+"  "+strings.TrimSuffix(v.summary(), ": show alarms")+"  any key ends it", s.width)}
	t := table{head: []string{"FLOW/ITEM", "", "STATE", "SINCE", "BITRATE", "LOST", "RTT", "PEERS"}}
	row := func(i item, direction, peers string) {
		lost, rtt := "-", "-"
		if f := i.figures; f != nil {
			lost = fmt.Sprint(f.Packets.Lost)
			if f.RTTMs > 0 {
				rtt = figure.Short(f.RTTMs) + " ms"
			}
		}
		name := cut(i.String(), 26)
		t.add(name, direction, dash(i.State), figure.Ago(s.o.Now(), i.Since), i.bitrate(), lost, rtt, peers)
	}
	for _, f := range v.reported.State.Flows {
		for _, i := range v.inputs(f.ID) {
			row(i, "in", "-")
		}
		for _, o := range v.outputs(f.ID) {
			row(o, "out", o.viewers())
		}
	}
	for line := range strings.Lines(t.lines(s.width)) {
		lines = append(lines, cut(strings.TrimSuffix(line, "\n"), s.width))
	}
	if room := s.height - 1; len(lines) > room {
		rest := len(lines) - room + 1
		lines = append(lines[:room-1], fmt.Sprintf("and %d more: show flows, show outputs", rest))
	}
	return lines
}

func (s *session) monitorLog(ctx context.Context) error {
	s.printf("The log as it grows. Any key ends it.\n")
	var seen []string
	return s.untilKey(ctx, func() error {
		tail, err := s.logTail(ctx, 100)
		if err != nil {
			return err
		}
		fresh := tail[overlap(seen, tail):]
		if seen == nil {
			fresh = fresh[max(len(fresh)-someLogLines, 0):]
		}
		for _, line := range fresh {
			s.print(fold(line+"\n", s.width))
		}
		seen = tail
		return nil
	})
}

// overlap is how many lines at the begin of the new ones were seen already, as
// the last of the old ones.
func overlap(old, fresh []string) int {
	for n := min(len(old), len(fresh)); n > 0; n-- {
		if slices.Equal(old[len(old)-n:], fresh[:n]) {
			return n
		}
	}
	return 0
}
