package rtmp

import (
	"context"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// A pushOutput publishes to one server or two.
type pushOutput struct {
	transport *Transport
	cfg       OutputConfig
	env       endpoint.Env
	set       *dial.Set[*session]
	fan       *fan
}

func newPushOutput(t *Transport, cfg OutputConfig, env endpoint.Env) *pushOutput {
	var addresses []string
	for _, d := range cfg.Destinations {
		addresses = append(addresses, targetOf(d.URL).address)
	}
	return &pushOutput{transport: t, cfg: cfg, env: env, set: dial.New[*session](env, cfg.DestinationMode, addresses), fan: newFan(env.Log)}
}

func (o *pushOutput) Run(ctx context.Context, from flow.Source) error {
	defer o.fan.start(from)()
	return o.set.Run(ctx, func(ctx context.Context, i int, open func(*session)) error {
		return survive(o.env.Log, func() error { return o.publish(ctx, o.cfg.Destinations[i], open) })
	})
}

// publish publishes to one server until ctx is done or it ends.
func (o *pushOutput) publish(ctx context.Context, to Destination, open func(*session)) error {
	cursor := o.fan.from.Open()
	defer cursor.Close()
	who := credentials{to.Username, to.Password}
	c, err := o.transport.call(ctx, o.env, targetOf(to.URL), who, func(c *client) error {
		return c.publish(to.StreamKey, o.cfg.ChunkSize)
	})
	if err != nil {
		return err
	}
	defer c.link.close()
	s := newSession(c.conn)
	s.begin()
	open(s)
	defer context.AfterFunc(ctx, func() { s.End(context.Cause(ctx)) })()
	feed := &feed{cursor: cursor, ledger: o.env.Ledger, stream: c.stream, size: o.cfg.ChunkSize, publishing: true}
	if o.cfg.Enhanced != EnhancedForce {
		feed.takes = c.takes
	}
	var refused error
	err = o.fan.serve(c.conn, s, feed, func(q command) (over bool) {
		level, code, description := q.info()
		if q.name == "onStatus" && level == "error" {
			refused = c.refusal(code, description)
		}
		return refused != nil
	}, call(0, "FCUnpublish", 0, nil, to.StreamKey.Reveal()), call(0, "deleteStream", 0, nil, c.stream))
	if refused != nil {
		return refused
	}
	c.link.seeOff(err)
	return err
}

func (o *pushOutput) Status() endpoint.OutputStatus {
	v := o.set.View()
	st := endpoint.OutputStatus{Phase: v.Phase, Reason: v.Reason, Acknowledges: true, Destinations: v.Destinations}
	for _, s := range v.Sessions {
		best(&st, s.figure(o.env.Ledger))
	}
	return st
}
