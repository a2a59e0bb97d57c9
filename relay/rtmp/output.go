package rtmp

import (
	"context"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
)

// NewOutput returns an output that publishes to its servers, or that players
// come to. The latter is an endpoint.Gate.
func NewOutput(t *Transport, cfg OutputConfig, access endpoint.Access, env endpoint.Env) endpoint.Output {
	if len(cfg.Destinations) > 0 {
		return newPushOutput(t, cfg, env)
	}
	return &listenOutput{
		transport: t, cfg: cfg, env: env, name: join(cfg.App, cfg.StreamKey),
		gate: gate.OfViewers[*session](access, env), fan: newFan(env.Log),
	}
}

// A listenOutput is what players come to.
type listenOutput struct {
	transport *Transport
	cfg       OutputConfig
	env       endpoint.Env
	name      string
	gate      *gate.Gate[*session]
	chunks    shared
	fan       *fan
}

func (o *listenOutput) Run(ctx context.Context, from flow.Source) error {
	defer o.fan.start(from)()
	return o.transport.keep(ctx, o.env.Uplink, o.cfg.Port, o.cfg.TLS, o.gate, func(s *server) (over func()) {
		s.offer(o)
		return func() { s.withdraw(o) }
	})
}

func (o *listenOutput) SetAccess(a endpoint.Access) { o.gate.SetAccess(a) }
func (o *listenOutput) Kick(id string) bool         { return o.gate.Kick(id) }

func (o *listenOutput) Status() endpoint.OutputStatus {
	v := o.gate.View()
	st := endpoint.OutputStatus{
		Phase: v.Phase, Reason: v.Reason, Acknowledges: true,
		Playback: []endpoint.Playback{o.cfg.Playback()},
	}
	for _, s := range v.Sessions {
		f := s.figure(o.env.Ledger)
		st.Sessions = append(st.Sessions, f.Session)
		best(&st, f)
	}
	return st
}

// Playback is where the output can be played.
func (c OutputConfig) Playback() endpoint.Playback {
	p := endpoint.Playback{Scheme: "rtmp", Port: c.Port, Path: "/" + join(c.App, c.StreamKey)}
	if c.TLS {
		p.Scheme = "rtmps"
	}
	return p
}

// best takes the figures of a session into those of its output, where they are
// better.
func best(st *endpoint.OutputStatus, f figure) {
	if f.acked.After(st.Acked) || st.RTT == 0 {
		st.Acked, st.RTT = f.acked, f.RTT
	}
	if st.Reason == nil {
		st.Reason = f.lack
	}
	if f.sent.After(st.Sent) {
		st.Sent = f.sent
	}
	if f.Since.After(st.Joined) {
		st.Joined = f.Since
	}
}

// send lets a client play. It returns why the session ended.
func (o *listenOutput) send(c *conn, s *session) error {
	cursor := o.fan.from.Open()
	defer cursor.Close()
	c.link.mark(o.env.DSCP)
	// What players expect before the stream (section 7.2.2.1).
	if err := c.answer(
		encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamBegin{StreamID: streamID}}),
		onStatus(streamID, status{"status", "NetStream.Play.Reset", "playing and resetting"}),
		onStatus(streamID, status{"status", "NetStream.Play.Start", "playing"}),
		message{kind: rtmpmsg.TypeIDDataMessageAMF0, stream: streamID, data: encodeAMF("|RtmpSampleAccess", true, true)},
	); err != nil {
		return s.over(broken(err))
	}
	s.begin()
	to := &feed{cursor: cursor, ledger: o.env.Ledger, stream: streamID, size: playChunkSize, shared: &o.chunks}
	return o.fan.serve(c, s, to, func(q command) (over bool) { return q.name == "deleteStream" || q.name == "closeStream" },
		onStatus(streamID, status{"status", "NetStream.Play.UnpublishNotify", "the output was stopped"}),
		encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamEOF{StreamID: streamID}}))
}
