package srt

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// A retry says how destinations are called again, where there are two: the
// supervisor does so where there is one.
type retry struct {
	// first and most bound the back-off: the nth failure in a row is followed
	// by a pause between nothing and first x 2^(n-1), at most most.
	first, most time.Duration
	// refused is the least pause after a refusal; the longest is three times
	// that. Whoever has to mend it is not fast.
	refused time.Duration
	// healthy is how long a destination has to be connected for its failures
	// to be forgotten.
	healthy time.Duration
	// proven is how long the first destination has to be connected before the
	// second is let go.
	proven time.Duration
}

var defaultRetry = retry{
	first: time.Second, most: 30 * time.Second, refused: 10 * time.Second,
	healthy: time.Minute, proven: 2 * time.Second,
}

// pause returns how long to wait after the nth failure in a row, n from 1.
func (r retry) pause(n int, why endpoint.Phase) time.Duration {
	if why != endpoint.Connecting {
		return r.refused + rand.N(2*r.refused)
	}
	return rand.N(min(r.first<<min(n-1, 10), r.most))
}

// both calls both destinations, all the time.
func (c *call) both(ctx context.Context) {
	var legs sync.WaitGroup
	for _, l := range c.legs {
		legs.Go(func() { l.keep(ctx) })
	}
	legs.Wait()
}

// backup calls the first destination all the time, and the second from when
// the first fails until it has held for a while. A first one that comes and
// goes has to hold for longer each time: every change costs the viewers.
func (c *call) backup(ctx context.Context) {
	first, second := c.legs[0], c.legs[1]
	var kept sync.WaitGroup
	defer kept.Wait()
	kept.Go(func() { first.keep(ctx) })
	standby := endpoint.Because(endpoint.ReasonStandby, "it is called while %s fails", first.address())
	for proof := c.retry.proven; ; proof = min(2*proof, c.retry.healthy) {
		second.rest(standby)
		began := time.Now()
		if first.await(ctx, false, 0) != nil {
			return
		}
		if time.Since(began) >= c.retry.healthy {
			proof = c.retry.proven
		}
		second.rest(nil)
		c.env.Log.Warn("the first destination fails: the second is called", "first", first.address(), "second", second.address())
		second.standIn(ctx, func() { _ = first.await(ctx, true, proof) })
	}
}

// standIn calls the leg until enough returns. What it has taken is delivered
// then, while ctx leaves the time.
func (l *leg) standIn(ctx context.Context, enough func()) {
	on, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.keep(on)
	}()
	enough()
	stop()
	select {
	case <-ended:
	case <-ctx.Done():
		l.hurry(context.Cause(ctx))
		<-ended
	}
}

// await returns once the leg has been connected, or has not been, for so long.
// The error is that of ctx.
func (l *leg) await(ctx context.Context, connected bool, long time.Duration) error {
	var held <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-l.news:
			held = nil
			if now == connected {
				held = time.After(long)
			}
		case <-held:
			return ctx.Err()
		}
	}
}

// unreadyLook is how often an uplink is looked at that is not ready.
const unreadyLook = 200 * time.Millisecond

// keep calls a leg, again and again, until ctx is done.
func (l *leg) keep(ctx context.Context) {
	c, up := l.call, l.call.env.Uplink
	var log complaint
	for failures := 0; ctx.Err() == nil; {
		if why := up.Ready(); why != nil {
			l.fail(ctx, &endpoint.Error{Phase: endpoint.Connecting, Reason: *why})
			endpoint.Rest(ctx, up, unreadyLook)
			continue
		}
		lasted, fault := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if lasted >= c.retry.healthy {
			failures = 0
		}
		failures++
		pause := c.retry.pause(failures, fault.Phase)
		log.warn(c.env.Log, l.address(), fault.Reason.Message, pause)
		if endpoint.Rest(ctx, up, pause) {
			failures = 0
		}
	}
}

// A complaint is logged at once where it is new, and one that repeats itself
// no more than once in complainEvery.
type complaint struct {
	last     string
	logged   time.Time
	repeated int // since the last line
}

const complainEvery = time.Minute

func (c *complaint) warn(log *slog.Logger, destination, text string, pause time.Duration) {
	if text == c.last && time.Since(c.logged) < complainEvery {
		c.repeated++
		return
	}
	log.Warn("destination failed", "destination", destination, "error", text, "retry_in", pause.Round(time.Millisecond), "repeated", c.repeated)
	*c = complaint{last: text, logged: time.Now()}
}
