package rtmp

import (
	"context"
	"sync"
	"sync/atomic"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/media"
)

// NewOutput returns an output that publishes to its servers, or that players
// come to. The latter is an endpoint.Gate.
func NewOutput(t *Transport, cfg OutputConfig, access endpoint.Access, env endpoint.Env) endpoint.Output {
	if len(cfg.Destinations) > 0 {
		return newPushOutput(t, cfg, env)
	}
	return &listenOutput{
		transport: t, cfg: cfg, env: env, name: join(cfg.App, cfg.StreamKey),
		gate: gate.OfViewers[*session](access, env),
	}
}

// A listenOutput is what players come to.
//
//	flow -> cursor of each player -> chunks (cut once, shared) -> its TCP
type listenOutput struct {
	transport *Transport
	cfg       OutputConfig
	env       endpoint.Env
	name      string
	gate      *gate.Gate[*session]
	chunks    shared
	from      flow.Source // of the Run that is on
}

func (o *listenOutput) Run(ctx context.Context, from flow.Source) error {
	o.from = from
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
	if f.sent.After(st.Sent) {
		st.Sent = f.sent
	}
	if f.Since.After(st.Joined) {
		st.Joined = f.Since
	}
}

// send lets a client play. It returns why the session ended.
func (o *listenOutput) send(c *conn, s *session) error {
	cursor, err := o.from.Open(media.FLV)
	if err != nil {
		return endpoint.Fail(endpoint.Unworkable, err, "wrong_format", "the stream cannot be carried by RTMP")
	}
	defer cursor.Close()
	c.link.mark(o.env.DSCP)
	s.begin()
	// What players expect before the stream (section 7.2.2.1).
	if err := c.answer(
		encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamBegin{StreamID: streamID}}),
		onStatus(streamID, status{"status", "NetStream.Play.Reset", "playing and resetting"}),
		onStatus(streamID, status{"status", "NetStream.Play.Start", "playing"}),
		message{kind: rtmpmsg.TypeIDDataMessageAMF0, stream: streamID, data: encodeAMF("|RtmpSampleAccess", true, true)},
	); err != nil {
		return s.over(broken(err))
	}
	to := &sender{conn: c, session: s, cursor: cursor, ledger: o.env.Ledger, stream: streamID, shared: &o.chunks}
	err = exchange(c, s, to, func(q command) (over bool) { return q.name == "deleteStream" || q.name == "closeStream" })
	c.part(err,
		onStatus(streamID, status{"status", "NetStream.Play.UnpublishNotify", "the output was stopped"}),
		encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamEOF{StreamID: streamID}}))
	return err
}

// exchange sends until the session ends, and reads what the peer says
// meanwhile. told is told of commands, and says whether they end it. It returns
// why it ended.
func exchange(c *conn, s *session, to *sender, told func(command) (over bool)) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var why error
	var once sync.Once
	end := func(err error) {
		once.Do(func() { why = err })
		stop()
		c.link.hush()
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		err := listenFor(c, told)
		s.gone.Store(true)
		end(err)
	})
	end(to.run(ctx))
	reading.Wait()
	return s.over(broken(why))
}

// listenFor reads what a peer says that is sent to.
func listenFor(c *conn, told func(command) (over bool)) error {
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		if m.kind != rtmpmsg.TypeIDCommandMessageAMF0 && m.kind != rtmpmsg.TypeIDCommandMessageAMF3 {
			continue
		}
		q, err := parseCommand(m)
		if err != nil {
			return err
		}
		if told(q) {
			return endpoint.ErrPeerClosed
		}
	}
}

// shared keeps messages cut into chunks, so that one is cut once for all
// players. What a slow player asks for later is cut anew.
type shared struct {
	slots [64]atomic.Pointer[cutMessage]
}

// A cutMessage is the message at a position of the flow.
type cutMessage struct {
	position uint64
	chunks   []byte
}

func (c *shared) cut(position uint64, m message) []byte {
	slot := &c.slots[position%uint64(len(c.slots))]
	if cut := slot.Load(); cut != nil && cut.position == position {
		return cut.chunks
	}
	cut := &cutMessage{position, appendMessage(make([]byte, 0, chunked(len(m.data), playChunkSize, m.time)), playChunkSize, m)}
	slot.Store(cut)
	return cut.chunks
}
