package srt

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// TestBusyLoop: while one loop has much to do, the others' endpoints start and
// stop.
func TestBusyLoop(t *testing.T) {
	e, _ := env(t)
	shared := NewTransport(e.Log)
	busy := shared.acquire("busy")
	held, free := make(chan struct{}), make(chan struct{})
	busy.post(func(time.Time) {
		close(held)
		<-free
	})
	<-held
	to := netip.MustParseAddrPort("127.0.0.1:9")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			s, err := shared.callSocket(t.Context(), busy, e.Uplink, to, 0, e.Log)
			if err != nil {
				t.Error(err)
				return
			}
			shared.leave(s, to)
		}
	}()
	await(t, "a socket is opened, to be closed", func() bool {
		busy.mu.Lock()
		defer busy.mu.Unlock()
		return len(busy.posted) == 2
	})
	others := make(chan struct{})
	go func() {
		defer close(others)
		for i := range 3 {
			shared.acquire(i)
		}
	}()
	select {
	case <-others:
	case <-time.After(patience):
		t.Fatal("the others wait for the busy loop")
	}
	close(free)
	<-done
	for _, key := range []any{"busy", 0, 1, 2} {
		shared.release(key)
	}
	empty(t, shared)
}

// empty fails the test where a Transport that nobody uses any more holds
// something.
func empty(t *testing.T, shared *Transport) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if len(shared.uses)+len(shared.calls) > 0 {
		t.Errorf("left: %v, %v", shared.uses, shared.calls)
	}
}

// TestManyLives starts and stops endpoints of all kinds on one Transport, of a
// few flows, many at a time and at any moment of their lives.
func TestManyLives(t *testing.T) {
	const lives, together, flows = 400, 24, 5
	e, _ := env(t)
	shared := NewTransport(e.Log)
	var all [flows]*flow.Flow
	for i := range all {
		all[i] = flow.New(flow.DefaultLimits)
	}
	listener := NewOutput(shared, listenerConfig(), endpoint.Access{Max: lives}, e)
	stop := background(t, func(ctx context.Context) error { return listener.Run(ctx, all[0]) })
	await(t, "it listens", func() bool { return listener.Status().Phase == endpoint.Listening })
	port := listener.Status().Playback[0].Port
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)

	live := func(i int) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := all[i%flows]
		done := make(chan error, 1)
		connected := func() bool { return true } // at once
		switch i % 4 {
		case 0:
			in := NewInput(shared, callerConfig("127.0.0.1", port), anyone, e)
			go func() { done <- in.Run(ctx, flow.New(flow.DefaultLimits)) }()
			if i%8 == 0 {
				connected = func() bool { return in.Status().Phase == endpoint.Connected }
			}
		case 1:
			out := NewOutput(shared, callerConfig("127.0.0.1", port), anyone, e)
			go func() { done <- out.Run(ctx, f) }()
			connected = func() bool { return out.Status().Phase == endpoint.Connected }
		case 2:
			out := NewOutput(shared, listenerConfig(), anyone, e)
			go func() { done <- out.Run(ctx, f) }()
			if i%8 == 2 {
				connected = func() bool { return out.Status().Phase == endpoint.Listening }
			}
		case 3:
			in := NewInput(shared, keyed(callerConfig("127.0.0.1", port), 128), anyone, e) // it is refused
			err := in.Run(ctx, f)
			if err == nil {
				return fmt.Errorf("it is not refused")
			}
			return nil
		}
		for end := time.Now().Add(patience); !connected(); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				return fmt.Errorf("endpoint %d does not come up", i)
			}
		}
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return fmt.Errorf("endpoint %d does not end", i)
		}
	}
	places := make(chan struct{}, together)
	var running sync.WaitGroup
	for i := range lives {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			if err := live(i); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	await(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors(t) <= descriptors
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	empty(t, shared)
}
