package srt

import (
	"strings"
	"testing"

	gosrt "github.com/datarhei/gosrt"

	"sluice/relay/relaytest"
)

// The stream ids that are tried: on the wire they are words of four bytes in
// another order, so that the length counts.
var streamIDs = map[string]string{
	"whole words":    "publish:live/one",
	"access control": "#!::r=live/stage,m=publish",
	"one byte":       "x",
	"longest":        strings.Repeat("0123456789abcde/", maxStreamID/16),
}

// TestStreamIDOfPrograms has programs call a listener of ours with the stream
// id that it demands.
func TestStreamIDOfPrograms(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for _, p := range peers {
		for name, id := range streamIDs {
			to := func(port int) string {
				return url("127.0.0.1", port, p.options("caller", 0)+p.streamID(id))
			}
			cells.run(p.name+"/"+name+"/publisher", func(t *testing.T) {
				in := runInput(t, lock{stream: id}.config(listenerConfig()))
				runProgram(t, source(t), nil, p.name, p.send(to(in.port(t)))...)
				await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 50 })
				intact(t, in.seen)
			})
			cells.run(p.name+"/"+name+"/viewer", func(t *testing.T) {
				got := relaytest.NewVerifier(1)
				out := runOutput(t, lock{stream: id}.config(listenerConfig()), anyone, live(t))
				runProgram(t, nil, sink{got}, p.name, p.receive(to(out.port(t)))...)
				await(t, "the stream arrives", func() bool { return got.Report().Received > 50 })
				intact(t, got)
			})
		}
	}
	cells.wait()
}

// TestStreamIDOfOurs has our callers call a listener that is not ours, and
// tells what it is told.
func TestStreamIDOfOurs(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for name, id := range streamIDs {
		check := func(t *testing.T, ask chan gosrt.ConnRequest) {
			t.Helper()
			if got := (<-ask).StreamId(); got != id {
				t.Errorf("the listener is told %q, want %q", got, id)
			}
		}
		cells.run(name+"/publisher", func(t *testing.T) {
			got := relaytest.NewVerifier(1)
			port, asked := gosrtListener(t, 0, gosrtReceive(got))
			runOutput(t, lock{stream: id}.config(callerConfig("127.0.0.1", port)), anyone, live(t))
			await(t, "the stream arrives", func() bool { return got.Report().Received > 50 })
			check(t, asked)
		})
		cells.run(name+"/viewer", func(t *testing.T) {
			port, asked := gosrtListener(t, 0, gosrtSend(t))
			in := runInput(t, lock{stream: id}.config(callerConfig("127.0.0.1", port)))
			await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 50 })
			check(t, asked)
		})
	}
	cells.wait()
}
