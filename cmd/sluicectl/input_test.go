package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/provisioning/config"
	"sluice/relay/relaytest"
)

// looked is a box that has looked at its inputs.
type looked struct {
	still
	asked []string // the flows, in order
}

func (l *looked) Request(_ context.Context, name string, data any) (json.RawMessage, error) {
	flow, _ := data.(object)["flow"].(string)
	l.asked = append(l.asked, flow)
	var answers map[string]json.RawMessage
	if name != "input-inspect" || json.Unmarshal([]byte(l.still["answers"]), &answers) != nil || answers[flow] == nil {
		return nil, errors.New("the box is gone")
	}
	return answers[flow], nil
}

func TestInputs(t *testing.T) {
	b := &looked{still: boxOf(t, "testdata/input.json")}
	prints(t, b, 80, "input", "input")
	if got := strings.Join(b.asked, " "); got != "stage phone head-end an-input-with-32-characters-of-id" {
		t.Errorf("asked for %s", got)
	}
	prints(t, b, 120, "input stage", "input-wide")
	prints(t, b, 0, "input stage/enc-a", "input-endless")
	prints(t, b, 0, "input phone --json", "input-json")
	prints(t, b, 0, "input --json", "input-all-json")
}

func TestInputsThatAreNotShown(t *testing.T) {
	b := boxOf(t, "testdata/input.json")
	for _, c := range []struct {
		box    box
		args   string
		status int
		says   string
	}{
		{&looked{still: still{"reported": "{}", "state": "{}"}}, "input", 0, "The box has no flows.\n"},
		{&looked{still: still{"reported": "{}", "state": "{}"}}, "input --json", 0, "[]\n"},
		{&looked{still: b}, "input none", 1, "sluicectl: there is no flow none\n"},
		{&looked{still: b}, "input stage/none", 1, "sluicectl: flow stage has no input none\n"},
		{&looked{still: b}, "input stage/enc-b", 1, "sluicectl: stage/enc-b is in standby: failover is not in this build: input enc-a is in use\n"},
		{&looked{still: still{"reported": b["reported"], "answers": b["answers"]}}, "input stage/enc-b", 1, "sluicectl: stage/enc-b is not in use: enc-a is\n"},
		{&looked{still: still{"reported": b["reported"], "state": "{}"}}, "input stage", 1, "sluicectl: the box is gone\n"},
		{&looked{still: still{"reported": b["reported"], "state": "{}"}}, "input", 1, "sluicectl: the box is gone\n"},
	} {
		var said screen
		run := &command{in: strings.NewReader(""), out: &said, err: &said, width: 80, now: time.Now, box: c.box}
		if status := run.run(t.Context(), strings.Fields(c.args)); status != c.status || said.String() != c.says {
			t.Errorf("%s: status %d, want %d\n%s", c.args, status, c.status, &said)
		}
	}
}

// What a source brings is told on the box and behind a broker.
func TestInputsOverBothTransports(t *testing.T) {
	b := startBox(t)
	p := ports(t, 3)
	b.local(fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [
		{"id": "stage", "name": "Stage", "inputs": [{"id": "enc", "protocol": "RTP", "rtp": {"port": %d, "encapsulation": "udp"}}]},
		{"id": "idle", "name": "Idle", "inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d}}, {"id": "spare", "protocol": "RTP", "rtp": {"port": %d}}],
		 "failover": {"mode": "switch"}}]}}`, p[0], p[1], p[2]), "apply", "-").wants(t, 0, "Version 1 is in force.")
	conn, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", p[0]))
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ts, tick := relaytest.NewTS(1), time.NewTicker(2*time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if ctx.Err() != nil {
				return
			}
			_, _ = conn.Write(ts.Next())
		}
	}()
	t.Cleanup(func() { cancel(); <-done; conn.Close() })
	eventually(t, "the input receives", func() bool { return strings.Contains(b.local("", "flows").out, "receiving") })
	for name, ctl := range map[string]func(string, ...string) result{"socket": b.local, "broker": b.remote} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown := make(chan result, 1)
			go func() { shown <- ctl("", "input", "stage/enc") }()
			defer func() {
				(<-shown).wants(t, 0, "Input      stage/enc, RTP, MPEG-TS\n", "Programme  1, PMT 4096 (0x1000), taken\n", "256 (0x100)", "H.264", "no: splice information")
			}()
			var v config.Inspection
			check(t, json.Unmarshal([]byte(ctl("", "input", "stage", "--json").out), &v))
			if v.Flow != "stage" || v.Input != "enc" || len(v.Programs) != 1 || len(v.Programs[0].Streams) != 4 || v.Programs[0].Streams[0].BitrateBps == 0 {
				t.Errorf("%+v", v)
			}
			ctl("", "input", "idle").wants(t, 0, "State      waiting", "Note       no media comes in\n")
			ctl("", "input", "idle/spare").wants(t, 1, "idle/spare is in standby: failover is not in this build: input enc is in use")
			ctl("", "input", "nix").wants(t, 1, "there is no flow nix")
			ctl("", "__complete", "input", "").wants(t, 0, "stage\nidle\nstage/enc\nidle/enc\nidle/spare\n")
		})
	}
}
