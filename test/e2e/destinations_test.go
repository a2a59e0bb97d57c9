package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/test/harness"
)

// srtPair is an SRT caller output with two destinations.
func srtPair(id string, first, second int, more string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "SRT", "srt": {"mode": "caller",
  "destinations": [{"host": "127.0.0.1", "port": %d}, {"host": "127.0.0.1", "port": %d}], "latency_ms": %d%s}}`,
		id, "Name of "+id, first, second, srtLatency, more)
}

// destinations are the states of an output's destinations, as sluicectl shows
// them.
func (x *box) destinations(t *testing.T, output string) (states []string) {
	t.Helper()
	var o struct {
		Figures struct {
			Destinations []struct{ State string }
		}
	}
	if out := x.Ctl(t, "outputs", output, "--json"); json.Unmarshal(out, &o) != nil {
		t.Fatalf("not the document of an output: %s", out)
	}
	for _, d := range o.Figures.Destinations {
		states = append(states, d.State)
	}
	return states
}

// The first destination is killed: the second gets the stream, the output is
// connected again, and the first has it back once it is there.
func TestSecondDestinationServesWhileTheFirstIsGone(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	var info struct {
		Capabilities struct{ Failover []string }
	}
	l.next(t, 0, 10*time.Second, "info", nil).decode(t, &info)
	if got := info.Capabilities.Failover; !slices.Equal(got, []string{"backup", "both"}) {
		t.Errorf("the fleet is told that the box can do %q", got)
	}
	first, second := udpPort(t), udpPort(t)
	d := document{version: 1, input: udpPort(t), outputs: []string{srtPair("hub", first, second, `, "peer_idle_timeout_ms": 2000`)}}
	seed := uint64(11)
	one, two, again := harness.NewViewer("the first", seed), harness.NewViewer("the second", seed), harness.NewViewer("the first again", seed)
	killed := playSRT(t, one, first, "mode=listener")
	playSRT(t, two, second, "mode=listener")
	publish(t, b, l, d)
	feed(t, d.input, seed)
	one.Receives(t, 500, 20*time.Second)
	x.AwaitStates(t, 5*time.Second, map[string]string{"enc": "receiving", "hub": "connected"})
	if why := x.Report(t).Items()["hub"].Reason; why != nil {
		t.Errorf("both destinations are well, and the reason is %v", why)
	}
	harness.Await(t, 10*time.Second, "the second stands by", func() bool {
		return slices.Equal(x.destinations(t, "stage/hub"), []string{"connected", "standby"})
	})
	if n := two.Verifier.Report().Received; n > 0 {
		t.Errorf("the second got %d datagrams while the first was there", n)
	}

	mark := l.mark()
	killed.Kill()
	two.Receives(t, 500, 20*time.Second)
	one.Intact(t)
	x.AwaitStates(t, 5*time.Second, map[string]string{"hub": "connected"})
	if why := x.Report(t).Items()["hub"].Reason; why == nil || why.Code != "no_listener" && why.Code != "peer_silent" {
		t.Errorf("the first is gone, and the reason is %v", why)
	}
	harness.Await(t, 10*time.Second, "the second serves", func() bool {
		return slices.Equal(x.destinations(t, "stage/hub"), []string{"connecting", "connected"})
	})

	playSRT(t, again, first, "mode=listener")
	again.Receives(t, 500, 40*time.Second) // it is called after pauses that grow
	harness.Await(t, 10*time.Second, "the second stands by again", func() bool {
		return slices.Equal(x.destinations(t, "stage/hub"), []string{"connected", "standby"})
	})
	again.Intact(t)
	two.Intact(t)
	if a, b := again.Verifier.Report(), two.Verifier.Report(); a.First > b.Last {
		t.Errorf("a gap: the second has all to %d, the first from %d", b.Last, a.First)
	}
	item := x.Report(t).Items()["hub"]
	if item.State != "connected" || item.Reason != nil {
		t.Errorf("in the end it is %s, %v", item.State, item.Reason)
	}
	for _, m := range l.find(mark, "state", nil) {
		var r harness.Report
		m.decode(t, &r)
		if hub := r.Items()["hub"]; slices.Contains([]string{"stalled", "rejected", "waiting", "uplink_down", "invalid"}, hub.State) {
			t.Errorf("at a change it was %s: %v", hub.State, hub.Reason)
		}
	}
}
