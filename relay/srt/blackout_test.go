package srt

import (
	"fmt"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// TestCutPath cuts the path both ways for less than the idle timeout of 5 s:
// the connection survives, what is older than the latency is lost and counted,
// and nothing else.
func TestCutPath(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	const latencyMS = 400
	// forgotten is what no sender has any more; what is younger may be sent
	// again in time for what follows it.
	const forgotten = 2 * time.Second
	const after = 400 // datagrams
	most := func(dark time.Duration) uint64 {
		return uint64((dark + time.Second) / relaytest.NewTS(1).Interval())
	}
	check := func(t *testing.T, p *relaytest.Proxy, dark time.Duration, v *relaytest.Verifier) {
		t.Helper()
		await(t, "the stream arrives", func() bool { return v.Report().Received > enough })
		intact(t, v)
		last := v.Report().Last
		p.Blackout(dark)
		await(t, "the stream goes on", func() bool { return v.Report().Last > last+after+uint64(dark/relaytest.NewTS(1).Interval()) })
		r := v.Report()
		if r.Missing == 0 && dark > forgotten || r.Missing > most(dark) || r.Altered+r.Duplicated+r.Disordered+r.Foreign != 0 {
			t.Errorf("after %v: %+v", dark, r)
		}
		if forth, back := p.Tally(); forth.Cut == 0 || back.Cut == 0 {
			t.Errorf("%+v and %+v", forth, back)
		}
	}
	longest := 3 * time.Second // on the busiest machine
	if longTest() {
		longest = 4 * time.Second
	}
	cells := concurrent{t: t}
	for _, dark := range []time.Duration{time.Second, longest} {
		cells.run(fmt.Sprint(dark, "/from libsrt"), func(t *testing.T) {
			in := runInput(t, shipped(listenerConfig(), latencyMS))
			p, port := through(t, in.port(t), bothWays(relaytest.Path{Delay: oneWay}))
			runProgram(t, source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, libsrt.options("caller", 0)))...)
			check(t, p, dark, in.seen)
			if s := in.Status(); s.Phase != endpoint.Connected || in.env.Ledger.Connections.Load() != 1 {
				t.Errorf("phase %d, %d connections", s.Phase, in.env.Ledger.Connections.Load())
			}
			if err := in.stop(); err != nil {
				t.Error(err)
			}
			if lost, missing := in.env.Ledger.Lost.Load(), in.seen.Report().Missing; lost != missing {
				t.Errorf("%d count as lost, %d are missing", lost, missing)
			}
		})
		cells.run(fmt.Sprint(dark, "/to libsrt"), func(t *testing.T) {
			got := relaytest.NewVerifier(1)
			port := relaytest.FreePort(t)
			runProgram(t, nil, sink{got}, libsrt.name, libsrt.receive(url("127.0.0.1", port, libsrt.options("listener", 0)))...)
			listening(t, port)
			p, port := through(t, port, bothWays(relaytest.Path{Delay: oneWay}))
			out := runOutput(t, shipped(callerConfig("127.0.0.1", port), latencyMS), anyone, live(t))
			check(t, p, dark, got)
			if s := out.Status(); s.Phase != endpoint.Connected || out.env.Ledger.Connections.Load() != 1 {
				t.Errorf("phase %d, %d connections", s.Phase, out.env.Ledger.Connections.Load())
			}
			if err := out.stop(); err != nil {
				t.Error(err)
			}
			balanced(t, out.env.Ledger)
			if dark > forgotten && out.env.Ledger.Dropped()["too_late"] == 0 {
				t.Errorf("nothing was too late: dropped %v", out.env.Ledger.Dropped())
			}
		})
	}
	cells.wait()
}
