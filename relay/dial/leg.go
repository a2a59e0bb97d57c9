package dial

import (
	"context"
	"time"

	"sluice/relay/endpoint"
)

// A leg is one destination of a Set. Its state is guarded by the Set's mutex.
type leg[S Session] struct {
	set     *Set[S]
	index   int
	address string
	news    chan bool // whether it is connected: the newest counts; capacity 1, tell alone sends

	connected bool
	session   S                // while connected
	met       bool             // it has been connected
	failure   *endpoint.Error  // how the last attempt ended; nil before
	resting   *endpoint.Reason // why it is not called; nil: it is
}

// once calls the destination and talks with it until ctx is done or the
// connection ends. It tells how long there was one, and why there is none any
// more: nil where that is because ctx is done.
func (l *leg[S]) once(ctx context.Context) (lasted time.Duration, fault *endpoint.Error) {
	var session S
	var since time.Time // zero: never
	err := l.set.call(ctx, l.index, func(s S) {
		session, since = s, time.Now()
		l.open(s)
		l.set.env.Log.Info("connected", "peer", s.Peer(), "session", s.ID())
	})
	if since.IsZero() {
		return 0, l.fail(ctx, err)
	}
	l.set.env.Log.Info("disconnected", "peer", session.Peer(), "session", session.ID(), "reason", err)
	if why := endpoint.Ended(session.Peer(), err); why != nil {
		err = &endpoint.Error{Phase: endpoint.Connecting, Reason: *why}
	}
	return time.Since(since), l.fail(ctx, err)
}

// open notes that there is a connection. The first one with a destination is
// no reconnection while the other is connected.
func (l *leg[S]) open(s S) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.met || !l.set.connected() {
		l.set.env.Ledger.Connections.Add(1)
	}
	l.session, l.connected, l.met = s, true, true
	l.tell(true)
}

// fail notes why there is no connection, unless that is because ctx is done.
func (l *leg[S]) fail(ctx context.Context, err error) *endpoint.Error {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	l.connected = false
	l.tell(false)
	if ctx.Err() != nil {
		return nil
	}
	phase, reason := endpoint.Explain(err)
	l.failure = &endpoint.Error{Phase: phase, Reason: *reason}
	return l.failure
}

// tell replaces the news.
func (l *leg[S]) tell(connected bool) {
	select {
	case <-l.news:
	default:
	}
	l.news <- connected
}

// unreadyLook is how often an uplink is looked at that is not ready.
const unreadyLook = 200 * time.Millisecond

// keep calls the destination, again and again, until ctx is done.
func (l *leg[S]) keep(ctx context.Context) {
	env, retry := l.set.env, l.set.Retry
	var complaints endpoint.Repeated
	for failures := 0; ctx.Err() == nil; {
		if why := env.Uplink.Ready(); why != nil {
			l.fail(ctx, &endpoint.Error{Phase: endpoint.Connecting, Reason: *why})
			endpoint.Rest(ctx, env.Uplink, unreadyLook)
			continue
		}
		lasted, fault := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if lasted >= retry.Healthy {
			failures = 0
		}
		failures++
		pause := retry.pause(failures, fault.Phase)
		if n, yes := complaints.Worth(fault.Reason.Message); yes {
			env.Log.Warn("destination failed", "destination", l.address, "error", fault.Reason.Message, "retry_in", pause.Round(time.Millisecond), "repeated", n)
		}
		if endpoint.Rest(ctx, env.Uplink, pause) {
			failures = 0
		}
	}
}

// hurry gives an orderly end that is on another cause, which may leave no time
// for it.
func (l *leg[S]) hurry(cause error) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.connected {
		l.session.End(cause)
	}
}

// rest says why the leg is not called; nil: it is.
func (l *leg[S]) rest(why *endpoint.Reason) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	l.resting, l.failure = why, nil
}

// status is the leg at one moment. The Set is locked.
func (l *leg[S]) status() endpoint.DestinationStatus {
	s := endpoint.DestinationStatus{Address: l.address, Phase: endpoint.Connecting, Reason: l.resting}
	switch {
	case l.connected:
		s.Phase, s.Reason = endpoint.Connected, nil
	case l.failure != nil:
		s.Phase, s.Reason = l.failure.Phase, &l.failure.Reason
	}
	return s
}
