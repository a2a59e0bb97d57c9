package srt

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// TestOneRefuses has the first destination refuse the passphrase: the second
// is used.
func TestOneRefuses(t *testing.T) {
	t.Parallel()
	port := relaytest.FreePort(t)
	refusing := runInput(t, lock{secret: "another-passphrase", bits: 128}.config(patientListener()))
	for _, mode := range []string{DestinationsBackup, DestinationsBoth} {
		second := runHub(t, port, 128)
		out := callTwo(t, mode, [2]int{refusing.port(t), port}, quick, live(t), func(c *Config) { *c = keyed(*c, 128) })
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

// TestBothRefuse shows an output as refused once nobody takes it, whatever
// else there is to say of the other.
func TestBothRefuse(t *testing.T) {
	t.Parallel()
	refusing := lock{secret: "another-passphrase", bits: 128}.config(patientListener())
	one, two := runInput(t, refusing).port(t), runInput(t, refusing).port(t)
	for _, ports := range [][2]int{{one, two}, {one, relaytest.FreePort(t)}, {relaytest.FreePort(t), one}} {
		out := callTwo(t, DestinationsBackup, ports, quick, live(t), func(c *Config) { *c = keyed(*c, 128) })
		await(t, "both fail", func() bool {
			return out.fails(0, "bad_secret", "no_listener") && out.fails(1, "bad_secret", "no_listener")
		})
		if s := out.Status(); s.Phase != endpoint.Refused || s.Reason.Code != "bad_secret" {
			t.Errorf("%+v", s)
		}
		if err := out.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestStopOnBackup stops an output while the second destination serves: that
// has the time to play everything, to the last byte.
func TestStopOnBackup(t *testing.T) {
	t.Parallel()
	ports := [2]int{relaytest.FreePort(t), relaytest.FreePort(t)}
	second := runHub(t, ports[1], 0)
	out := callTwo(t, DestinationsBackup, ports, quick, live(t), nil)
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
	t.Parallel()
	first, second := runInput(t, patientListener()), runInput(t, patientListener())
	path, port := through(t, first.port(t), network{})
	out := callTwo(t, DestinationsBackup, [2]int{port, second.port(t)}, quick, live(t), nil)
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

// TestFlapping has a first destination that comes and goes: the second stays
// until the first holds, for longer each time.
func TestFlapping(t *testing.T) {
	t.Parallel()
	brisk := func(c *Config) { c.LatencyMS = 120 } // its end is quick
	cfg := patientListener()
	brisk(&cfg)
	first, second := runInput(t, cfg), runInput(t, cfg)
	slow := quick
	slow.proven = 1200 * time.Millisecond
	out := callTwo(t, DestinationsBackup, [2]int{first.port(t), second.port(t)}, slow, live(t), brisk)
	nobody := endpoint.AllowList{netip.MustParsePrefix("192.0.2.0/24")}
	served := func() string {
		for _, s := range first.Status().Sessions {
			return s.ID
		}
		return ""
	}
	kick := func() {
		t.Helper()
		await(t, "the first is connected", func() bool { return out.isConnected(0) && served() != "" })
		id := served()
		first.Input.(endpoint.Gate).Kick(id)
		await(t, "the first is gone", func() bool { return served() != id })
	}
	kick()
	await(t, "the second is connected", func() bool { return out.isConnected(1) })
	for began := time.Now(); time.Since(began) < 3*slow.proven/2; { // it never holds for so long
		kick()
	}
	first.Input.(endpoint.Gate).SetAccess(endpoint.Access{Allow: nobody})
	n := first.env.Ledger.Refused.Load()
	await(t, "it stays away for longer", func() bool { return first.env.Ledger.Refused.Load() > n+12 }) // every 100 ms at most
	if n := second.env.Ledger.Connections.Load(); n != 1 || !out.isConnected(1) {
		t.Errorf("the second was connected %d times", n)
	}
	// letGo is how long the first has to hold.
	letGo := func() time.Duration {
		await(t, "the first is connected", func() bool { return out.isConnected(0) })
		began := time.Now()
		await(t, "the second is let go", func() bool { return out.rests() })
		return time.Since(began)
	}
	first.Input.(endpoint.Gate).SetAccess(endpoint.Access{})
	once := letGo()
	kick()
	await(t, "the second is connected", func() bool { return out.isConnected(1) })
	twice := letGo()
	const late = 200 * time.Millisecond // it was seen
	if once < slow.proven-late || twice < 2*slow.proven-late {
		t.Errorf("let go after %v, then after %v", once, twice)
	}
}

// TestSocketsLostByTwo ends outputs whose sockets reach nobody: they wait for
// no peer, not even for one that is being let go.
func TestSocketsLostByTwo(t *testing.T) {
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
		out := twoDestinations(t, DestinationsBoth, ports, quick, slow)
		ends(t, out, func() {
			await(t, "both are connected", func() bool { return out.isConnected(0) && out.isConnected(1) })
		})
	})
	t.Run("backup", func(t *testing.T) {
		await(t, "the places are free", func() bool { return len(first.Status().Sessions)+len(second.Status().Sessions) == 0 })
		out := twoDestinations(t, DestinationsBackup, ports, quick, slow)
		ends(t, out, func() {
			first.Input.(endpoint.Gate).Kick(first.Status().Sessions[0].ID)
			await(t, "both are connected", func() bool { return out.isConnected(0) && out.isConnected(1) })
			leaving := out.Output.(*callOutput).legs[1]
			await(t, "the second is being let go", func() bool {
				leaving.call.mu.Lock()
				defer leaving.call.mu.Unlock()
				if leaving.session == nil {
					return false
				}
				c, finishing := leaving.session.conn, false
				leaving.session.loop.do(func(time.Time) { finishing = c.finishing })
				return finishing
			})
		})
	})
}

// TestUnreadyUplink calls nobody over an uplink that is not ready, and both as
// soon as it is.
func TestUnreadyUplink(t *testing.T) {
	t.Parallel()
	ports := [2]int{relaytest.FreePort(t), relaytest.FreePort(t)}
	first, second := countAt(t, ports[0]), countAt(t, ports[1])
	slow := retry{first: time.Minute, most: time.Minute, refused: time.Minute, healthy: time.Minute, proven: time.Minute}
	out := twoDestinations(t, DestinationsBoth, ports, slow, nil)
	up := out.env.Uplink.(*relaytest.Uplink)
	up.Down()
	from := live(t)
	out.stop = background(t, func(ctx context.Context) error { return out.Run(ctx, from) })
	await(t, "both say why", func() bool { return out.fails(0, "no_carrier") && out.fails(1, "no_carrier") })
	if n := first() + second(); n > 0 {
		t.Errorf("%d datagrams were sent", n)
	}
	one, two := runHub(t, ports[0], 0), runHub(t, ports[1], 0)
	up.Up()
	await(t, "both get the stream", func() bool { return one.received() > 20 && two.received() > 20 })
}

// TestTwoLeaveNothing starts and stops outputs with two destinations, in each
// mode and whatever becomes of the calls.
func TestTwoLeaveNothing(t *testing.T) {
	good, bad := runInput(t, patientListener()), runInput(t, lock{secret: passphrase, bits: 128}.config(patientListener()))
	other := runInput(t, patientListener())
	from := flow.New(flow.DefaultLimits)
	dead := relaytest.FreePort(t)
	ports := [][2]int{{good.port(t), other.port(t)}, {bad.port(t), good.port(t)}, {good.port(t), dead}, {bad.port(t), dead}}
	cycle := func() {
		for i, mode := range []string{DestinationsBoth, DestinationsBackup} {
			for _, p := range ports {
				out := twoDestinations(t, mode, p, quick, nil)
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

func TestRetryPause(t *testing.T) {
	r := defaultRetry
	for _, c := range []struct {
		n           int
		why         endpoint.Phase
		least, most time.Duration
	}{
		{1, endpoint.Connecting, 0, time.Second},
		{3, endpoint.Connecting, 0, 4 * time.Second},
		{7, endpoint.Connecting, 0, 30 * time.Second},
		{1 << 30, endpoint.Connecting, 0, 30 * time.Second},
		{1, endpoint.Refused, 10 * time.Second, 30 * time.Second},
		{9, endpoint.Unworkable, 10 * time.Second, 30 * time.Second},
	} {
		var longest time.Duration
		for range 1000 {
			d := r.pause(c.n, c.why)
			if d < c.least || d >= c.most {
				t.Errorf("%d, %v: %v", c.n, c.why, d)
			}
			longest = max(longest, d)
		}
		if longest < c.most*9/10 {
			t.Errorf("%d, %v: the longest of many is %v", c.n, c.why, longest)
		}
	}
}
