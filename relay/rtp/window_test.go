package rtp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/flow"
	"sluice/relay/media"
)

// What comes one by one leaves together, no later than a window after it came,
// and in bursts that suit the rate.
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		name           string
		every          time.Duration // between two publications
		each           int           // packets in one
		age            time.Duration // of the oldest of them, when they are published
		average, burst int           // packets in a window; at most
		wait           time.Duration // from arrival, at most
	}{
		{name: "10 Mbit/s", every: time.Second / 950, each: 1, average: 10, burst: 11, wait: longestRest},
		{name: "0.1 Mbit/s", every: 100 * time.Millisecond, each: 1, average: 1, burst: 1, wait: longestRest},
		{name: "100 Mbit/s", every: time.Second / 9500, each: 1, average: burst, burst: 2 * burst, wait: longestRest},
		{name: "together already", every: 10 * time.Millisecond, each: 10, age: 10 * time.Millisecond, average: 10, burst: 10, wait: longestRest},
		{name: "together, and many", every: 10 * time.Millisecond, each: 100, age: 10 * time.Millisecond, average: 50, burst: mostGathered, wait: longestRest},
		{name: "of another clock, behind", every: time.Second / 950, each: 1, age: time.Hour, average: 1, burst: 1, wait: time.Hour},
		{name: "of another clock, ahead", every: time.Second / 950, each: 1, age: -time.Hour, average: 10, burst: 11, wait: longestRest},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const packets = 2000
				f := flow.New(flow.Limits{Retain: time.Minute, MaxBytes: 64 << 20})
				w := newWindow(f.Open())
				defer w.stop()
				go func() {
					format, step := &media.Format{Kind: media.TS}, c.age/time.Duration(c.each)
					for range packets / c.each {
						time.Sleep(c.every)
						var all []media.Packet
						for n := range c.each {
							all = append(all, media.Packet{Format: format, Arrival: time.Now().Add(time.Duration(n)*step - c.age), Data: make([]byte, 188)})
						}
						f.Publish(all)
					}
					f.Close()
				}()
				windows, got := 0, 0
				for {
					all, lost, err := w.next(t.Context())
					if lost > 0 {
						t.Fatalf("%d lost", lost)
					}
					if err != nil {
						break
					}
					windows, got = windows+1, got+len(all)
					if len(all) > c.burst {
						t.Errorf("%d packets in window %d", len(all), windows)
					}
					if waited := time.Since(all[0].Arrival); waited > c.wait {
						t.Errorf("a packet waits for %v", waited)
					}
					w.done()
				}
				if got != packets || got/windows != c.average && got/windows != c.average-1 {
					t.Errorf("%d packets in %d windows", got, windows)
				}
			})
		})
	}
}

// An output that is to end does not wait for the window, and sends what it has.
func TestWindowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flow.New(flow.Limits{Retain: time.Minute, MaxBytes: 64 << 20})
		w := newWindow(f.Open())
		defer w.stop()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		format := &media.Format{Kind: media.TS}
		for i, after := range []time.Duration{shortestRest, longestRest / 2} {
			if i == 1 {
				time.AfterFunc(after, cancel)
			}
			began := time.Now()
			f.Publish([]media.Packet{{Format: format, Arrival: began, Data: make([]byte, 188)}})
			if all, _, err := w.next(ctx); len(all) != 1 || err != nil || time.Since(began) != after {
				t.Errorf("%d packets, %v, after %v", len(all), err, time.Since(began))
			}
			w.done()
		}
		if _, _, err := w.next(ctx); err != context.Canceled {
			t.Error(err)
		}
	})
}
