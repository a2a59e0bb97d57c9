package rtp

import (
	"context"
	"time"
)

const (
	// longestRest is how long media waits for more, so that one system call and
	// one wake-up serve several datagrams: they are most of what a relay costs.
	longestRest  = 10 * time.Millisecond
	shortestRest = time.Millisecond
	// burst is how many datagrams a rest is to bring: what is sent back to back
	// has to fit the queues on the way, and what arrives the receive buffer.
	burst = 16
)

// A pace tells how long to rest between two looks at what has come: the
// shorter, the more comes. It is for one goroutine.
type pace struct {
	length time.Duration
	timer  *time.Timer
}

func newPace() *pace { return &pace{length: shortestRest, timer: time.NewTimer(0)} }

// rest returns after the length, or when ctx is done. What came first is of an
// age that counts; where that is half of the length, nothing waits any more.
func (p *pace) rest(ctx context.Context, age time.Duration) {
	age = max(age, 0) // not every clock is this one
	if age > p.length/2 {
		return
	}
	p.timer.Reset(p.length - age)
	select {
	case <-ctx.Done():
	case <-p.timer.C:
	}
}

// got sets the length by how many came in the last one, at least one.
func (p *pace) got(n int) {
	p.length = min(max(p.length*burst/time.Duration(n), shortestRest), longestRest)
}

func (p *pace) stop() { p.timer.Stop() }
