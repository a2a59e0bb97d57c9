package dial

import (
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

func TestRetryPause(t *testing.T) {
	r := DefaultRetry
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

// TestForgotten: the failures of a destination count until it has been
// connected for a while.
func TestForgotten(t *testing.T) {
	relaytest.TakesSeconds(t)
	in(t, Both, 2, func(w *world) {
		w.Retry = Retry{First: time.Second, Most: time.Hour, Refused: time.Second, Healthy: time.Minute, Proven: time.Second}
		w.peers[0].refuse(errNobody)
		w.run()
		w.within(time.Hour, "it has failed ten times", func() bool { return w.peers[0].number() == 10 })
		w.pass(2 * handshake)
		w.up.Renew() // which is another path
		w.within(time.Second, "it has failed once more", func() bool { return w.peers[0].number() == 11 })
		w.within(w.Retry.First+2*handshake, "it is called again", func() bool { return w.peers[0].number() == 12 })
		w.within(time.Hour, "it has failed some more times", func() bool { return w.peers[0].number() == 20 })
		w.peers[0].accept()
		w.within(time.Hour, "it is connected", func() bool { return w.connected(0) })
		w.pass(w.Retry.Healthy)
		w.peers[0].refuse(nil)
		w.pass(1)
		if took := w.within(time.Hour, "it is called again", func() bool { return w.connected(0) }); took > w.Retry.First+2*handshake {
			t.Errorf("after %v, its failures are not forgotten", took)
		}
		w.stop(nil)
	})
}

// TestComplaints: a destination that fails over and over does not fill the log.
func TestComplaints(t *testing.T) {
	in(t, Both, 2, func(w *world) {
		w.Retry = brisk
		w.peers[0].refuse(errNobody)
		w.run()
		w.pass(endpoint.RepeatedEvery / 2)
		failed := func(text string) int {
			return strings.Count(w.log.String(), `msg="destination failed" destination=one.test:1935 error="`+text)
		}
		if n := failed("nobody listens"); n != 1 || w.peers[0].number() < 50 {
			t.Errorf("%d lines of %d failures", n, w.peers[0].number())
		}
		w.peers[0].refuse(errRefused)
		w.pass(time.Second)
		if n := failed("the key is wrong"); n != 1 {
			t.Errorf("%d lines of another fault", n)
		}
		w.pass(endpoint.RepeatedEvery)
		if n := failed("the key is wrong"); n != 2 || strings.Contains(w.log.String(), "two.test:1935 error") {
			t.Errorf("%d lines in a minute, or of the other:\n%s", n, w.log)
		}
		w.stop(nil)
	})
}
