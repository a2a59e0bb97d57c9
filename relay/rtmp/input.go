package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
)

// NewInput returns an input that plays from a server, or that a publisher comes
// to. The latter is an endpoint.Gate: it takes one source at a time.
func NewInput(t *Transport, cfg InputConfig, access endpoint.Access, env endpoint.Env) endpoint.Input {
	if cfg.URL != "" {
		return newPullInput(t, cfg, env)
	}
	return &listenInput{
		transport: t, cfg: cfg, env: env, name: nameOf(join(cfg.App, cfg.StreamKey.Reveal())),
		gate: gate.OfSource[*session](access, env, cfg.Takeover),
	}
}

// A listenInput is what a publisher comes to.
type listenInput struct {
	transport *Transport
	cfg       InputConfig
	env       endpoint.Env
	name      name
	gate      *gate.Gate[*session]
	to        *flow.Flow // of the Run that is on
}

func (in *listenInput) Run(ctx context.Context, to *flow.Flow) error {
	in.to = to
	return in.transport.keep(ctx, in.env.Uplink, in.cfg.Port, in.cfg.TLS, in.gate, func(s *server) (over func()) {
		s.register(in)
		return func() { s.unregister(in) }
	})
}

func (in *listenInput) SetAccess(a endpoint.Access) { in.gate.SetAccess(a) }
func (in *listenInput) Kick(id string) bool         { return in.gate.Kick(id) }

func (in *listenInput) Status() endpoint.InputStatus {
	v := in.gate.View()
	st := endpoint.InputStatus{Phase: v.Phase, Reason: v.Reason}
	for _, s := range v.Sessions {
		f := s.figure(in.env.Ledger)
		st.Sessions = append(st.Sessions, f.Session)
		st.Received, st.Peer, st.RTT = f.received, f.Peer, f.RTT
	}
	return st
}

// receive lets a client publish. It returns why the session ended.
func (in *listenInput) receive(c *conn, s *session) error {
	err := c.answer(
		encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamBegin{StreamID: streamID}}),
		onStatus(streamID, status{"status", "NetStream.Publish.Start", "publishing"}),
	)
	if err == nil {
		c.widen()
		s.begin()
		err = receive(c, s, newIngest(in.to, in.env.Ledger), func(q command) (over bool) {
			switch q.name {
			case "deleteStream", "closeStream", "FCUnpublish":
				s.gone.Store(true)
				return q.name != "FCUnpublish" // what follows it says the same
			}
			return false
		})
	}
	return s.over(err)
}

// receive takes what a source sends until it ends. told is told of commands,
// and says whether they end it.
func receive(c *conn, s *session, to *ingest, told func(command) (over bool)) error {
	// What has arrived together is published together, and before anything else
	// is waited for.
	publish := func() {
		if n := to.flush(); n > 0 {
			s.took(n, time.Now())
		}
	}
	c.in.idle = publish
	defer publish()
	for {
		m, err := c.next()
		if err != nil {
			return broken(err)
		}
		if m.isCommand() {
			q, err := parseCommand(m)
			if err != nil {
				return broken(err)
			}
			if told(q) {
				return errUnpublished
			}
			continue
		}
		to.take(m, time.Now())
		if to.full() {
			publish()
		}
	}
}

// broken says why a connection ended.
func broken(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStuck):
		return errPeerStuck
	case errors.Is(err, errTooLong), errors.Is(err, errHeld), errors.Is(err, errChunkStreams), errors.Is(err, errChunk),
		errors.Is(err, errCommand), errors.Is(err, errAnswers):
		return endpoint.Fail(endpoint.Connecting, err, "peer_broken", "the peer does not keep to the protocol")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return endpoint.ErrPeerClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return endpoint.ErrPeerSilent
	}
	return err
}
