package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sluice/test/harness"
)

// Whatever becomes of the broker and of the box, the last good configuration is
// in force.
func TestLastGoodConfigurationIsAlwaysInForce(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	rtp := udpPort(t)
	d := document{version: 1, input: udpPort(t), outputs: []string{rtpOutput("headend", rtp, "")}}
	publish(t, b, l, d)
	f := feed(t, d.input, 4)
	headend := f.viewUDP(t, "the RTP output", rtp, 12)
	relays := func(version uint64) {
		t.Helper()
		x.AwaitStates(t, 20*time.Second, map[string]string{"enc": "receiving", "headend": "sending"})
		headend.Receives(t, 100, 20*time.Second)
		harness.Await(t, 5*time.Second, fmt.Sprintf("version %d is in force", version), func() bool {
			return x.Report(t).Version == version
		})
	}
	relays(1)

	// An empty retained message takes nothing away.
	b.publish(t, "config/desired", nil, true)
	relays(1)

	session := awaitReady(t, l, 0)

	// The broker goes, for ten seconds: the stream does not notice.
	b.process.Stop()
	for gone := time.Now(); time.Since(gone) < 10*time.Second; {
		headend.Receives(t, 50, 10*time.Second)
	}
	headend.Intact(t)

	// It comes back: the box does, too, and says so; a change is taken.
	b.start(t)
	l = b.listen(t)
	session = awaitReady(t, l, session+1)
	d.version = 2
	publish(t, b, l, d)
	relays(2)
	headend.Intact(t)

	// The box is restarted while there is no broker.
	b.process.Stop()
	x.process.Stop()
	if x.process.Err != nil {
		t.Errorf("SIGTERM did not end the box cleanly: %v", x.process.Err)
	}
	x.start(t)
	relays(2)

	// The power fails.
	x.process.Kill()
	x.start(t)
	relays(2)

	// The power fails while a document comes in, at several moments of it. The
	// store then holds it or the one before, and the box goes on from there.
	b.start(t)
	for _, after := range []time.Duration{0, 3 * time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} {
		l = b.listen(t)
		session = awaitReady(t, l, session+1)
		before := d.version
		d.version++
		b.publish(t, "config/desired", d.json(), true)
		<-time.After(after)
		x.process.Kill()
		x.start(t)
		var r reported
		if err := json.Unmarshal(x.Ctl(t, "get", "reported"), &r); err != nil {
			t.Fatal(err)
		}
		if r.Version != uint64(before) && r.Version != uint64(d.version) {
			t.Fatalf("killed after %v: version %d is in force, neither %d nor %d", after, r.Version, before, d.version)
		}
		harness.Await(t, 60*time.Second, "the retained document is in force", func() bool {
			return x.Report(t).Version == uint64(d.version)
		})
	}
	relays(uint64(d.version))
}

// awaitReady waits until the box says that it is ready, in a session whose
// number is at least the given one, and returns that number.
func awaitReady(t *testing.T, l *listener, session uint64) uint64 {
	t.Helper()
	type status struct {
		State string `json:"state"`
		BdSeq uint64 `json:"bd_seq"`
	}
	var s status
	l.next(t, 0, 60*time.Second, "status", func(m message) bool {
		s = status{}
		m.decode(t, &s)
		return s.State == "ready" && s.BdSeq >= session
	})
	return s.BdSeq
}
