package srt

import (
	"context"

	"sluice/relay/endpoint"
	"sluice/relay/gate"
)

// An entrance is where a listening endpoint lets peers in: one listener, and
// the gate behind it.
type entrance struct {
	*gate.Gate[*session]
	transport *Transport
	cfg       Config
	env       endpoint.Env

	make func(*conn, *request) (half, error) // what a session is for; of the Run that is on
}

// A verdict refuses a caller.
type verdict struct {
	code refusal
	why  gate.Verdict
}

var accepted verdict

// codes are those of what the gate decides.
var codes = map[gate.Verdict]refusal{
	gate.Closed: refuseClosing, gate.NotAllowed: refuseForbidden, gate.Occupied: refuseConflict, gate.Crowded: refuseOverload,
}

func newEntrance(t *Transport, cfg Config, g *gate.Gate[*session], env endpoint.Env) *entrance {
	return &entrance{Gate: g, transport: t, cfg: cfg, env: env}
}

// serve listens until ctx is done. What belongs to one key shares a loop.
// newHalf makes what a session is for.
func (e *entrance) serve(ctx context.Context, key any, newHalf func(*conn, *request) (half, error)) error {
	e.make = newHalf
	ln, err := e.transport.listen(ctx, key, e.env, e.cfg.Port, e.cfg.settings(e.env.DSCP), e)
	if err != nil {
		return err
	}
	defer ln.close()
	e.Open(ln.port)
	select {
	case <-ctx.Done():
		e.Close(context.Cause(ctx))
		return nil
	case err = <-ln.failure:
		e.Close(endpoint.ErrPeerSilent)
		return endpoint.Fail(endpoint.Connecting, err, "listen_failed", "UDP port %d no longer receives", ln.port)
	}
}

// judge tells whether a caller is let in.
func (e *entrance) judge(r *request) verdict {
	v := e.Judge(r.peer, r.arrival)
	switch {
	case v == gate.Closed, v == gate.NotAllowed:
	case e.cfg.StreamID != "" && r.StreamId != e.cfg.StreamID:
		return verdict{refuseNotFound, "wrong stream id"} // whether there is a place or not
	}
	return verdict{codes[v], v}
}

// admit lets a caller in.
func (e *entrance) admit(l *loop, c *conn, r *request) (half, verdict) {
	h, err := e.make(c, r)
	if err != nil {
		_, why := endpoint.Explain(err)
		return nil, verdict{refuseUnacceptable, gate.Verdict(why.Message)}
	}
	s := newSession(c, l)
	if v := e.Enter(s, r.arrival); v != gate.Welcome { // since this moment
		h.close(0)
		return nil, verdict{codes[v], v}
	}
	c.ended = func(cause error) { e.Leave(s, cause) }
	return h, accepted
}

// refused books a caller that was turned away.
func (e *entrance) refused(r *request, v verdict) { e.Refused(r.peer, v.why) }

// view shows the entrance at one moment, with the figures of its sessions.
func (e *entrance) view(acknowledged bool) (gate.View[*session], []figure) {
	v := e.View()
	if v.Port == 0 {
		v.Port = e.cfg.Port
	}
	all := figuresOf(v.Sessions, acknowledged)
	for i := range all {
		all[i].link.Session = all[i].ID
	}
	return v, all
}
