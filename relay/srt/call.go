package srt

import (
	"context"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
)

// A call is the calling side of an endpoint: one peer, or two.
type call struct {
	set       *dial.Set[*session]
	transport *Transport
	cfg       Config
	env       endpoint.Env
}

func newCall(t *Transport, cfg Config, env endpoint.Env) *call {
	var addresses []string
	for _, d := range cfg.Destinations {
		addresses = append(addresses, d.address())
	}
	return &call{set: dial.New[*session](env, cfg.DestinationMode, addresses), transport: t, cfg: cfg, env: env}
}

// run calls the peers and talks with them until ctx is done, or the only one is
// lost. What belongs to one key shares a loop.
func (c *call) run(ctx context.Context, key any, do purpose) error {
	return c.set.Run(ctx, func(ctx context.Context, i int, open func(*session)) error {
		over := make(chan error, 1)
		line, err := c.transport.dial(ctx, key, c.env, c.cfg.Destinations[i], c.cfg.settings(c.env.DSCP), do, func(cause error) { over <- cause })
		if err != nil {
			return err
		}
		defer line.hangUp()
		s := newSession(line.conn, line.loop)
		open(s)
		select {
		case cause := <-over:
			return cause
		case <-ctx.Done():
			s.End(context.Cause(ctx))
			return <-over
		}
	})
}

// view shows the call at one moment, with the figures of its connections.
func (c *call) view(acknowledged bool) (dial.View[*session], []figure) {
	v := c.set.View()
	return v, figuresOf(v.Sessions, acknowledged)
}
