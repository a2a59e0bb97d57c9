package rtmp

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
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

	writing sync.Mutex // held by whoever writes

	mu      sync.Mutex
	answers []byte // to be written by whoever writes next

	heard atomic.Int64 // when a message last came, in nanoseconds since 1970
}

func newConn(l *link) *conn {
	c := &conn{link: l, in: newReader(bufio.NewReaderSize(l, smallRead)), size: defaultChunkSize}
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
	return handshake.HandshakeWithServer(c.in.src, c.link, &handshake.Config{SkipHandshakeVerification: true})
}

// next returns the next message that is not about the connection itself.
func (c *conn) next() (message, error) {
	if len(c.kept) > 0 {
		m := c.kept[0]
		c.kept = c.kept[1:]
		return m, nil
	}
	for {
		m, err := c.in.next()
		if err != nil {
			return m, err
		}
		c.heard.Store(time.Now().UnixNano())
		own, err := c.obey(m)
		if err != nil {
			return m, err
		}
		// Twice in a window: some programs stop sending where one is full.
		if c.window > 0 && c.in.count-c.told >= uint64(c.window)/2 {
			c.told = c.in.count
			if err := c.answer(encodeControl(&rtmpmsg.Ack{SequenceNumber: uint32(c.told)})); err != nil {
				return m, err
			}
		}
		if !own {
			return m, nil
		}
	}
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

// answer sends messages, at once or behind what is being written: it waits for
// nobody who writes already.
func (c *conn) answer(messages ...message) error {
	c.mu.Lock()
	for _, m := range messages {
		c.answers = appendMessage(c.answers, c.size, m)
	}
	tooMany := len(c.answers) > mostAnswer
	c.mu.Unlock()
	if tooMany {
		return errAnswers
	}
	for c.waits() && c.writing.TryLock() {
		err := c.write(nil)
		c.writing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.answers) > 0
}

// send writes whole messages, cut into chunks already. It is for one goroutine.
func (c *conn) send(chunks net.Buffers) error {
	c.writing.Lock()
	err := c.write(chunks)
	c.writing.Unlock()
	if err != nil {
		return err
	}
	return c.answer() // what came to wait meanwhile
}

// write writes what waits, and then the chunks. c.writing is held.
func (c *conn) write(chunks net.Buffers) error {
	c.mu.Lock()
	if len(c.answers) > 0 {
		chunks = append(net.Buffers{c.answers}, chunks...)
		c.answers = nil
	}
	c.mu.Unlock()
	if len(chunks) == 0 {
		return nil
	}
	err := c.link.write(chunks, writeTime)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		return errStuck
	}
	return err
}

// part says goodbye, where a session has ended in order.
func (c *conn) part(cause error, goodbye ...message) {
	if !orderly(cause) {
		return
	}
	_ = c.answer(goodbye...) // the peer may be gone
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
	for range mostAnswers {
		m, err := c.next()
		if err != nil {
			return answer, false, err
		}
		if m.kind != rtmpmsg.TypeIDCommandMessageAMF0 && m.kind != rtmpmsg.TypeIDCommandMessageAMF3 {
			if code == "" {
				continue
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

// A link is a TCP connection, with TLS or without. It counts what it sends.
type link struct {
	tcp   *net.TCPConn
	tls   *tls.Conn // nil: none
	wrote atomic.Uint64
	over  atomic.Bool // nothing is to wait for long any more
}

// newLink takes a connection over, and sets it up.
func newLink(tcp *net.TCPConn) *link {
	l := &link{tcp: tcp}
	l.setUp()
	return l
}

// secure begins TLS, as a server or as a client.
func (l *link) secure(ctx context.Context, cfg *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) error {
	t := side(counted{l.tcp, &l.wrote}, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	l.tls = t
	return nil
}

// counted is a TCP connection below TLS.
type counted struct {
	*net.TCPConn
	n *atomic.Uint64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.n.Add(uint64(n))
	return n, err
}

func (l *link) Read(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Read(b)
	}
	return l.tcp.Read(b)
}

// Write is for the handshake, before anything else.
func (l *link) Write(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Write(b)
	}
	n, err := l.tcp.Write(b)
	l.wrote.Add(uint64(n))
	return n, err
}

// write sends all of it, as long as something of it is taken in the time.
func (l *link) write(chunks net.Buffers, within time.Duration) error {
	if l.over.Load() {
		within = goodbyeTime
	}
	_ = l.tcp.SetWriteDeadline(time.Now().Add(within))
	switch {
	case l.tls == nil && len(chunks) == 1: // writev is dearer than write
		n, err := l.tcp.Write(chunks[0])
		l.wrote.Add(uint64(n))
		return err
	case l.tls == nil:
		n, err := chunks.WriteTo(l.tcp)
		l.wrote.Add(uint64(n))
		return err
	}
	// One record each would cost more than the copy.
	var all []byte
	for _, b := range chunks {
		all = append(all, b...)
	}
	_, err := l.tls.Write(all)
	return err
}

// abort ends reads and writes that wait, and those to come.
func (l *link) abort() {
	l.over.Store(true)
	_ = l.tcp.SetDeadline(time.Unix(1, 0))
}

// hush ends reads, and a write soon.
func (l *link) hush() {
	l.over.Store(true)
	_ = l.tcp.SetReadDeadline(time.Unix(1, 0))
	_ = l.tcp.SetWriteDeadline(time.Now().Add(goodbyeTime))
}

func (l *link) close() { _ = l.tcp.Close() }
