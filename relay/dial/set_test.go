package dial

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// TestOne calls one destination once, and says how that ended.
func TestOne(t *testing.T) {
	for name, c := range map[string]struct {
		play    func(*world)
		phase   endpoint.Phase
		code    string
		message string
	}{
		"refused":     {func(w *world) { w.peers[0].refuse(errRefused); w.run() }, endpoint.Refused, "bad_secret", "the key is wrong"},
		"unreachable": {func(w *world) { w.peers[0].refuse(errNobody); w.run() }, endpoint.Connecting, "no_listener", "nobody listens"},
		"lost": {func(w *world) {
			w.run()
			w.shows("connected", endpoint.Connected, "", 1)
			w.peers[0].refuse(nil)
		}, endpoint.Connecting, "peer_closed", "192.0.2.1:1935: the peer closed the connection"},
	} {
		in(t, Backup, 1, func(w *world) {
			c.play(w)
			var fault *endpoint.Error
			if err := <-w.done; !errors.As(err, &fault) || fault.Phase != c.phase || fault.Reason.Code != c.code || fault.Reason.Message != c.message {
				t.Errorf("%s: %v", name, err)
			}
			w.shows(name, c.phase, c.code, 0)
			if n := w.peers[0].number(); n != 1 {
				t.Errorf("%s: called %d times", name, n)
			}
		})
	}
	in(t, Backup, 1, func(w *world) {
		w.run()
		w.stop(nil)
		w.shows("stopped", endpoint.Connecting, "", 0)
		if lines := w.log.String(); strings.Count(lines, "connected peer=192.0.2.1:1935") != 2 { // and disconnected
			t.Errorf("the log:\n%s", lines)
		}
	})
}

// TestBoth: each destination is called for itself.
func TestBoth(t *testing.T) {
	in(t, Both, 2, func(w *world) {
		w.run()
		w.shows("connected", endpoint.Connected, "", 2)
		if n := w.env.Ledger.Connections.Load(); n != 1 {
			t.Errorf("the second counts as a reconnection: %d", n)
		}
		w.peers[0].refuse(errNobody)
		w.within(time.Minute, "it is called again", func() bool { return w.fails(0) == "no_listener" })
		w.shows("the first fails", endpoint.Connected, "no_listener", 1)
		w.peers[0].accept()
		w.within(time.Minute, "it is back", func() bool { return w.connected(0) })
		w.shows("the first is back", endpoint.Connected, "", 2)
		if n := w.env.Ledger.Connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
		if n := w.peers[1].number(); n != 1 {
			t.Errorf("the second was called %d times", n)
		}
		w.stop(nil)
	})
}

// TestBothRefuse shows a Set as refused once nobody takes it, whatever else
// there is to say of the other.
func TestBothRefuse(t *testing.T) {
	for _, c := range [][2]error{{errRefused, errRefused}, {errRefused, errNobody}, {errNobody, errRefused}} {
		for _, mode := range []string{Backup, Both} {
			in(t, mode, 2, func(w *world) {
				w.peers[0].refuse(c[0])
				w.peers[1].refuse(c[1])
				w.run()
				w.pass(time.Second)
				w.shows(mode, endpoint.Refused, "bad_secret", 0)
				w.stop(nil)
			})
		}
	}
}

// TestUnreadyUplink calls nobody over an uplink that is not ready, and both as
// soon as it is.
func TestUnreadyUplink(t *testing.T) {
	in(t, Both, 2, func(w *world) {
		w.Retry = Retry{First: time.Hour, Most: time.Hour, Refused: time.Hour, Healthy: time.Hour, Proven: time.Hour}
		w.up.Down()
		w.run()
		w.pass(time.Hour)
		w.shows("down", endpoint.Connecting, "no_carrier", 0)
		w.up.Up()
		w.within(time.Second, "both are called", func() bool { return w.connected(0) && w.connected(1) })
		for _, p := range w.peers {
			if n := p.number(); n != 1 {
				t.Errorf("%v was called %d times", p.address, n)
			}
			p.refuse(errRefused)
		}
		// Once refused they rest for an hour at least, but for an uplink that is
		// another one.
		w.pass(time.Hour)
		w.shows("refused", endpoint.Refused, "bad_secret", 0)
		w.peers[0].accept()
		w.peers[1].accept()
		w.up.Renew()
		w.within(time.Second, "both are called anew", func() bool { return w.connected(0) && w.connected(1) })
		w.stop(nil)
	})
}

// TestStop ends a Set in each of its states at once.
func TestStop(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"connected":  func(w *world) {},
		"resting":    func(w *world) { w.peers[0].refuse(errRefused); w.peers[1].refuse(errRefused) },
		"on backup":  func(w *world) { w.peers[0].refuse(errRefused) },
		"not ready":  func(w *world) { w.up.Down() },
		"half":       func(w *world) { w.peers[1].refuse(errNobody) },
		"being lost": func(w *world) { w.peers[0].linger = time.Hour; w.peers[1].linger = time.Hour },
	} {
		for _, mode := range []string{Backup, Both} {
			in(t, mode, 2, func(w *world) {
				prepare(w)
				w.run()
				w.pass(5 * time.Second)
				if took := w.stop(endpoint.ErrSocketsLost); took > 0 {
					t.Errorf("%s, %s: it took %v", name, mode, took)
				}
			})
		}
	}
	in(t, Both, 2, func(w *world) {
		w.peers[0].linger, w.peers[1].linger = time.Second, 2*time.Second
		w.run()
		if took := w.stop(context.Canceled); took != 2*time.Second {
			t.Errorf("an end in order took %v", took)
		}
	})
}
