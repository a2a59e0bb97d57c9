package srt

import (
	"context"
	"fmt"
	"net"
	"sync"

	"sluice/relay/endpoint"
)

// A call is the calling side of an endpoint: one peer, or two.
type call struct {
	transport *Transport
	cfg       Config
	env       endpoint.Env
	legs      []*leg
}

func newCall(t *Transport, cfg Config, env endpoint.Env) *call {
	c := &call{transport: t, cfg: cfg, env: env}
	for _, d := range cfg.Destinations {
		c.legs = append(c.legs, &leg{call: c, destination: d})
	}
	return c
}

// run calls the peers and talks with them until ctx is done. One peer is
// called once, and the supervisor calls again; two are called again and again
// here, since one of them goes on while the other fails.
func (c *call) run(ctx context.Context, key any, do purpose) error {
	for _, l := range c.legs {
		l.key, l.do = key, do
	}
	switch {
	case len(c.legs) > 1 && c.cfg.DestinationMode == DestinationsBoth:
		c.both(ctx)
		return nil
	case len(c.legs) > 1:
		c.backup(ctx)
		return nil
	}
	err := c.legs[0].once(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// A leg is one destination of a call.
type leg struct {
	call        *call
	destination Destination
	key         any
	do          purpose
	opened      func() // called when it is connected; nil: nobody asks

	mu      sync.Mutex
	session *session // nil while there is none
	failure *endpoint.Error
	resting *endpoint.Reason // why it is not called; nil: it is
}

func (l *leg) address() string {
	return net.JoinHostPort(l.destination.Host, fmt.Sprint(l.destination.Port))
}

// once calls the peer and talks with it until ctx is done or the connection
// ends. The error is an *endpoint.Error.
func (l *leg) once(ctx context.Context) error {
	err := l.talk(ctx)
	phase, reason := endpoint.Explain(err)
	failure := &endpoint.Error{Phase: phase, Reason: *reason}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = failure
	return failure
}

func (l *leg) talk(ctx context.Context) error {
	env := l.call.env
	over := make(chan error, 1)
	line, err := l.call.transport.dial(ctx, l.key, env, l.destination, l.call.cfg.settings(env.DSCP), l.do, func(cause error) { over <- cause })
	if err != nil {
		return err
	}
	defer line.hangUp()
	s := newSession(line.conn, line.loop)
	l.put(s)
	defer l.put(nil)
	env.Ledger.Connections.Add(1)
	env.Log.Info("connected", "peer", s.conn.peer, "session", s.id)
	if l.opened != nil {
		l.opened()
	}
	var cause error
	select {
	case cause = <-over:
	case <-ctx.Done():
		s.end(context.Cause(ctx))
		cause = <-over
	}
	env.Log.Info("disconnected", "peer", s.conn.peer, "session", s.id, "reason", cause)
	if why := ending(s.conn.peer, cause); why != nil {
		return endpoint.Fail(endpoint.Connecting, nil, why.Code, "%s", why.Message)
	}
	return cause
}

func (l *leg) put(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
}

// status is the leg at one moment; f is nil while it is not connected.
func (l *leg) status(acknowledged bool) (s endpoint.DestinationStatus, f *figure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = endpoint.DestinationStatus{Address: l.address(), Phase: endpoint.Connecting}
	switch {
	case l.session != nil:
		now := l.session.figure(acknowledged)
		s.Phase = endpoint.Connected
		return s, &now
	case l.resting != nil:
		s.Reason = l.resting
	case l.failure != nil:
		s.Phase, s.Reason = l.failure.Phase, &l.failure.Reason
	}
	return s, nil
}

// callView is a call at one moment.
type callView struct {
	phase        endpoint.Phase
	reason       *endpoint.Reason
	figures      []figure // of the connections
	destinations []endpoint.DestinationStatus
}

// view shows a call: it is connected while one of its legs is, and otherwise
// what the first one is.
func (c *call) view(acknowledged bool) (v callView) {
	for i, l := range c.legs {
		s, f := l.status(acknowledged)
		v.destinations = append(v.destinations, s)
		if i == 0 {
			v.phase, v.reason = s.Phase, s.Reason
		}
		if f != nil {
			v.phase, v.reason = endpoint.Connected, nil
			v.figures = append(v.figures, *f)
		}
	}
	return v
}
