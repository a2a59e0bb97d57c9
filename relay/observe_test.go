package relay

import (
	"errors"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// Connections and destinations are told while there are any, and not once their
// endpoint has ended.
func TestConnectionsEndWithTheirEndpoint(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("a", 1)))
		links := []endpoint.Link{{Peer: "192.0.2.9:4000", MsRTT: 1}}
		b.in(t, "in").SetStatus(endpoint.InputStatus{Phase: endpoint.Connected, Links: links})
		b.out(t, "a").SetStatus(func(s *endpoint.OutputStatus) { s.Links, s.Destinations = links, make([]endpoint.DestinationStatus, 1) })
		told := func(want int) {
			t.Helper()
			b.observe(time.Now())
			f := b.Report().Flows[0]
			in, out, to := len(f.Inputs[0].Status.Links), len(f.Outputs[0].Status.Links), len(f.Outputs[0].Destinations)
			if in != want || out != want || to != want {
				t.Errorf("%d connections of the input, %d and %d destinations of the output are told, want %d", in, out, to, want)
			}
		}
		told(1)
		b.in(t, "in").Fail(errors.New("gone"))
		b.out(t, "a").Fail(errors.New("gone"))
		b.in(t, "in") // both have ended now, and pause
		told(0)
	})
}
