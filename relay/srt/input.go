package srt

import (
	"context"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// NewInput returns an input that calls its source, or listens for it. The
// latter is an endpoint.Gate: it takes one source at a time.
func NewInput(cfg Config, access endpoint.Access, env endpoint.Env) endpoint.Input {
	if cfg.Mode == ModeCaller {
		return &callInput{call{cfg: cfg, env: env}}
	}
	access.Max = 1
	return &listenInput{newGate(cfg, access, env, verdict{refuseConflict, "another source is connected"})}
}

type listenInput struct{ gate }

func (i *listenInput) Run(ctx context.Context, to *flow.Flow) error {
	return i.serve(ctx, func(ctx context.Context, s *session) error {
		return receive(ctx, s, to, i.env.Ledger)
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
	}
	return st
}

type callInput struct{ call }

func (i *callInput) Run(ctx context.Context, to *flow.Flow) error {
	return i.run(ctx, func(ctx context.Context, s *session) error {
		return receive(ctx, s, to, i.env.Ledger)
	})
}

func (i *callInput) Status() endpoint.InputStatus {
	phase, reason, f := i.view(false)
	return endpoint.InputStatus{Phase: phase, Reason: reason, Received: f.received, Peer: f.Peer, RTT: f.RTT, Latency: f.Latency}
}
