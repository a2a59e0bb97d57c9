package endpoint

import (
	"context"
	"time"
)

// lookEvery is how often an uplink is looked at while something rests.
const lookEvery = 200 * time.Millisecond

// Rest waits for the pause, but no longer than until the uplink becomes ready,
// or another one: then it reports true.
func Rest(ctx context.Context, up Uplink, pause time.Duration) (renewed bool) {
	born, ready := up.Generation(), up.Ready() == nil
	end := time.NewTimer(pause)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-end.C:
			return false
		case <-look.C:
		}
		was := ready
		ready = up.Ready() == nil
		if ready && (!was || up.Generation() != born) {
			return true
		}
	}
}
