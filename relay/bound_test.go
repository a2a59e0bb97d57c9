package relay

import (
	"errors"
	"testing"
	"testing/synctest"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// The Engine is bound once everything that listens does, or has said why not.
// Who calls others is not waited for.
func TestBound(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		want := func(bound bool, when string) {
			t.Helper()
			synctest.Wait()
			if got := b.Bound(); got != bound {
				t.Errorf("%s: bound is %v", when, got)
			}
		}
		phase := func(p endpoint.Phase) func(*endpoint.OutputStatus) {
			return func(s *endpoint.OutputStatus) { s.Phase = p }
		}
		want(true, "nothing is configured")

		b.preparing(func(_ Output, o *relaytest.Output) { o.SetStatus(phase(endpoint.Connecting)) })
		c := one(listener("wall", 9100), caller("far", "198.51.100.7"))
		disabled := listener("off", 9101)
		disabled.Enabled = false
		c.Flows[0].Outputs = append(c.Flows[0].Outputs, disabled)
		b.Apply(c)
		b.in(t, "in").SetStatus(endpoint.InputStatus{Phase: endpoint.Listening})
		want(false, "a listener has no socket yet")
		b.out(t, "wall").SetStatus(phase(endpoint.Listening))
		want(true, "it has one, and the caller has no peer")
		b.in(t, "in").SetStatus(endpoint.InputStatus{Phase: endpoint.Connecting})
		want(false, "an input has none")
		b.in(t, "in").SetStatus(endpoint.InputStatus{Phase: endpoint.Connected})
		want(true, "it has a source")

		b.out(t, "wall").Fail(errors.New("the port is taken"))
		want(true, "a listener failed")

		b.lan.Down()
		b.Apply(Config{})
		b.Apply(c)
		want(true, "there is no NIC to listen on")
	})
}
