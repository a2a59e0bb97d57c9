package dial

import (
	"math/rand/v2"
	"time"

	"sluice/relay/endpoint"
)

// A Retry says how destinations are called again, where there are two: the
// supervisor does so where there is one.
type Retry struct {
	// First and Most bound the back-off: the nth failure in a row is followed
	// by a pause between nothing and First x 2^(n-1), at most Most.
	First, Most time.Duration
	// Refused is the least pause after a refusal; the longest is three times
	// that. Whoever has to mend it is not fast.
	Refused time.Duration
	// Healthy is how long a destination has to be connected for its failures
	// to be forgotten.
	Healthy time.Duration
	// Proven is how long the first destination has to be connected before the
	// second is let go.
	Proven time.Duration
}

// DefaultRetry suits a box in the field.
var DefaultRetry = Retry{
	First: time.Second, Most: 30 * time.Second, Refused: 10 * time.Second,
	Healthy: time.Minute, Proven: 2 * time.Second,
}

// pause returns how long to wait after the nth failure in a row, n from 1.
func (r Retry) pause(n int, why endpoint.Phase) time.Duration {
	if why != endpoint.Connecting {
		return r.Refused + rand.N(2*r.Refused)
	}
	return rand.N(min(r.First<<min(n-1, 10), r.Most))
}
