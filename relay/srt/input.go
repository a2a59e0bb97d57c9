package srt

import (
	"context"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
)

// NewInput returns an input that calls its source, or listens for it. The
// latter is an endpoint.Gate: it takes one source at a time.
func NewInput(t *Transport, cfg Config, access endpoint.Access, env endpoint.Env) endpoint.Input {
	if cfg.Mode == ModeCaller {
		return &callInput{newCall(t, cfg, env)}
	}
	return &listenInput{newEntrance(t, cfg, gate.OfSource[*session](access, env, false), env)}
}

type listenInput struct{ *entrance }

func (i *listenInput) Run(ctx context.Context, to *flow.Flow) error {
	return i.serve(ctx, to, func(c *conn, r *request) (half, error) {
		return newReceiver(c, sequence(r.InitialPacketSequenceNumber.Val()), r.time, c.at(r.arrival), to, i.env.Ledger), nil
	})
}

func (i *listenInput) Status() endpoint.InputStatus {
	v, all := i.view(false)
	st := endpoint.InputStatus{Phase: v.Phase, Reason: v.Reason}
	for _, f := range all {
		st.Sessions = append(st.Sessions, f.Session)
		st.Received, st.Peer, st.RTT, st.Latency = f.received, f.Peer, f.RTT, f.Latency
		st.Links = append(st.Links, f.link)
	}
	return st
}

type callInput struct{ *call }

func (i *callInput) Run(ctx context.Context, to *flow.Flow) error {
	return i.run(ctx, to, func(c *conn, first sequence, stamp uint32) (half, error) {
		return newReceiver(c, first, stamp, c.heard, to, i.env.Ledger), nil
	})
}

func (i *callInput) Status() endpoint.InputStatus {
	v, all := i.view(false)
	st := endpoint.InputStatus{Phase: v.Phase, Reason: v.Reason}
	for _, f := range all {
		st.Received, st.Peer, st.RTT, st.Latency = f.received, f.Peer, f.RTT, f.Latency
		st.Links = append(st.Links, f.link)
	}
	return st
}
