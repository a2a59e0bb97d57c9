package srt

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// How a leg of two is called again: the nth failure in a row is followed by a
// pause between nothing and retryFirst x 2^(n-1), at most retryMost; after a
// refusal by one between retryRefused and twice that.
const (
	retryFirst   = time.Second
	retryMost    = 30 * time.Second
	retryRefused = 10 * time.Second
	healthy      = time.Minute // connected for so long: failures are forgotten
)

// proven is how long the first destination has to be connected before the
// second is let go.
const proven = 2 * time.Second

// both calls both destinations, all the time.
func (c *call) both(ctx context.Context) {
	var legs sync.WaitGroup
	for _, l := range c.legs {
		legs.Go(func() { l.keep(ctx, nil) })
	}
	legs.Wait()
}

// backup calls the first destination all the time, and the second only while
// the first is not connected, once it has failed.
func (c *call) backup(ctx context.Context) {
	first, second := c.legs[0], c.legs[1]
	second.rest(endpoint.Because("standby", "it is called while %s fails", first.address()))
	var legs sync.WaitGroup
	changed := make(chan bool, 1) // whether the first is connected; the newest counts
	legs.Go(func() {
		first.keep(ctx, func(connected bool) {
			select {
			case <-changed:
			default:
			}
			changed <- connected
		})
	})
	var stop context.CancelCauseFunc // ends the second; nil while it rests
	var spare sync.WaitGroup
	var settled <-chan time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case connected := <-changed:
			settled = nil
			switch {
			case connected && stop != nil:
				settled = time.After(proven)
			case !connected && stop == nil:
				var on context.Context
				on, stop = context.WithCancelCause(ctx)
				second.rest(nil)
				spare.Go(func() { second.keep(on, nil) })
				c.env.Log.Warn("the second destination takes over", "destination", second.address())
			}
		case <-settled:
			stop(nil)
			spare.Wait()
			stop, settled = nil, nil
			second.rest(endpoint.Because("standby", "it is called while %s fails", first.address()))
			c.env.Log.Info("the first destination is back", "destination", first.address())
		}
	}
	if stop != nil {
		stop(context.Cause(ctx))
	}
	spare.Wait()
	legs.Wait()
}

// rest says why a leg is not called; nil: it is.
func (l *leg) rest(why *endpoint.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resting, l.failure = why, nil
}

// keep calls a leg, again and again, until ctx is done. told hears whether it
// is connected.
func (l *leg) keep(ctx context.Context, told func(connected bool)) {
	up := l.call.env.Uplink
	for failures := 0; ctx.Err() == nil; {
		var connected time.Time
		l.opened = func() {
			connected = time.Now()
			if told != nil {
				told(true)
			}
		}
		err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if told != nil {
			told(false)
		}
		if !connected.IsZero() && time.Since(connected) >= healthy {
			failures = 0
		}
		failures++
		pause := l.pause(failures, err)
		l.call.env.Log.Warn("destination failed", "destination", l.address(), "error", err, "retry_in", pause.Round(time.Millisecond))
		if endpoint.Rest(ctx, up, pause) {
			failures = 0
		}
	}
}

func (l *leg) pause(failures int, err error) time.Duration {
	var fault *endpoint.Error
	if errors.As(err, &fault) && fault.Phase != endpoint.Connecting {
		return retryRefused + rand.N(retryRefused)
	}
	return rand.N(min(retryFirst<<min(failures-1, 10), retryMost))
}
