package mqtt

import (
	"math/rand/v2"
	"time"
)

// backoff is exponential with full jitter: each pause is drawn from zero to a
// bound that doubles, so that boxes which lost the same broker come back
// spread out.
type backoff struct {
	min, max time.Duration
	failures int
}

func (b *backoff) next() time.Duration {
	bound := b.max
	if b.failures < 30 {
		bound = min(b.max, b.min<<b.failures)
	}
	b.failures++
	return rand.N(bound + 1)
}

func (b *backoff) reset() { b.failures = 0 }
