package srt

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// many is how often a box comes to do in a day what may leave something behind.
const many = 1000

// manyTimes calls f many times, so many at a time, and checks that goroutines
// and descriptors are then what they were before.
func manyTimes(t *testing.T, together int, f func()) {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)
	places := make(chan struct{}, together)
	var all sync.WaitGroup
	for range many {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			f()
		})
	}
	all.Wait()
	await(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors(t) <= descriptors
	})
}

// TestDeadPort calls a port where nobody listens. Of so many calls some are not
// told: hosts say so only so many times in a second.
func TestDeadPort(t *testing.T) {
	relaytest.TakesSeconds(t)
	port := relaytest.FreePort(t)
	e, _ := env(t)
	shared := NewTransport(e.Log)
	manyTimes(t, 500, func() {
		err := NewInput(shared, callerConfig("127.0.0.1", port), anyone, e).Run(t.Context(), flow.New(flow.DefaultLimits))
		var fault *endpoint.Error
		if !errors.As(err, &fault) || fault.Phase != endpoint.Connecting {
			t.Errorf("got %v", err)
		}
	})
}

// TestComeAndGo connects to an output and disconnects.
func TestComeAndGo(t *testing.T) {
	relaytest.TakesSeconds(t)
	const together = 16
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: 200}, live(t))
	port := out.port(t)
	e, _ := env(t)
	shared := NewTransport(e.Log)
	manyTimes(t, together, func() {
		in := NewInput(shared, callerConfig("127.0.0.1", port), anyone, e)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- in.Run(ctx, flow.New(flow.DefaultLimits)) }()
		await(t, "the call comes to something", func() bool {
			s := in.Status()
			return s.Phase == endpoint.Connected || s.Reason != nil
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await(t, "everyone has left", func() bool { return len(viewers(out)) == 0 })
	if n := out.env.Ledger.Connections.Load(); n != many {
		t.Errorf("%d connections", n)
	}
}
