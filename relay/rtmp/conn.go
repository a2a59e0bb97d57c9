package rtmp

import (
	"bufio"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yutopp/go-rtmp/handshake"
	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// How long a peer may take.
const (
	handshakeTime = 5 * time.Second  // TLS and RTMP
	writeTime     = 10 * time.Second // in which it takes nothing of what is sent
	goodbyeTime   = 500 * time.Millisecond
)

const (
	ackWindow  = 2500000  // bytes after which we want to hear that they arrived
	mostAnswer = 64 << 10 // bytes of answers that wait for a peer to read them
	smallRead  = 4 << 10
	largeRead  = 64 << 10
)

var (
	errVersion  = errors.New("it does not speak RTMP")
	errAnswers  = errors.New("it asks and does not read the answers")
	errStuck    = errors.New("the peer took nothing of what was sent")
	errNoAnswer = errors.New("it says much, and does not answer")
)

// A conn is a connection, above its TCP and TLS. One goroutine reads; what it
// has to answer goes out between the messages that another one sends.
type conn struct {
	link *link
	peer netip.AddrPort
	in   *reader
	size int // of the chunks that we send

	kept   []message // came before they were asked for
	window uint32    // bytes after which the peer wants to hear that they arrived; 0: it does not
	told   uint64    // how many it has heard of

	mu      sync.Mutex
	answers []byte // to be written
	nudge   func() // tells who writes that there are answers; nil: whoever answers writes

	heard atomic.Int64 // when a message last came, in nanoseconds since 1970
}

func newConn(l *link) *conn {
	c := &conn{link: l, in: newReader(bufio.NewReaderSize(l, smallRead)), size: defaultChunkSize}
	c.in.each = c.received
	c.heard.Store(time.Now().UnixNano())
	if a, ok := l.tcp.RemoteAddr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		c.peer = netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
	}
	return c
}

// widen lets the peer send media.
func (c *conn) widen() {
	c.in.limits = source
	c.in.src = bufio.NewReaderSize(c.in.src, largeRead)
}

// greet shakes hands with a client (section 5.2). What it echoes is not looked
// at: not all of them do so exactly.
func (c *conn) greet() error {
	d, e := handshake.NewDecoder(c.in.src), handshake.NewEncoder(c.link)
	var version handshake.S0C0
	var theirs handshake.S1C1
	if err := d.DecodeS0C0(&version); err != nil {
		return err
	}
	// A client of a later version is answered with ours, by the letter of
	// section 5.2.2; what is not RTMP at all mostly begins with text.
	if version < 3 || version > 31 {
		return errVersion
	}
	if err := d.DecodeS1C1(&theirs); err != nil {
		return err
	}
	ours, err := hello()
	if err != nil {
		return err
	}
	own := handshake.S0C0(handshake.RTMPVersion)
	echo := handshake.S2C2{Time: theirs.Time, Random: theirs.Random}
	if err := errors.Join(e.EncodeS0C0(&own), e.EncodeS1C1(&ours), e.EncodeS2C2(&echo)); err != nil {
		return err
	}
	return d.DecodeS2C2(&echo)
}

// introduce shakes hands with a server.
func (c *conn) introduce() error {
	d, e := handshake.NewDecoder(c.in.src), handshake.NewEncoder(c.link)
	own := handshake.S0C0(handshake.RTMPVersion)
	ours, err := hello()
	if err == nil {
		err = errors.Join(e.EncodeS0C0(&own), e.EncodeS1C1(&ours))
	}
	if err != nil {
		return err
	}
	var version handshake.S0C0
	if err := d.DecodeS0C0(&version); err != nil {
		return err
	}
	if version != own { // most of what is not RTMP answers in text
		return errVersion
	}
	var theirs handshake.S1C1
	var echo handshake.S2C2
	if err := errors.Join(d.DecodeS1C1(&theirs), d.DecodeS2C2(&echo)); err != nil {
		return err
	}
	return e.EncodeS2C2(&handshake.S2C2{Time: theirs.Time, Random: theirs.Random})
}

// next returns the next message that is not about the connection itself.
func (c *conn) next() (message, error) {
	if len(c.kept) > 0 {
		m := c.kept[0]
		c.kept = c.kept[1:]
		return m, nil
	}
	return c.fresh()
}

// command returns the next message if it is a command, and otherwise passes it
// over: ok is false then.
func (c *conn) command() (q command, ok bool, err error) {
	m, err := c.next()
	if err != nil || !m.isCommand() {
		return q, false, err
	}
	q, err = parseCommand(m)
	return q, err == nil, err
}

// fresh does what next does, and leaves those alone that are kept.
func (c *conn) fresh() (message, error) {
	for {
		m, err := c.in.next()
		if err != nil {
			return m, err
		}
		own, err := c.obey(m)
		if err != nil {
			return m, err
		}
		if !own {
			return m, nil
		}
	}
}

// received tells the peer how much has come, twice in a window: some programs
// stop sending where one is full. It is called after each chunk.
func (c *conn) received() error {
	c.heard.Store(time.Now().UnixNano())
	if c.window == 0 || c.in.count-c.told < uint64(c.window)/2 {
		return nil
	}
	c.told = c.in.count
	return c.answer(encodeControl(&rtmpmsg.Ack{SequenceNumber: uint32(c.told)}))
}

// obey does what a message says about the connection.
func (c *conn) obey(m message) (own bool, err error) {
	switch m.kind {
	case rtmpmsg.TypeIDAck:
		return true, nil // TCP tells us earlier
	case rtmpmsg.TypeIDUserCtrl, rtmpmsg.TypeIDWinAckSize, rtmpmsg.TypeIDSetPeerBandwidth:
	default:
		return false, nil
	}
	control, err := decodeControl(m)
	if err != nil {
		return true, nil // events that only Flash knows
	}
	switch control := control.(type) {
	case *rtmpmsg.WinAckSize:
		c.window = uint32(max(control.Size, 0))
	case *rtmpmsg.SetPeerBandwidth:
		return true, c.answer(encodeControl(&rtmpmsg.WinAckSize{Size: control.Size}))
	case *rtmpmsg.UserCtrl:
		if ping, ok := control.Event.(*rtmpmsg.UserCtrlEventPingRequest); ok {
			return true, c.answer(encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingResponse{Timestamp: ping.Timestamp}}))
		}
	}
	return true, nil
}

// answer sends messages, or has them sent by whoever sends media.
func (c *conn) answer(messages ...message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		c.answers = appendMessage(c.answers, c.size, m)
	}
	if c.nudge != nil {
		if len(c.answers) > mostAnswer {
			return errAnswers
		}
		c.nudge()
		return nil
	}
	return c.flush()
}

// flush sends what waits. c.mu is held.
func (c *conn) flush() error {
	if len(c.answers) == 0 {
		return nil
	}
	err := c.link.write(c.answers, writeTime)
	c.answers = nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStuck
	}
	return err
}

// hold lets answers wait until they are asked for, which nudge is called for.
func (c *conn) hold(nudge func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudge = nudge
	c.link.below.hold(true)
}

// waiting returns the answers that wait.
func (c *conn) waiting() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.answers
	c.answers = nil
	return b
}

// release ends hold, and returns what TLS has held back.
func (c *conn) release() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudge = nil
	c.link.below.hold(false)
	return c.link.below.take()
}

// part says goodbye, behind what has to be sent as it is.
func (c *conn) part(unsent [][]byte, goodbye ...message) {
	for _, b := range unsent {
		_ = c.link.tcp.SetWriteDeadline(time.Now().Add(goodbyeTime))
		if _, err := c.link.below.Write(b); err != nil {
			return // the peer may be gone
		}
	}
	_ = c.answer(goodbye...)
}

// setChunkSize lets the chunks that follow have another size.
func (c *conn) setChunkSize(size int) error {
	if err := c.answer(encodeControl(&rtmpmsg.SetChunkSize{ChunkSize: uint32(size)})); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = size
	return nil
}

// mostAnswers is how many messages may come before the one that is waited for.
const mostAnswers = 64

// request sends a command and returns its answer: the one with its transaction
// or, where that is not empty, the onStatus of a code. An error comes as either.
// Media says as much as a status does: then there is no answer, and ok is false.
func (c *conn) request(m message, id float64, code string) (answer command, ok bool, err error) {
	if err := c.answer(m); err != nil {
		return answer, false, err
	}
	held := 0
	for range mostAnswers {
		m, err := c.fresh()
		if err != nil {
			return answer, false, err
		}
		if !m.isCommand() {
			if code == "" {
				continue
			}
			if held += len(m.data); held > c.in.limits.held {
				return answer, false, errHeld
			}
			c.kept = append(c.kept, m)
			if m.kind != rtmpmsg.TypeIDDataMessageAMF0 && m.kind != rtmpmsg.TypeIDDataMessageAMF3 {
				return answer, false, nil
			}
			continue
		}
		if answer, err = parseCommand(m); err != nil {
			return answer, false, err
		}
		level, said, _ := answer.info()
		switch {
		case answer.name == "_error" && answer.id == id, answer.name == "_result" && answer.id == id && code == "":
			return answer, true, nil
		case answer.name == "onStatus" && (level == "error" || code != "" && said == code):
			return answer, true, nil
		}
	}
	return answer, false, errNoAnswer
}

// hello makes the first message of a handshake.
func hello() (h handshake.S1C1, err error) {
	_, err = rand.Read(h.Random[:])
	return h, err
}
