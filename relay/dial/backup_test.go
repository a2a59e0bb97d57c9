package dial

import (
	"context"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// brisk are pauses that are soon over, and a proof that takes longer.
var brisk = Retry{
	First: 50 * time.Millisecond, Most: 200 * time.Millisecond, Refused: 100 * time.Millisecond,
	Healthy: time.Minute, Proven: 2 * time.Second,
}

// TestBackup has the second destination stand in for the first, until that has
// proven itself.
func TestBackup(t *testing.T) {
	in(t, Backup, 2, func(w *world) {
		w.Retry = brisk
		w.run()
		w.pass(time.Hour)
		w.shows("connected", endpoint.Connected, "", 1)
		if n := w.peers[1].number(); n != 0 || !w.rests() {
			t.Errorf("the second was called %d times, and shows %+v", n, w.View().Destinations[1])
		}

		w.peers[0].refuse(errNobody)
		if took := w.within(time.Minute, "the second is connected", func() bool { return w.connected(1) }); took > 2*handshake {
			t.Errorf("it took over after %v", took)
		}
		w.pass(time.Hour)
		w.shows("on the second", endpoint.Connected, "no_listener", 1)

		w.peers[1].linger = 300 * time.Millisecond
		w.peers[0].accept()
		w.within(time.Minute, "the first is connected", func() bool { return w.connected(0) })
		w.shows("on both", endpoint.Connected, "", 2)
		if took := w.within(time.Minute, "the second is let go", func() bool { return w.rests() }); took < brisk.Proven+300*time.Millisecond-10*time.Millisecond || took > brisk.Proven+400*time.Millisecond {
			t.Errorf("after %v: the first has to prove itself, and the second is ended in order", took)
		}
		w.shows("on the first again", endpoint.Connected, "", 1)
		if n := w.env.Ledger.Connections.Load(); n != 3 {
			t.Errorf("%d connections: there were the first, the second, the first again", n)
		}
		w.stop(nil)
	})
}

// TestFirstNeverThere: the second stands in from the beginning.
func TestFirstNeverThere(t *testing.T) {
	in(t, Backup, 2, func(w *world) {
		w.Retry = brisk
		w.peers[0].refuse(errNobody)
		w.run()
		w.within(time.Second, "the second is connected", func() bool { return w.connected(1) })
		w.stop(nil)
		if n := w.env.Ledger.Connections.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestNeitherThere: the second is no longer shown as one that fails once the
// first is there.
func TestNeitherThere(t *testing.T) {
	in(t, Backup, 2, func(w *world) {
		w.Retry = brisk
		w.peers[0].refuse(errNobody)
		w.peers[1].refuse(errRefused)
		w.run()
		w.pass(time.Second)
		w.shows("neither", endpoint.Refused, "bad_secret", 0)
		w.peers[0].accept()
		w.within(time.Second, "the first is connected", func() bool { return w.connected(0) })
		w.pass(2 * brisk.Proven)
		w.shows("the first", endpoint.Connected, "", 1)
		if !w.rests() {
			t.Errorf("the second shows %+v", w.View().Destinations[1])
		}
		w.stop(nil)
	})
}

// TestFlapping has a first destination that comes and goes: the second stays
// until the first holds, for longer each time, until it has been well for long.
func TestFlapping(t *testing.T) {
	relaytest.TakesSeconds(t)
	in(t, Backup, 2, func(w *world) {
		w.Retry = brisk
		w.run()
		flap := func() {
			t.Helper()
			w.peers[0].refuse(nil)
			w.within(time.Second, "the first is gone", func() bool { return !w.connected(0) })
		}
		back := func() {
			t.Helper()
			w.within(time.Second, "the first is connected", func() bool { return w.connected(0) })
		}
		// holds checks how long the first has to hold.
		holds := func(want time.Duration) {
			t.Helper()
			back()
			if took := w.within(2*want, "the second is let go", w.rests); took < want-10*time.Millisecond || took > want+10*time.Millisecond {
				t.Errorf("let go after %v, not %v", took, want)
			}
		}
		flap()
		w.within(time.Second, "the second is connected", func() bool { return w.connected(1) })
		for range 10 { // it never holds for so long
			back()
			w.pass(brisk.Proven * 3 / 4)
			flap()
		}
		w.peers[0].refuse(errNobody)
		w.pass(2 * brisk.Proven) // nor does it count that it did not fail
		w.peers[0].accept()
		if n := w.peers[1].number(); n != 1 || !w.connected(1) {
			t.Errorf("the second was called %d times", n)
		}
		for _, n := range []time.Duration{1, 2, 4, 8, 16} {
			holds(n * brisk.Proven)
			flap()
		}
		for range 2 {
			holds(brisk.Healthy) // and no longer
			flap()
		}
		holds(brisk.Healthy)
		w.pass(brisk.Healthy) // it has been well
		flap()
		holds(brisk.Proven)
		w.stop(nil)
	})
}

// TestHurry stops a Set while its second destination is being let go in order:
// that has the time if there is any.
func TestHurry(t *testing.T) {
	for cause, want := range map[error]time.Duration{context.Canceled: time.Hour, endpoint.ErrSocketsLost: 0} {
		in(t, Backup, 2, func(w *world) {
			w.Retry = brisk
			w.peers[0].refuse(errNobody)
			w.peers[1].linger = time.Hour
			w.run()
			w.peers[0].accept()
			w.within(time.Minute, "the first is connected", func() bool { return w.connected(0) })
			w.pass(2 * brisk.Proven)
			if w.rests() || !w.connected(1) {
				t.Error("the second does not end in order")
			}
			if took := w.stop(cause); took < want*9/10 || took > want {
				t.Errorf("%v: it took %v", cause, took)
			}
		})
	}
}
