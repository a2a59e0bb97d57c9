package srt

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// TestOneRefuses has the first destination refuse the passphrase: the second
// is used.
func TestOneRefuses(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	port := relaytest.FreePort(t)
	refusing := runInput(t, lock{secret: "another-passphrase", bits: 128}.config(patientListener()))
	for _, mode := range []string{dial.Backup, dial.Both} {
		second := runHub(t, port, 128)
		out := callTwo(t, mode, [2]int{refusing.port(t), port}, live(t), func(c *Config) { *c = keyed(*c, 128) })
		await(t, "the second gets the stream", func() bool { return second.received() > enough })
		s := out.Status()
		if d := s.Destinations[0]; d.Phase != endpoint.Refused || d.Reason.Code != "bad_secret" {
			t.Errorf("%s: the first shows %+v", mode, d)
		}
		if s.Phase != endpoint.Connected || !out.isConnected(1) || s.Reason == nil || s.Reason.Code != "bad_secret" {
			t.Errorf("%s: %+v", mode, s)
		}
		await(t, "the first is called again", func() bool { return refusing.env.Ledger.Refused.Load() > 2 })
		if s := out.Status(); s.Phase != endpoint.Connected || s.Destinations[0].Phase != endpoint.Refused {
			t.Errorf("%s: called again, it shows %+v", mode, s)
		}
		if err := out.stop(); err != nil {
			t.Error(err)
		}
		intact(t, second.got)
		balanced(t, out.env.Ledger)
		if n := out.env.Ledger.Connections.Load(); n != 1 {
			t.Errorf("%s: %d connections", mode, n)
		}
		await(t, "the second is told", func() bool { return second.ended() })
	}
}

// TestStopOnBackup stops an output while the second destination serves: that
// has the time to play everything, to the last byte.
func TestStopOnBackup(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "its streams wait there for longer than an orderly end takes")
	t.Parallel()
	ports := [2]int{relaytest.FreePort(t), relaytest.FreePort(t)}
	second := runHub(t, ports[1], 0)
	out := callTwo(t, dial.Backup, ports, live(t), nil)
	await(t, "the second gets the stream", func() bool { return second.received() > enough })
	if !out.fails(0, "no_listener") {
		t.Errorf("the first shows %+v", out.destination(0))
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
	await(t, "the second is told", func() bool { return second.ended() })
	intact(t, second.got)
	if got, sent := second.received(), out.env.Ledger.Taken.Load(); got != sent || len(out.env.Ledger.Dropped()) > 0 {
		t.Errorf("it got %d datagrams of %d, dropped %v", got, sent, out.env.Ledger.Dropped())
	}
}

// TestOutage cuts the path to the first destination, for less than the silence
// that is allowed and for more.
func TestOutage(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	first, second := runInput(t, patientListener()), runInput(t, patientListener())
	path, port := through(t, first.port(t), network{})
	out := callTwo(t, dial.Backup, [2]int{port, second.port(t)}, live(t), nil)
	await(t, "the first gets the stream", func() bool { return first.seen.Report().Received > enough })

	path.Blackout(500 * time.Millisecond)
	n := first.seen.Report().Received
	await(t, "the first goes on", func() bool { return first.seen.Report().Received > n+2*enough })
	intact(t, first.seen)
	if n := out.env.Ledger.Connections.Load(); n != 1 || !out.rests() {
		t.Errorf("a short outage made %d connections, the second shows %+v", n, out.destination(1))
	}

	path.Blackout(time.Minute)
	await(t, "the second gets the stream", func() bool { return second.seen.Report().Received > enough })
	if !out.fails(0, "peer_silent", "no_answer") {
		t.Errorf("the first shows %+v", out.destination(0))
	}
	path.Blackout(0)
	await(t, "the first is back alone", func() bool { return out.isConnected(0) && out.rests() })
	intact(t, second.seen)
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
}

// TestSocketsLostByTwo ends outputs whose sockets reach nobody: they wait for
// no peer, not even for one that is being let go.
func TestSocketsLostByTwo(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	slow := func(c *Config) { c.LatencyMS = 4000 } // an orderly end takes two seconds
	first, second := runInput(t, patientListener()), runInput(t, patientListener())
	ports := [2]int{first.port(t), second.port(t)}
	ends := func(t *testing.T, out *sendingOutput, when func()) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		done := make(chan error, 1)
		media := live(t)
		go func() { done <- out.Run(ctx, media) }()
		await(t, "media is acknowledged", func() bool { return !out.Status().Acked.IsZero() })
		when()
		began := time.Now()
		cancel(endpoint.ErrSocketsLost)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it ended after %v", took)
		}
	}
	t.Run("both", func(t *testing.T) {
		out := twoDestinations(t, dial.Both, ports, slow)
		ends(t, out, func() {
			await(t, "both are connected", func() bool { return out.isConnected(0) && out.isConnected(1) })
		})
	})
	t.Run("backup", func(t *testing.T) {
		await(t, "the places are free", func() bool { return len(first.Status().Sessions)+len(second.Status().Sessions) == 0 })
		out := twoDestinations(t, dial.Backup, ports, slow)
		ends(t, out, func() {
			first.Input.(endpoint.Gate).Kick(first.Status().Sessions[0].ID)
			await(t, "both are connected", func() bool { return out.isConnected(0) && out.isConnected(1) })
			leaving := out.Output.(*callOutput).set.View().Sessions[1]
			await(t, "the second is being let go", func() (finishing bool) {
				leaving.loop.do(func(time.Time) { finishing = leaving.conn.finishing })
				return finishing
			})
		})
	})
}

// TestTwoLeaveNothing starts and stops outputs with two destinations, in each
// mode and whatever becomes of the calls.
func TestTwoLeaveNothing(t *testing.T) {
	relaytest.TakesSeconds(t)
	good, bad := runInput(t, patientListener()), runInput(t, lock{secret: passphrase, bits: 128}.config(patientListener()))
	other := runInput(t, patientListener())
	from := flow.New(flow.DefaultLimits)
	dead := relaytest.FreePort(t)
	ports := [][2]int{{good.port(t), other.port(t)}, {bad.port(t), good.port(t)}, {good.port(t), dead}, {bad.port(t), dead}}
	cycle := func() {
		for i, mode := range []string{dial.Both, dial.Backup} {
			for _, p := range ports {
				out := twoDestinations(t, mode, p, nil)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- out.Run(ctx, from) }()
				want := endpoint.Connected
				if p[0] == bad.port(t) && p[1] == dead {
					want = endpoint.Refused
				}
				await(t, "the call has come to something", func() bool { return out.Status().Phase == want })
				cancel()
				if err := <-done; err != nil {
					t.Errorf("%d: %v", i, err)
				}
				await(t, "the places are free", func() bool { return len(good.Status().Sessions)+len(other.Status().Sessions) == 0 })
			}
		}
	}
	cycle()
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)
	for range 10 {
		cycle()
	}
	await(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors(t) <= descriptors
	})
}

// TestGivenUpTooLate gives a call up at the moment at which it comes to a
// connection: that is not left behind on a socket that others use.
func TestGivenUpTooLate(t *testing.T) {
	in := runInput(t, patientListener())
	port := in.port(t)
	ended := make(chan error, 1)
	held := callFrom(t, port)
	await(t, "the place is taken", func() bool { return len(in.Status().Sessions) == 1 })
	held.loop.do(func(time.Time) {
		c := &calling{s: &socket{calls: map[uint32]*calling{}}, outcome: make(chan outcome, 1)}
		held.conn.ended = func(cause error) { ended <- cause }
		c.outcome <- outcome{conn: held.conn}
		c.giveUp(context.Canceled)
	})
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended for %v", err)
	}
	await(t, "the peer is told", func() bool { return len(in.Status().Sessions) == 0 })
}
