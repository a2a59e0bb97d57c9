package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/gate"
)

// mostQuestions is how many messages a stranger may send before it publishes or
// plays: programs send fewer than ten.
const mostQuestions = 64

// streamID is the message stream that we give to clients: one is enough.
const streamID = 1

// playChunkSize is that of what is sent to clients.
const playChunkSize = 4096

var (
	errFault     = errors.New("a fault of this software")
	errQuestions = errors.New("it asks much and neither publishes nor plays")
	errOrder     = errors.New("it does not connect before it asks for more")
	errTLS       = errors.New("it does not speak TLS, or does not trust our certificate")
	errNoStream  = errors.New("it asked for a name that there is not")
)

// complaint says in few words, of which there are few, why a connection came to
// nothing.
func complaint(err error) string {
	for _, known := range []error{
		errTooLong, errHeld, errChunkStreams, errChunk, errAMFLimits, errAMF, errCommand, errVersion, errAnswers,
		errFault, errQuestions, errOrder, errNoStream,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it neither published nor played in time"
	case errors.Is(err, errTLS):
		return errTLS.Error()
	}
	return "it left before it published or played"
}

// A visit is a client, from its first byte to what it came for.
type visit struct {
	*conn
	server *server
	app    string
	opened bool // it has been given a message stream
}

// receive lets a client say what it wants, and does it.
func (s *server) receive(ctx context.Context, c *conn) error {
	begun := time.Now()
	c.link.until(begun.Add(handshakeTime))
	if s.tls != nil {
		if err := c.link.secure(ctx, s.tls, tls.Server); err != nil {
			return fmt.Errorf("%w: %w", errTLS, err) // programs may leave without an alert
		}
	}
	if err := c.greet(); err != nil {
		return err
	}
	c.link.until(begun.Add(strangerTime))
	v := &visit{conn: c, server: s}
	for range mostQuestions {
		q, ok, err := c.command()
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if over, err := v.obey(q); over || err != nil {
			return err
		}
	}
	return errQuestions
}

// until lets reads and writes wait until then, unless they are to end already.
func (l *link) until(then time.Time) {
	_ = l.tcp.SetDeadline(then)
	if l.over.Load() {
		l.abort()
	}
}

// obey does what a command asks for. over tells that the client has had what it
// came for.
func (v *visit) obey(q command) (over bool, err error) {
	if v.app == "" && q.name != "connect" {
		return false, errOrder
	}
	switch q.name {
	case "connect":
		return false, v.connect(q)
	case "createStream":
		v.opened = true
		return false, v.answer(call(0, "_result", q.id, nil, streamID))
	case "releaseStream", "getStreamLength", "_checkbw", "checkBandwidth":
		return false, v.answer(call(0, "_result", q.id, nil, 0))
	case "FCPublish":
		return false, v.answer(call(0, "onFCPublish", 0, nil, status{"status", "NetStream.Publish.Start", "FCPublish"}))
	case "FCSubscribe":
		return false, v.answer(call(0, "onFCSubscribe", 0, nil, status{"status", "NetStream.Play.Start", "FCSubscribe"}))
	case "deleteStream", "closeStream":
		v.opened = false
		return false, nil
	case "publish", "play":
		if !v.opened {
			return false, errOrder
		}
		if q.name == "publish" {
			return true, v.publish(q)
		}
		return true, v.play(q)
	}
	if q.id != 0 && q.name != "_result" && q.name != "_error" {
		return false, v.answer(call(0, "_error", q.id, nil, status{"error", "NetConnection.Call.Failed", "there is no such procedure"}))
	}
	return false, nil
}

// connected is what a client is told of the server (section 7.2.1.1; Enhanced
// RTMP, fourCcList and capsEx).
type connected struct {
	Level          string   `amf0:"level"`
	Code           string   `amf0:"code"`
	Description    string   `amf0:"description"`
	ObjectEncoding int      `amf0:"objectEncoding"`
	FourCCList     []string `amf0:"fourCcList"`
	CapsEx         int      `amf0:"capsEx"`
}

// connect answers a client that says which application it wants.
func (v *visit) connect(q command) error {
	app, _ := q.object(0)["app"].(string)
	app, _, _ = strings.Cut(app, "?")
	if v.app = strings.Trim(app, "/"); v.app == "" {
		v.app = "/" // there is nothing of that name
	}
	err := v.answer(
		encodeControl(&rtmpmsg.WinAckSize{Size: ackWindow}),
		encodeControl(&rtmpmsg.SetPeerBandwidth{Size: ackWindow, Limit: rtmpmsg.LimitTypeDynamic}),
	)
	if err == nil {
		err = v.setChunkSize(playChunkSize)
	}
	if err != nil {
		return err
	}
	type server struct {
		FMSVer       string `amf0:"fmsVer"` // what programs expect to read
		Capabilities int    `amf0:"capabilities"`
	}
	return v.answer(call(0, "_result", q.id, server{"FMS/3,0,1,123", 31}, connected{
		Level: "status", Code: "NetConnection.Connect.Success", Description: "connected",
		FourCCList: fourCCs, CapsEx: capsMultitrack | capsModEx,
	}))
}

// refuse tells a client that it is not let in, and waits for it to leave: what
// it has sent meanwhile would otherwise take the words away from it.
func (v *visit) refuse(code, why string) error {
	if err := v.answer(onStatus(streamID, status{"error", code, why})); err != nil {
		return nil
	}
	v.link.closeWrite()
	_ = v.link.tcp.SetReadDeadline(time.Now().Add(goodbyeTime))
	if v.link.over.Load() { // others need its place
		return nil
	}
	_, _ = io.CopyN(io.Discard, v.link, 1<<20)
	return nil
}

// publish lets a client publish, for as long as it does.
func (v *visit) publish(q command) error {
	in := v.server.input(join(v.app, q.text(1)))
	if in == nil {
		_ = v.refuse("NetStream.Publish.BadName", "there is nothing to publish to by this name")
		return errNoStream
	}
	code := func(why gate.Verdict) string {
		if why == gate.NotAllowed {
			return "NetStream.Publish.Denied"
		}
		return "NetStream.Publish.BadName"
	}
	why := v.attend(in.gate, code, func(s *session) error {
		in.gate.Alone(s) // whoever it replaced publishes nothing any more
		return in.receive(v.conn, s)
	})
	if errors.Is(why, errUnpublished) {
		v.link.drain() // programs take it for a failure if they are hung up on
	}
	return nil
}

// play lets a client play, for as long as it does.
func (v *visit) play(q command) error {
	out := v.server.output(join(v.app, q.text(1)))
	if out == nil {
		_ = v.refuse("NetStream.Play.StreamNotFound", "there is nothing to play by this name")
		return errNoStream
	}
	code := func(gate.Verdict) string { return "NetStream.Play.Failed" }
	v.link.seeOff(v.attend(out.gate, code, func(s *session) error { return out.send(v.conn, s) }))
	return nil
}

// attend has a session with a client that a gate lets in, and otherwise refuses
// it with the code of the verdict. It returns why the session ended.
func (v *visit) attend(g *gate.Gate[*session], code func(gate.Verdict) string, talk func(*session) error) error {
	s := newSession(v.conn)
	if why := g.Enter(s, time.Now()); why != gate.Welcome {
		g.Refused(v.peer, why)
		return v.refuse(code(why), string(why))
	}
	v.server.known(v.conn)
	why := survive(v.server.log, func() error { return talk(s) })
	g.Leave(s, why)
	return why
}
