package srt

import (
	"context"
	"fmt"
	"net"
	"sync"

	"sluice/relay/endpoint"
)

// A call is the calling side of an endpoint: one peer, called once in a Run.
// The supervisor calls again.
type call struct {
	cfg Config
	env endpoint.Env

	mu      sync.Mutex
	session *session // nil while there is none
	failure *endpoint.Error
}

// run calls the peer and talks with it until ctx is done or the connection
// ends.
func (c *call) run(ctx context.Context, talk func(context.Context, *session) error) error {
	err := c.once(ctx, talk)
	if ctx.Err() != nil {
		return nil
	}
	phase, reason := endpoint.Explain(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = &endpoint.Error{Phase: phase, Reason: *reason}
	return c.failure
}

func (c *call) once(ctx context.Context, talk func(context.Context, *session) error) error {
	cn, err := dial(ctx, c.env.Uplink, c.cfg.Destinations[0], c.cfg.settings(c.env.DSCP))
	if err != nil {
		return err
	}
	s, ctx := newSession(ctx, cn)
	c.put(s)
	defer c.put(nil)
	c.env.Ledger.Connections.Add(1)
	c.env.Log.Info("connected", "peer", cn.peer, "session", s.id)
	cause := talk(ctx, s)
	s.end(cause)
	c.env.Log.Info("disconnected", "peer", cn.peer, "session", s.id, "reason", cause)
	if why := ending(cn.peer, cause); why != nil {
		return endpoint.Fail(endpoint.Connecting, nil, why.Code, "%s", why.Message)
	}
	return cause
}

func (c *call) put(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
}

// view returns the state of the call, and the session while there is one.
func (c *call) view(acknowledged bool) (phase endpoint.Phase, reason *endpoint.Reason, f figure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session != nil:
		return endpoint.Connected, nil, c.session.figure(acknowledged)
	case c.failure != nil:
		return c.failure.Phase, &c.failure.Reason, figure{}
	}
	return endpoint.Connecting, nil, figure{}
}

// destinations shows each destination: a second one is not called.
func (c *call) destinations(phase endpoint.Phase, reason *endpoint.Reason) []endpoint.DestinationStatus {
	var all []endpoint.DestinationStatus
	for i, d := range c.cfg.Destinations {
		s := endpoint.DestinationStatus{Address: net.JoinHostPort(d.Host, fmt.Sprint(d.Port)), Phase: phase, Reason: reason}
		if i > 0 {
			s.Phase = endpoint.Connecting
			s.Reason = endpoint.Because("failover_unavailable", "a second destination is not used by this build")
		}
		all = append(all, s)
	}
	return all
}
