package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/uplink"
	"sluice/relay"
)

// beat runs a heart for a while in fake time and returns what the manager is
// told, one string a message. alive says when a part was last seen to work.
func beat(t *testing.T, watch, span time.Duration, alive func() time.Time) []string {
	t.Helper()
	var told []string
	synctest.Test(t, func(t *testing.T) {
		h := &heart{
			tell:   func(state ...string) { told = append(told, strings.Join(state, "\n")) },
			watch:  watch,
			vitals: []vital{{"agent", time.Now}, {"engine", alive}},
			status: func() string { return "fine" },
			log:    slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		if err := h.run(ctx); err == nil {
			t.Error("run does not say why it ended")
		}
	})
	return told
}

func TestHeartBeats(t *testing.T) {
	told := beat(t, 15*time.Second, time.Minute, time.Now)
	if len(told) < 20 || told[0] != "WATCHDOG=1\nSTATUS=fine" || told[1] != "WATCHDOG=1" {
		t.Errorf("the manager hears %q", told)
	}
	// Three times in the shortest time after which it is missed.
	if told := beat(t, time.Second, 10*time.Second, time.Now); len(told) < 29 {
		t.Errorf("%d beats in 10 s", len(told))
	}
}

func TestHeartStopsWithAPart(t *testing.T) {
	var began time.Time
	hung := func() time.Time { // since the first look
		if began.IsZero() {
			began = time.Now()
		}
		return began
	}
	told := beat(t, 15*time.Second, 30*time.Second, hung)
	trigger := slices.IndexFunc(told, func(s string) bool { return strings.Contains(s, "WATCHDOG=trigger") })
	if trigger < 0 || !strings.Contains(told[trigger], "STATUS=engine hangs") {
		t.Fatalf("the manager hears %q", told)
	}
	for _, s := range told[trigger:] {
		if strings.Contains(s, "WATCHDOG=1") {
			t.Errorf("a daemon that hangs says %q", s)
		}
	}
	if at := time.Duration(trigger+1) * lookEvery; at < patience || at > patience+2*lookEvery {
		t.Errorf("it is noticed after %v", at)
	}
}

// Without a watchdog there is only the status, when it is new.
func TestHeartUnwatched(t *testing.T) {
	if told := beat(t, 0, time.Minute, time.Now); !slices.Equal(told, []string{"STATUS=fine"}) {
		t.Errorf("the manager hears %q", told)
	}
}

// A machine that was halted for a minute restarts nothing.
func TestHeartWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		last := time.Now()
		halt := true
		ctx, cancel := context.WithCancel(t.Context())
		h := &heart{
			tell:  func(state ...string) { told = append(told, state...) },
			watch: 15 * time.Second,
			// In the status the whole process stands still for a minute, once.
			status: func() string {
				if halt {
					halt = false
					time.Sleep(time.Minute)
				}
				return "fine"
			},
			log: slog.New(slog.DiscardHandler),
		}
		// The part is a moment late after the halt, as a goroutine of its own is.
		h.vitals = []vital{{"engine", func() time.Time { defer func() { last = time.Now() }(); return last }}}
		go func() { time.Sleep(80 * time.Second); cancel() }()
		_ = h.run(ctx)
		if slices.Contains(told, "WATCHDOG=trigger") {
			t.Errorf("the manager hears %q", told)
		}
	})
}

func TestManager(t *testing.T) {
	env := map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "socket"), "WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "7"}
	getenv := func(name string) string { return env[name] }
	log := slog.New(slog.DiscardHandler)
	if m := newManager(getenv, 7, log); m.watch != 15*time.Second {
		t.Errorf("it wants to hear within %v", m.watch)
	}
	if m := newManager(getenv, 8, log); m.watch != 0 {
		t.Errorf("another process is watched, and this one beats every %v", m.watch)
	}

	var logged output
	m := newManager(getenv, 7, slog.New(slog.NewTextHandler(&logged, nil)))
	m.tell("READY=1")
	m.tell("READY=1")
	if n := strings.Count(logged.String(), "cannot be told"); n != 1 {
		t.Errorf("a manager that is not there is logged %d times", n)
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: env["NOTIFY_SOCKET"], Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.tell("READY=1", "STATUS=fine")
	b := make([]byte, 100)
	if n, err := l.Read(b); err != nil || string(b[:n]) != "READY=1\nSTATUS=fine" {
		t.Errorf("it hears %q, %v", b[:n], err)
	}
	// One that is there and reads nothing costs a second at most.
	for range 1000 {
		if m.tell("STATUS=again"); m.deaf.Load() {
			break
		}
	}
	if !m.deaf.Load() {
		t.Error("a manager that reads nothing is not noticed")
	}
	newManager(func(string) string { return "" }, 7, slog.New(slog.NewTextHandler(io.Discard, nil))).tell("READY=1") // nobody asked
}

func TestSummary(t *testing.T) {
	r := relay.Report{Flows: []relay.FlowReport{{
		Inputs:  []relay.InputReport{{State: relay.Receiving}},
		Outputs: []relay.OutputReport{{State: relay.Sending}, {State: relay.UplinkDown}, {State: relay.Sending}},
	}}}
	const want = "inputs: 1 receiving; outputs: 1 uplink down, 2 sending; uplinks: 1 of 2 ready"
	if got := summary(r, []uplink.Status{{Ready: true}, {}}); got != want {
		t.Errorf("got %q", got)
	}
	if got := summary(relay.Report{}, nil); got != "inputs: none; outputs: none; uplinks: 0 of 0 ready" {
		t.Errorf("got %q", got)
	}
}
