package srt

import (
	"context"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

// NewOutput returns an output that calls its peer, or listens for players. The
// latter is an endpoint.Gate.
func NewOutput(cfg Config, access endpoint.Access, env endpoint.Env) endpoint.Output {
	if cfg.Mode == ModeCaller {
		return &callOutput{call: call{cfg: cfg, env: env}, stuck: stuckAfter}
	}
	return &listenOutput{gate: newGate(cfg, access, env, verdict{refuseOverload, "the number of viewers is reached"}), stuck: stuckAfter}
}

// cursorOn returns a cursor on what an SRT output can carry.
func cursorOn(from flow.Source) (*flow.Cursor, error) {
	c, err := from.Open(media.TS)
	if err != nil {
		return nil, endpoint.Fail(endpoint.Unworkable, err, "wrong_format", "the stream cannot be carried by SRT")
	}
	return c, nil
}

type listenOutput struct {
	gate
	stuck time.Duration
}

// Run gives each viewer its own cursor: a slow one hurts itself alone.
func (o *listenOutput) Run(ctx context.Context, from flow.Source) error {
	return o.serve(ctx, func(ctx context.Context, s *session) error {
		cursor, err := cursorOn(from)
		if err != nil {
			s.conn.close()
			return err
		}
		defer cursor.Close()
		return send(ctx, s, cursor, o.env.Ledger, o.stuck)
	})
}

func (o *listenOutput) Status() endpoint.OutputStatus {
	v := o.view(true)
	st := endpoint.OutputStatus{
		Phase: v.phase, Reason: v.reason, Acknowledges: true,
		Playback: []endpoint.Playback{{Scheme: "srt", Port: v.port}},
	}
	for i, f := range v.sessions {
		st.Sessions = append(st.Sessions, f.Session)
		if i == 0 || f.acked.After(st.Acked) {
			st.Acked, st.RTT, st.Latency = f.acked, f.RTT, f.Latency
		}
		if f.sent.After(st.Sent) {
			st.Sent = f.sent
		}
	}
	return st
}

type callOutput struct {
	call
	stuck time.Duration
}

func (o *callOutput) Run(ctx context.Context, from flow.Source) error {
	return o.run(ctx, func(ctx context.Context, s *session) error {
		cursor, err := cursorOn(from)
		if err != nil {
			s.conn.close()
			return err
		}
		defer cursor.Close()
		return send(ctx, s, cursor, o.env.Ledger, o.stuck)
	})
}

func (o *callOutput) Status() endpoint.OutputStatus {
	phase, reason, f := o.view(true)
	return endpoint.OutputStatus{
		Phase: phase, Reason: reason, Acknowledges: true, Acked: f.acked, Sent: f.sent,
		RTT: f.RTT, Latency: f.Latency, Destinations: o.destinations(phase, reason),
	}
}
