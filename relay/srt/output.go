package srt

import (
	"context"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
)

// NewOutput returns an output that calls its peers, or listens for players.
// The latter is an endpoint.Gate.
func NewOutput(t *Transport, cfg Config, access endpoint.Access, env endpoint.Env) endpoint.Output {
	d := delivery{ledger: env.Ledger, overhead: cfg.overhead(), stuck: stuckAfter}
	if cfg.Mode == ModeCaller {
		return &callOutput{newCall(t, cfg, env), d}
	}
	return &listenOutput{newEntrance(t, cfg, gate.OfViewers[*session](access, env), env), d}
}

// A delivery is how an output sends to each of its peers.
type delivery struct {
	ledger   *endpoint.Ledger
	overhead int // percent
	stuck    time.Duration
}

// to makes the half of a connection that sends a flow from its live edge. Each
// has its own cursor: a slow one hurts itself alone.
func (d delivery) to(c *conn, from flow.Source) half {
	return newSender(c, from.Open(), d.ledger, d.overhead, d.stuck)
}

type listenOutput struct {
	*entrance
	delivery delivery
}

func (o *listenOutput) Run(ctx context.Context, from flow.Source) error {
	return o.serve(ctx, from, func(c *conn, _ *request) (half, error) { return o.delivery.to(c, from), nil })
}

func (o *listenOutput) Status() endpoint.OutputStatus {
	v, all := o.view(true)
	st := endpoint.OutputStatus{
		Phase: v.Phase, Reason: v.Reason, Acknowledges: true,
		Playback: []endpoint.Playback{{Scheme: "srt", Port: v.Port}},
	}
	for _, f := range all {
		st.Sessions = append(st.Sessions, f.Session)
	}
	best(&st, all)
	return st
}

// best takes the figures of the connection that is best off.
func best(st *endpoint.OutputStatus, all []figure) {
	for i, f := range all {
		if i == 0 || f.acked.After(st.Acked) {
			st.Acked, st.RTT, st.Latency = f.acked, f.RTT, f.Latency
		}
		if f.sent.After(st.Sent) {
			st.Sent = f.sent
		}
		if f.Since.After(st.Joined) {
			st.Joined = f.Since
		}
		st.Links = append(st.Links, f.link)
	}
}

type callOutput struct {
	*call
	delivery delivery
}

func (o *callOutput) Run(ctx context.Context, from flow.Source) error {
	return o.run(ctx, from, func(c *conn, _ sequence, _ uint32) (half, error) { return o.delivery.to(c, from), nil })
}

func (o *callOutput) Status() endpoint.OutputStatus {
	v, all := o.view(true)
	st := endpoint.OutputStatus{Phase: v.Phase, Reason: v.Reason, Acknowledges: true, Destinations: v.Destinations}
	best(&st, all)
	return st
}
