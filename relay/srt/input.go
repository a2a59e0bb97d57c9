package srt

import (
	"context"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// NewInput returns an input that calls its source, or listens for it. The
// latter is an endpoint.Gate: it takes one source at a time.
func NewInput(t *Transport, cfg Config, access endpoint.Access, env endpoint.Env) endpoint.Input {
	if cfg.Mode == ModeCaller {
		return &callInput{newCall(t, cfg, env)}
	}
	access.Max = 1
	return &listenInput{newGate(t, cfg, access, env, verdict{refuseConflict, "another source is connected"})}
}

type listenInput struct{ gate }

func (i *listenInput) Run(ctx context.Context, to *flow.Flow) error {
	return i.serve(ctx, to, func(c *conn, r *request) (half, error) {
		return newReceiver(c, sequence(r.InitialPacketSequenceNumber.Val()), r.time, c.at(r.arrival), to, i.env.Ledger), nil
	})
}

// SetAccess changes who may publish; there is never more than one.
func (i *listenInput) SetAccess(a endpoint.Access) {
	a.Max = 1
	i.gate.SetAccess(a)
}

func (i *listenInput) Status() endpoint.InputStatus {
	v := i.view(false)
	st := endpoint.InputStatus{Phase: v.phase, Reason: v.reason}
	for _, f := range v.sessions {
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
	v := i.view(false)
	st := endpoint.InputStatus{Phase: v.phase, Reason: v.reason}
	for _, f := range v.figures {
		st.Received, st.Peer, st.RTT, st.Latency = f.received, f.Peer, f.RTT, f.Latency
		st.Links = append(st.Links, f.link)
	}
	return st
}
