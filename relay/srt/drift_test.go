package srt

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/relay/relaytest"
)

// A stopwatch tells how long datagrams are under way.
type stopwatch struct {
	mu   sync.Mutex
	sent map[uint64]time.Time
	laps []time.Duration // since the last look
}

func newStopwatch() *stopwatch { return &stopwatch{sent: make(map[uint64]time.Time)} }

func (s *stopwatch) start(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[n] = time.Now()
}

func (s *stopwatch) stop(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.laps = append(s.laps, time.Since(s.sent[n]))
	delete(s.sent, n)
}

// quick is how long the quickest of at least so many datagrams since the last
// call were under way: the tenth of them, as what a busy machine adds to some
// is of no interest here.
func (s *stopwatch) quick(t *testing.T, of int) time.Duration {
	t.Helper()
	await(t, "the stream arrives", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.laps) >= of
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	laps := s.laps
	s.laps = nil
	slices.SortFunc(laps, cmp.Compare)
	return laps[len(laps)/10]
}

// TestDrift has libsrt send with a clock of another rate. The latency stays
// what it was set to, and what is lost is made good to the end.
func TestDrift(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "it judges milliseconds")
	t.Parallel()
	const latency = 2 * time.Second
	const wanted = latency + oneWay
	const second = int(time.Second / (relaytest.DatagramSize * 8 * time.Second / relaytest.Bitrate))
	tests := []struct {
		ppm    float64
		within time.Duration // in every second
		whole  bool
	}{
		// A quiet machine shows 3 ms, and 13; one that runs every other test
		// beside, 15 ms more. A clock that nobody follows is 60 ms off in the end.
		{500, 30 * time.Millisecond, true},
		{-500, 30 * time.Millisecond, true},
		{10_000, 60 * time.Millisecond, false}, // of no real clock: alive is enough
		{-10_000, 60 * time.Millisecond, false},
	}
	seconds := 15
	if longTest() {
		seconds = 120
	}
	cells := concurrent{t: t}
	for i, tt := range tests {
		cells.run(fmt.Sprintf("%+v ppm", tt.ppm), func(t *testing.T) {
			if !longTest() {
				tt.within += 40 * time.Millisecond // for the busiest machine
			}
			watch := newStopwatch()
			in := runInput(t, shipped(listenerConfig(), int(latency/time.Millisecond)))
			v := relaytest.NewVerifier(1)
			v.Each = watch.stop
			in.feed(t, v)
			n := network{
				forth: relaytest.Path{Delay: oneWay, Loss: 0.02, SkewPPM: tt.ppm},
				back:  relaytest.Path{Delay: oneWay, Loss: 0.02},
			}
			_, port := through(t, in.port(t), n.opened(uint64(1000*i)))
			runProgram(t, generated{sent: watch.start}.source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, libsrt.options("caller", 0)))...)
			var low, high time.Duration
			for range seconds {
				off := watch.quick(t, second) - wanted
				low, high = min(low, off), max(high, off)
			}
			t.Logf("%+v ppm for %d s: latency %+v to %+v of what was set", tt.ppm, seconds, low, high)
			if low < -tt.within || high > tt.within {
				t.Errorf("the latency is %+v to %+v off, want at most %v", low, high, tt.within)
			}
			if r := in.seen.Report(); tt.whole && r.Intact() != nil || r.Altered+r.Duplicated+r.Disordered+r.Foreign != 0 {
				t.Errorf("%+v", r)
			}
			if n := in.env.Ledger.Connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
	cells.wait()
}
