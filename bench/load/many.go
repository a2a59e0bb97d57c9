package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Each receiver is looked at every so many milliseconds, and each millisecond
// other ones are: what they acknowledge comes spread out, as it does from
// viewers who know nothing of each other. Arrivals are the kernel's, so that
// the waiting does not show in the latency.
const turns = 4

// sweep looks at n receivers in turn until ctx is done, with mu held.
func sweep(ctx context.Context, mu *sync.Mutex, n int, look func(i int)) {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for turn := 0; ; turn = (turn + 1) % turns {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		mu.Lock()
		for i := turn; i < n; i += turns {
			look(i)
		}
		mu.Unlock()
	}
}

// together connects n receivers, a few at a time: a listener's queue of
// callers is short.
func together(n int, connect func(i int) error) error {
	const few = 5
	var all sync.WaitGroup
	places := make(chan struct{}, few)
	failed := make(chan error, n)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if err := connect(i); err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("%d of %d do not connect: %w", len(failed)+1, n, err)
	default:
		return nil
	}
}
