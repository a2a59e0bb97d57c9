package srt

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// A call is the calling side of an endpoint: one peer, or two.
type call struct {
	transport *Transport
	cfg       Config
	env       endpoint.Env
	retry     retry
	legs      []*leg

	key any     // of what shares a loop; of the Run that is on
	do  purpose // of the Run that is on

	mu sync.Mutex // guards the state of the legs
}

func newCall(t *Transport, cfg Config, env endpoint.Env) *call {
	c := &call{transport: t, cfg: cfg, env: env, retry: defaultRetry}
	for _, d := range cfg.Destinations {
		c.legs = append(c.legs, &leg{call: c, destination: d, news: make(chan bool, 1)})
	}
	return c
}

// run calls the peers and talks with them until ctx is done. One peer is
// called once, and the supervisor calls again; two are called again and again
// here, since one of them goes on while the other fails.
func (c *call) run(ctx context.Context, key any, do purpose) error {
	c.key, c.do = key, do
	switch {
	case len(c.legs) == 1:
		if _, fault := c.legs[0].once(ctx); fault != nil {
			return fault
		}
	case c.cfg.DestinationMode == DestinationsBoth:
		c.both(ctx)
	default:
		c.backup(ctx)
	}
	return nil
}

// A leg is one destination of a call.
type leg struct {
	call        *call
	destination Destination
	news        chan bool // whether it is connected: the newest counts; capacity 1, tell alone sends

	session *session         // nil while there is none
	met     bool             // there has been one
	failure *endpoint.Error  // how the last attempt ended; nil before
	resting *endpoint.Reason // why it is not called; nil: it is
}

func (l *leg) address() string {
	return net.JoinHostPort(l.destination.Host, strconv.Itoa(l.destination.Port))
}

// once calls the peer and talks with it until ctx is done or the connection
// ends. It tells how long there was one, and why there is none any more: nil
// where that is because ctx is done.
func (l *leg) once(ctx context.Context) (lasted time.Duration, fault *endpoint.Error) {
	c := l.call
	over := make(chan error, 1)
	line, err := c.transport.dial(ctx, c.key, c.env, l.destination, c.cfg.settings(c.env.DSCP), c.do, func(cause error) { over <- cause })
	if err != nil {
		return 0, l.fail(ctx, err)
	}
	defer line.hangUp()
	s := newSession(line.conn, line.loop)
	l.open(s)
	c.env.Log.Info("connected", "peer", s.conn.peer, "session", s.id)
	var cause error
	select {
	case cause = <-over:
	case <-ctx.Done():
		s.end(context.Cause(ctx))
		cause = <-over
	}
	c.env.Log.Info("disconnected", "peer", s.conn.peer, "session", s.id, "reason", cause)
	if why := ending(s.conn.peer, cause); why != nil {
		cause = &endpoint.Error{Phase: endpoint.Connecting, Reason: *why}
	}
	return time.Since(s.since), l.fail(ctx, cause)
}

// open notes that there is a connection. The first one with a destination is
// no reconnection while the other is connected.
func (l *leg) open(s *session) {
	c := l.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.met || !c.connected() {
		c.env.Ledger.Connections.Add(1)
	}
	l.session, l.met = s, true
	l.tell(true)
}

// connected tells whether any leg is. c.mu is held.
func (c *call) connected() bool {
	for _, l := range c.legs {
		if l.session != nil {
			return true
		}
	}
	return false
}

// fail notes why there is no connection, unless that is because ctx is done.
func (l *leg) fail(ctx context.Context, err error) *endpoint.Error {
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	l.session = nil
	l.tell(false)
	if ctx.Err() != nil {
		return nil
	}
	phase, reason := endpoint.Explain(err)
	l.failure = &endpoint.Error{Phase: phase, Reason: *reason}
	return l.failure
}

// tell replaces the news.
func (l *leg) tell(connected bool) {
	select {
	case <-l.news:
	default:
	}
	l.news <- connected
}

// hurry gives an orderly end that is on another cause, which may leave no time
// for it.
func (l *leg) hurry(cause error) {
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	if l.session != nil {
		l.session.end(cause)
	}
}

// rest says why the leg is not called; nil: it is.
func (l *leg) rest(why *endpoint.Reason) {
	l.call.mu.Lock()
	defer l.call.mu.Unlock()
	l.resting, l.failure = why, nil
}

// status is the leg at one moment. call.mu is held.
func (l *leg) status() endpoint.DestinationStatus {
	s := endpoint.DestinationStatus{Address: l.address(), Phase: endpoint.Connecting, Reason: l.resting}
	switch {
	case l.session != nil:
		s.Phase, s.Reason = endpoint.Connected, nil
	case l.failure != nil:
		s.Phase, s.Reason = l.failure.Phase, &l.failure.Reason
	}
	return s
}

// callView is a call at one moment.
type callView struct {
	phase        endpoint.Phase
	reason       *endpoint.Reason
	figures      []figure // of the connections
	destinations []endpoint.DestinationStatus
}

// view shows a call: it is connected while one of its legs is, and otherwise
// what is worst. The reason is that of a leg that fails, the other one
// connected or not.
func (c *call) view(acknowledged bool) (v callView) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.legs {
		s := l.status()
		v.destinations = append(v.destinations, s)
		switch {
		case l.session != nil:
			v.figures = append(v.figures, l.session.figure(acknowledged))
		case l.failure != nil && (v.reason == nil || s.Phase > v.phase):
			v.phase, v.reason = s.Phase, s.Reason
		}
	}
	if c.connected() {
		v.phase = endpoint.Connected
	}
	return v
}
