package srt

import (
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// TestCrowd has as many viewers on one output as a configuration can allow.
// The stream is thin: it is the number that counts.
func TestCrowd(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "200 viewers in one process")
	t.Parallel()
	const crowd, each = 200, 50
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: crowd}, generated{every: 40 * time.Millisecond}.live(t))
	port := out.port(t)
	var all []*receivingInput
	for range crowd {
		all = append(all, runInput(t, callerConfig("127.0.0.1", port)))
	}
	await(t, "everyone is connected", func() bool { return len(viewers(out)) == crowd })
	await(t, "everyone gets the stream", func() bool {
		for _, in := range all {
			if in.seen.Report().Received < each {
				return false
			}
		}
		return true
	})
	for _, in := range all {
		intact(t, in.seen)
	}
	if late := runInput(t, callerConfig("127.0.0.1", port)); turnedAway(t, late) != "overload" {
		t.Error("one more is let in")
	}
	if n := out.env.Ledger.Connections.Load(); n != crowd {
		t.Errorf("%d connections", n)
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
	for _, in := range all {
		await(t, "everyone is told goodbye", func() bool { return in.Status().Reason != nil })
	}
}
