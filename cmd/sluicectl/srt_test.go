package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConnections(t *testing.T) {
	b := boxOf(t, "testdata/srt.json")
	prints(t, b, 80, "srt", "srt")
	prints(t, b, 200, "srt stage", "srt-wide")
	prints(t, b, 0, "srt stage/hub", "srt-endless")
	prints(t, b, 0, "srt stage --json", "srt-json")
}

// Figures of an output at rest, or of other protocols, are no connections.
func TestNoConnections(t *testing.T) {
	some := boxOf(t, "testdata/srt.json")
	none := still{"reported": some["reported"], "state": "{}", "telemetry": `{"flows": []}`}
	for _, c := range []struct {
		box    box
		args   string
		status int
		says   string
	}{
		{none, "srt", 0, "The box has no SRT connections.\n"},
		{none, "srt stage", 0, "Flow stage has no SRT connections.\n"},
		{none, "srt stage/wall", 0, "stage/wall has no SRT connections.\n"},
		{some, "srt stage/tv", 0, "stage/tv has no SRT connections.\n"},
		{none, "srt --json", 0, "[]\n"},
		{some, "srt none", 1, "sluicectl: there is no flow none\n"},
		{some, "srt stage/none", 1, "sluicectl: flow stage has no input or output none\n"},
		{still{"reported": "{}", "state": "{}"}, "srt", 1, "no figures came: "},
	} {
		var said screen
		run := &command{in: strings.NewReader(""), out: &said, err: &said, width: 80, now: time.Now, box: c.box}
		if status := run.run(t.Context(), strings.Fields(c.args)); status != c.status || !strings.Contains(said.String(), c.says) {
			t.Errorf("%s: status %d, want %d\n%s", c.args, status, c.status, &said)
		}
	}
}

// unkept is a box behind a broker that keeps no telemetry: it has to be waited
// for.
type unkept struct{ still }

func (unkept) Peek(context.Context, string) (json.RawMessage, bool) { return nil, false }

func TestConnectionsAreWaitedFor(t *testing.T) {
	var out, errs screen
	c := &command{in: strings.NewReader(""), out: &out, err: &errs, width: 80, now: time.Now, box: unkept{boxOf(t, "testdata/srt.json")}}
	if status := c.run(t.Context(), []string{"srt"}); status != 0 || !strings.Contains(out.String(), "stage/hub to 198.51.100.7:7000\n") {
		t.Errorf("%d\n%s%s", status, &out, &errs)
	}
	if !strings.Contains(errs.String(), "about every 10 s") {
		t.Errorf("nobody is told what is waited for: %q", &errs)
	}
}

// Both ends of a connection are told of, on the box and behind a broker.
func TestConnectionsOverBothTransports(t *testing.T) {
	b := startBox(t)
	p := ports(t, 2)
	b.local(fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [
		{"id": "near", "name": "Near", "inputs": [{"id": "enc", "protocol": "RTP", "rtp": {"port": %d}}],
		 "outputs": [{"id": "far", "name": "Far", "protocol": "SRT", "srt": {"mode": "caller", "destinations": [{"host": "127.0.0.1", "port": %d}]}}]},
		{"id": "far", "name": "Far", "inputs": [{"id": "in", "protocol": "SRT", "srt": {"mode": "listener", "port": %d}}]}]}}`, p[0], p[1], p[1]), "apply", "-").
		wants(t, 0, "Version 1 is in force.")
	for name, ctl := range map[string]func(string, ...string) result{"socket": b.local, "broker": b.remote} {
		eventually(t, name+": both ends are shown", func() bool {
			out := ctl("", "srt").out
			return strings.Contains(out, fmt.Sprintf("near/far to 127.0.0.1:%d\n", p[1])) && strings.Contains(out, "far/in from 127.0.0.1:")
		})
		var all []connection
		check(t, json.Unmarshal([]byte(ctl("", "srt", "near", "--json").out), &all))
		if len(all) != 1 || all[0].Flow != "near" || all[0].Item != "far" || all[0].Direction != outward || all[0].MsSndTsbPdDelay != 120 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}
