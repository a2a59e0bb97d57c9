package srt

import (
	"slices"
	"testing"
	"time"

	"sluice/relay/relaytest"
)

// A condition is what a network does.
type condition struct {
	name    string
	network network
}

func conditions() []condition {
	lossy := func(share float64) network {
		return bothWays(relaytest.Path{Delay: oneWay, Loss: share})
	}
	all := relaytest.Path{
		Delay: oneWay, Jitter: 10 * time.Millisecond, Loss: 0.1, Burst: burstShare, BurstLength: burstLength,
		Reorder: 0.02, ReorderBy: 15 * time.Millisecond, Duplicate: 0.02,
	}
	return []condition{
		{"loss 1 %", lossy(0.01)},
		{"loss 5 %", lossy(0.05)},
		{"loss 10 %", lossy(0.10)},
		{"loss 20 %", lossy(0.20)},
		{"bursts", bothWays(relaytest.Path{Delay: oneWay, Burst: burstShare, BurstLength: burstLength})},
		{"delay", bothWays(relaytest.Path{Delay: oneWay})},
		{"jitter", bothWays(relaytest.Path{Jitter: 10 * time.Millisecond})},
		{"reordering", bothWays(relaytest.Path{Reorder: 0.02, ReorderBy: 15 * time.Millisecond})},
		{"duplication", bothWays(relaytest.Path{Duplicate: 0.02})},
		{"all at once", bothWays(all)},
		// The clock of the sender, which is the caller.
		{"clock 500 ppm fast", network{forth: relaytest.Path{SkewPPM: 500}}},
		{"clock 500 ppm slow", network{forth: relaytest.Path{SkewPPM: -500}}},
		{"clock 10000 ppm fast", network{forth: relaytest.Path{SkewPPM: 10_000}}},
		{"clock 10000 ppm slow", network{forth: relaytest.Path{SkewPPM: -10_000}}},
	}
}

// The path of the loss tests: a round trip of 60 ms, and bursts that lose 5 %.
const (
	oneWay      = 30 * time.Millisecond
	burstShare  = 0.0026
	burstLength = 20
)

// TestConditions has a stream come over bad networks, whole: from libsrt and
// to it. The sender calls.
func TestConditions(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "what is lost is sent again in time, or not")
	t.Parallel()
	wanted, limit := uint64(1000), 2*patience
	if longTest() {
		wanted, limit = 10_000, time.Minute
	}
	cells := concurrent{t: t}
	for i, c := range conditions() {
		c.network = c.network.opened(uint64(1000 * i))
		arrives := func(t *testing.T, p *relaytest.Proxy, v *relaytest.Verifier) {
			t.Helper()
			awaitWithin(t, limit, "the stream arrives", func() bool { return v.Report().Received+v.Report().Missing >= wanted })
			intact(t, v)
			tally, _ := p.Tally()
			met(t, c.network.forth, tally)
		}
		cells.run(c.name+"/from libsrt", func(t *testing.T) {
			in := runInput(t, shipped(listenerConfig(), patientMS))
			p, port := through(t, in.port(t), c.network)
			runProgram(t, source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, libsrt.options("caller", 0)))...)
			arrives(t, p, in.seen)
			if lost := in.env.Ledger.Lost.Load(); lost != 0 {
				t.Errorf("%d count as lost", lost)
			}
			if n := in.env.Ledger.Connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
		cells.run(c.name+"/to libsrt", func(t *testing.T) {
			got := relaytest.NewVerifier(1)
			port := relaytest.FreePort(t)
			runProgram(t, nil, sink{got}, libsrt.name, libsrt.receive(url("127.0.0.1", port, libsrt.options("listener", 0)))...)
			listening(t, port)
			p, port := through(t, port, c.network)
			out := runOutput(t, shipped(callerConfig("127.0.0.1", port), patientMS), anyone, live(t))
			arrives(t, p, got)
			if err := out.stop(); err != nil {
				t.Error(err)
			}
			balanced(t, out.env.Ledger)
			if n := out.env.Ledger.Connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
	cells.wait()
}

// met checks that the stream met what the path is there for.
func met(t *testing.T, path relaytest.Path, tally relaytest.Tally) {
	t.Helper()
	if (path.Loss+path.Burst > 0) != (tally.Lost > 0) || (path.Reorder > 0) != (tally.Overtaken > 0) || (path.Duplicate > 0) != (tally.Duplicated > 0) {
		t.Errorf("%+v did %+v", path, tally)
	}
}

// libsrt is the plainest program on libsrt.
var libsrt = peers[slices.IndexFunc(peers, func(p peer) bool { return p.name == "srt-live-transmit" })]
