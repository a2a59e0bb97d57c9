package rtmp

import (
	"context"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// A pullInput plays from a server.
type pullInput struct {
	transport *Transport
	cfg       InputConfig
	env       endpoint.Env
	target    target
	set       *dial.Set[*session]
}

func newPullInput(t *Transport, cfg InputConfig, env endpoint.Env) *pullInput {
	to := targetOf(cfg.URL)
	return &pullInput{transport: t, cfg: cfg, env: env, target: to, set: dial.New[*session](env, dial.Backup, []string{to.address})}
}

func (in *pullInput) Run(ctx context.Context, to *flow.Flow) error {
	return in.set.Run(ctx, func(ctx context.Context, _ int, open func(*session)) error {
		return survive(in.env.Log, func() error { return in.play(ctx, to, open) })
	})
}

// play plays from the server until ctx is done or it ends.
func (in *pullInput) play(ctx context.Context, to *flow.Flow, open func(*session)) error {
	c, err := in.transport.call(ctx, in.env, in.target, credentials{}, func(c *client) error {
		c.widen()
		return c.play(in.cfg.StreamKey)
	})
	if err != nil {
		return err
	}
	defer c.link.close()
	s := newSession(c.conn)
	s.begin()
	open(s)
	defer context.AfterFunc(ctx, func() { s.End(context.Cause(ctx)) })()
	var refused error
	err = receive(c.conn, s, newIngest(to, in.env.Ledger), func(q command) (over bool) {
		level, code, description := q.info()
		if q.name == "onStatus" && level == "error" {
			refused = c.refusal(code, description)
		}
		return refused != nil || code == "NetStream.Play.Stop" || code == "NetStream.Play.Complete" || q.name == "close"
	})
	if refused != nil {
		return refused
	}
	err = s.over(err)
	if orderly(err) {
		_ = c.answer(call(0, "deleteStream", 0, nil, c.stream)) // the peer may be gone
	}
	return err
}

func (in *pullInput) Status() endpoint.InputStatus {
	v := in.set.View()
	st := endpoint.InputStatus{Phase: v.Phase, Reason: v.Reason}
	for _, s := range v.Sessions {
		f := s.figure(in.env.Ledger)
		st.Received, st.Peer, st.RTT = f.received, f.Peer, f.RTT
	}
	return st
}
