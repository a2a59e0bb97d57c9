package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// Retry is how endpoints that failed are run again.
type Retry struct {
	// First and Max bound the back-off: the nth failure in a row is followed
	// by a pause between nothing and First x 2^(n-1), at most Max.
	First, Max time.Duration
	// SlowMin and SlowMax bound the pause after a peer refused us, or where an
	// item cannot work as asked: whoever has to mend that is not fast.
	SlowMin, SlowMax time.Duration
	// Healthy is how long an endpoint has to work for its failures to be
	// forgotten.
	Healthy time.Duration
	// StartsPerSecond limits the starts of the whole box, after a burst of
	// StartBurst, so that a returning uplink is not met by a storm.
	StartsPerSecond float64
	StartBurst      int
}

// DefaultRetry suits a box in the field.
var DefaultRetry = Retry{
	First: time.Second, Max: 30 * time.Second,
	SlowMin: 10 * time.Second, SlowMax: 30 * time.Second,
	Healthy:         time.Minute,
	StartsPerSecond: 25, StartBurst: 50,
}

// pause returns how long to wait after the nth failure in a row, n from 1.
// random is in [0, 1).
func (r Retry) pause(n int, why endpoint.Phase, random float64) time.Duration {
	if why == endpoint.Refused || why == endpoint.Unworkable {
		return r.SlowMin + time.Duration(random*float64(r.SlowMax-r.SlowMin))
	}
	limit := r.First
	for ; n > 1 && limit < r.Max; n-- {
		limit *= 2
	}
	return time.Duration(random * float64(min(limit, r.Max)))
}

// random is full jitter.
func random() float64 { return rand.Float64() }

// A bucket limits how often something happens (a token bucket). Its waiters
// are served in the order in which they came.
type bucket struct {
	rate  float64 // tokens per second
	burst float64

	mu     sync.Mutex
	tokens float64 // negative while waiters have reserved theirs
	filled time.Time
}

func newBucket(rate float64, burst int) *bucket {
	return &bucket{rate: rate, burst: float64(burst), tokens: float64(burst)}
}

// take reserves a token and returns how long it takes until it is there.
func (b *bucket) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.filled.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	}
	b.filled = now
	b.tokens--
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// wait returns when a token is there, or ctx.Err().
func (b *bucket) wait(ctx context.Context) error {
	timer := time.NewTimer(b.take(time.Now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		b.giveBack()
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// giveBack returns a token that was not used, or else configurations that
// follow each other fast would leave a queue of nobody.
func (b *bucket) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+1)
}
