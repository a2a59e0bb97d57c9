package dial

import (
	"context"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// backup calls the first destination all the time, and the second from when
// the first fails until it has held for a while. A first one that comes and
// goes has to hold for longer each time: every change costs the viewers.
func (s *Set[S]) backup(ctx context.Context) {
	first, second := s.legs[0], s.legs[1]
	var kept sync.WaitGroup
	defer kept.Wait()
	kept.Go(func() { first.keep(ctx) })
	standby := endpoint.Because(endpoint.ReasonStandby, "it is called while %s fails", first.address)
	for proof := s.Retry.Proven; ; proof = min(2*proof, s.Retry.Healthy) {
		second.rest(standby)
		began := time.Now()
		if first.await(ctx, false, 0) != nil {
			return
		}
		if time.Since(began) >= s.Retry.Healthy {
			proof = s.Retry.Proven
		}
		second.rest(nil)
		s.env.Log.Warn("the first destination fails: the second is called", "first", first.address, "second", second.address)
		second.standIn(ctx, func() { _ = first.await(ctx, true, proof) })
	}
}

// standIn calls the leg until enough returns. What it has taken is delivered
// then, while ctx leaves the time.
func (l *leg[S]) standIn(ctx context.Context, enough func()) {
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
func (l *leg[S]) await(ctx context.Context, connected bool, long time.Duration) error {
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
