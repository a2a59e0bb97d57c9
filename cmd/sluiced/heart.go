package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sluice/device/uplink"
	"sluice/relay"
)

const (
	// patience is how long a part may be busy with one thing: what it stops,
	// and a slow disk, take seconds.
	patience  = 20 * time.Second
	lookEvery = 2 * time.Second
)

// A vital is a part without which the daemon is of no use.
type vital struct {
	name  string
	alive func() time.Time // when it was last seen to work
}

// A heart tells the service manager that the daemon lives, for as long as each
// of its vital parts does, and what it is doing. The manager starts a daemon
// again whose heart stands still.
type heart struct {
	tell   func(state ...string)
	watch  time.Duration // within which the manager wants to hear of life; 0: never
	vitals []vital
	status func() string // one line
	log    *slog.Logger
}

// run beats until ctx is done.
func (h *heart) run(ctx context.Context) error {
	every := lookEvery
	if h.watch > 0 {
		every = min(every, h.watch/3)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var said string
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now := time.Now()
		// Who was away himself, as in a machine that was halted for a while,
		// cannot tell how long others were.
		away := now.Sub(last) > patience/2
		last = now
		var state []string
		status := h.status
		switch dead := h.dead(now); {
		case dead == "" || away:
			if h.watch > 0 {
				state = append(state, "WATCHDOG=1")
			}
		default:
			status = func() string { return dead + " hangs" }
			h.log.Error("a part of the daemon hangs", "part", dead)
			if h.watch > 0 {
				// Now, rather than when the manager's time is over.
				state = append(state, "WATCHDOG=trigger")
			}
		}
		if s := "STATUS=" + status(); s != said {
			said = s
			state = append(state, s)
		}
		if len(state) > 0 {
			h.tell(state...)
		}
	}
}

// dead returns the name of a part that shows no life, or nothing.
func (h *heart) dead(now time.Time) string {
	for _, v := range h.vitals {
		if now.Sub(v.alive()) > patience {
			return v.name
		}
	}
	return ""
}

// summary says in one line what the box does.
func summary(r relay.Report, uplinks []uplink.Status) string {
	inputs, outputs := map[relay.State]int{}, map[relay.State]int{}
	for _, f := range r.Flows {
		for _, in := range f.Inputs {
			inputs[in.State]++
		}
		for _, out := range f.Outputs {
			outputs[out.State]++
		}
	}
	ready := 0
	for _, u := range uplinks {
		if u.Ready {
			ready++
		}
	}
	return fmt.Sprintf("inputs: %s; outputs: %s; uplinks: %d of %d ready", count(inputs), count(outputs), ready, len(uplinks))
}

// count is the states and how many are in each.
func count(states map[relay.State]int) string {
	var all []string
	for s, n := range states {
		all = append(all, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(s), "_", " ")))
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
