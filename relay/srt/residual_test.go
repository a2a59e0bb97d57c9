package srt

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/relay/relaytest"
)

// The terms of the comparison: a latency of little more than three round
// trips, in which not everything can be made good.
const (
	residualLatencyMS = 200
	residualSeeds     = 3
)

// TestResidualLoss compares what is lost for good with what libsrt loses to
// libsrt, through the same networks.
func TestResidualLoss(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		path relaytest.Path
	}{
		{"10 %", relaytest.Path{Loss: 0.10}},
		{"1 %", relaytest.Path{Loss: 0.01}},
		{"5 %", relaytest.Path{Loss: 0.05}},
		{"20 %", relaytest.Path{Loss: 0.20}},
		{"bursts", relaytest.Path{Burst: burstShare, BurstLength: burstLength}},
	}
	// The short form sees a gross fault, on a busy machine too: with one try
	// less, 2 % are lost.
	packets, g, factor, allowance := uint64(4000), generated{}, 3.0, 0.005
	if longTest() {
		packets, g, factor, allowance = 20_000, generated{every: atMbps(5)}, 1, 0.0005
	} else {
		cases = cases[:1]
	}
	for _, c := range cases {
		c.path.Delay = oneWay
		cells := concurrent{t: t, sem: make(chan struct{}, len(pairings)*residualSeeds)}
		pools := make([]residual, len(pairings))
		for i, p := range pairings {
			for seed := range uint64(residualSeeds) {
				cells.run(fmt.Sprintf("%s/%s/seed %d", c.name, p.name, seed), func(t *testing.T) {
					port, v := p.receive(t)
					_, port = through(t, port, bothWays(c.path).opened(1000*seed))
					p.send(t, g, port)
					limit := patience + time.Duration(packets)*max(g.every, relaytest.NewTS(1).Interval())
					awaitWithin(t, limit, "the stream arrives", func() bool { r := v.Report(); return r.Received+r.Missing >= packets })
					pools[i].add(t, v.Report())
				})
			}
		}
		cells.wait()
		base := pools[0].share()
		for i := range pools {
			p, share := pairings[i].name, pools[i].share()
			t.Logf("%s lost: %s: %.3f %% of %d for good", c.name, p, 100*share, pools[i].total)
			if share > factor*base+allowance {
				t.Errorf("%s lost: %s: %.3f %% for good, libsrt to libsrt %.3f %%", c.name, p, 100*share, 100*base)
			}
		}
	}
}

// A residual is what several runs lost for good.
type residual struct {
	mu             sync.Mutex
	missing, total uint64
}

func (p *residual) add(t *testing.T, r relaytest.Report) {
	t.Helper()
	if r.Altered+r.Duplicated+r.Disordered+r.Foreign != 0 {
		t.Errorf("%+v", r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missing += r.Missing
	p.total += r.Received + r.Missing
}

func (p *residual) share() float64 { return float64(p.missing) / float64(max(p.total, 1)) }

// A pairing is a receiver that listens, and a sender that calls it.
type pairing struct {
	name    string
	receive func(t *testing.T) (port int, got *relaytest.Verifier)
	send    func(t *testing.T, g generated, port int)
}

// pairings begin with what the others are compared with.
var pairings = []pairing{
	{"libsrt to libsrt", libsrtReceives, libsrtSends},
	{"ours to libsrt", libsrtReceives, weSend},
	{"libsrt to ours", weReceive, libsrtSends},
	{"ours to ours", weReceive, weSend},
}

func residualOptions(mode string) string {
	return fmt.Sprintf("mode=%s&latency=%d", mode, residualLatencyMS)
}

func libsrtReceives(t *testing.T) (int, *relaytest.Verifier) {
	port, got := relaytest.FreePort(t), relaytest.NewVerifier(1)
	runProgram(t, nil, sink{got}, libsrt.name, libsrt.receive(url("127.0.0.1", port, residualOptions("listener")))...)
	listening(t, port)
	return port, got
}

func libsrtSends(t *testing.T, g generated, port int) {
	runProgram(t, g.source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, residualOptions("caller")))...)
}

func weReceive(t *testing.T) (int, *relaytest.Verifier) {
	cfg := listenerConfig()
	cfg.LatencyMS, cfg.PeerIdleTimeoutMS = residualLatencyMS, 5000
	in := runInput(t, cfg)
	return in.port(t), in.seen
}

func weSend(t *testing.T, g generated, port int) {
	cfg := callerConfig("127.0.0.1", port)
	cfg.LatencyMS, cfg.PeerIdleTimeoutMS = residualLatencyMS, 5000
	runOutput(t, cfg, anyone, g.live(t))
}
