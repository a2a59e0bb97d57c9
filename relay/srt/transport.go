package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gosrt "github.com/datarhei/gosrt"
	"github.com/datarhei/gosrt/packet"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// payloadSize is the largest payload sent: seven transport packets. The
// connection would cut a larger one anywhere.
const payloadSize = 1316

// maxDatagram is more than any SRT payload on a link of 1500 bytes.
const maxDatagram = 1500

// settings are what both sides of a connection are made with.
type settings struct {
	latency    time.Duration
	idle       time.Duration // silence after which the peer is given up
	passphrase endpoint.Secret
	keyLength  int // bytes
	streamID   string
	dscp       int
}

func (c Config) settings(dscp int) settings {
	return settings{
		latency: time.Duration(c.LatencyMS) * time.Millisecond, idle: time.Duration(c.PeerIdleTimeoutMS) * time.Millisecond,
		passphrase: c.Passphrase, keyLength: c.KeyLength, streamID: c.StreamID, dscp: dscp,
	}
}

func (s settings) config(h *hangups) gosrt.Config {
	c := gosrt.DefaultConfig()
	c.Latency = s.latency
	c.PeerIdleTimeout = s.idle
	c.PayloadSize = payloadSize
	c.Logger = h
	return c
}

// A listener accepts connections on one port of an uplink.
type listener struct {
	ln      gosrt.Listener
	hangups *hangups
	port    int
}

// listen binds the port, 0 for any, on the uplink's wildcard address. The port
// is exclusive: one that is taken is an error.
func listen(up endpoint.Uplink, port int, s settings) (*listener, error) {
	h := &hangups{}
	c := s.config(h)
	bind := up.ListenConfig().Control
	c.ListenerControl = func(network, address string, rc syscall.RawConn) error {
		var err error
		if e := rc.Control(func(fd uintptr) {
			// It was set just before; a second socket on the port would
			// silently take the first one's traffic.
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
		}); e != nil {
			return e
		}
		if err != nil {
			return fmt.Errorf("SO_REUSEADDR: %w", err)
		}
		prepare(rc, s.dscp)
		if bind == nil {
			return nil
		}
		return bind(network, address, rc)
	}
	ln, err := gosrt.Listen("srt", fmt.Sprintf(":%d", port), c)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "port_taken", "UDP port %d is in use by another program", port)
	case err != nil:
		return nil, endpoint.Fail(endpoint.Connecting, err, "listen_failed", "UDP port %d cannot be opened", port)
	}
	return &listener{ln: ln, hangups: h, port: ln.Addr().(*net.UDPAddr).Port}, nil
}

// accept returns the next caller. Each must be accepted or refused, without
// delay: while one is decided on, no other is heard. io.EOF says that the
// listener is closed.
func (l *listener) accept() (*request, error) {
	for {
		r, err := l.next()
		switch {
		case r != nil:
			return r, nil
		case errors.Is(err, gosrt.ErrListenerClosed):
			return nil, io.EOF
		case err != nil:
			return nil, err
		}
	}
}

// next returns nil, nil where the caller's handshake could not be read: gosrt
// reads beyond the end of one that is cut short, and anyone can send it.
func (l *listener) next() (r *request, err error) {
	defer func() {
		if recover() != nil {
			r, err = nil, nil
		}
	}()
	req, err := l.ln.Accept2()
	if err != nil {
		return nil, err
	}
	return &request{req: req, hangups: l.hangups, peer: address(req.RemoteAddr())}, nil
}

// close ends the listener and all its connections. The port is free when it
// returns.
func (l *listener) close() { l.ln.Close() }

// A request is a caller that waits for an answer.
type request struct {
	req     gosrt.ConnRequest
	hangups *hangups
	peer    netip.AddrPort
}

func (r *request) streamID() string { return r.req.StreamId() }
func (r *request) encrypted() bool  { return r.req.IsEncrypted() }

// modern tells whether the caller speaks handshake version 5, of SRT 1.3 and
// newer; an older one names no stream id and no key before it is accepted.
func (r *request) modern() bool { return r.req.Version() == 5 }

// keyLength returns the length of the caller's key in bytes, 0 if it cannot be
// told: gosrt has no method for it, so that the key material that it keeps is
// looked at.
func (r *request) keyLength() int {
	v := reflect.Indirect(reflect.ValueOf(r.req))
	for _, name := range []string{"handshake", "SRTKM"} {
		if v.Kind() != reflect.Struct {
			return 0
		}
		v = reflect.Indirect(v.FieldByName(name))
	}
	if v.Kind() != reflect.Struct {
		return 0
	}
	if v = v.FieldByName("KLen"); v.Kind() != reflect.Uint16 {
		return 0
	}
	return int(v.Uint())
}

// unlock tells whether the passphrase opens the caller's key.
func (r *request) unlock(passphrase endpoint.Secret) bool {
	return r.req.SetPassphrase(passphrase.Reveal()) == nil
}

func (r *request) refuse(why refusal) { r.req.Reject(gosrt.RejectionReason(why)) }

func (r *request) accept() (*conn, error) {
	c, err := r.req.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, r.peer, r.hangups), nil
}

// A conn is one connection. One goroutine may read while another writes; stats
// and close are for any.
type conn struct {
	srt     gosrt.Conn
	peer    netip.AddrPort
	hangups *hangups
	pump    *pump // of a connection that we called; nil otherwise

	goodbye atomic.Bool // the peer said that it is closing
	gone    atomic.Bool // read has returned an error
	joined  atomic.Bool // gosrt's socket reader has ended
	closing chan struct{}
	once    sync.Once

	next    uint32 // sequence number expected by read
	started bool
}

func newConn(c gosrt.Conn, peer netip.AddrPort, h *hangups) *conn {
	cn := &conn{srt: c, peer: peer, hangups: h, closing: make(chan struct{})}
	h.add(c.SocketId(), cn)
	return cn
}

// read waits for the next payload, copies it to b and tells how many payloads
// are missing before it. b holds maxDatagram bytes.
func (c *conn) read(b []byte) (n int, missing uint64, err error) {
	p, err := c.srt.ReadPacket()
	if err != nil {
		c.ended(err)
		c.gone.Store(true)
		return 0, 0, io.EOF
	}
	seq := p.Header().PacketSequenceNumber.Val()
	if c.started {
		missing = uint64((seq - c.next) & maxSequence)
	}
	c.started, c.next = true, (seq+1)&maxSequence
	n = copy(b, p.Data())
	p.Decommission()
	return n, missing, nil
}

// maxSequence is the largest packet sequence number (section 3.1).
const maxSequence = 1<<31 - 1

var errQueueFull = errors.New("the send queue is full")

// write queues a payload of at most payloadSize bytes; it never waits. The
// error is errQueueFull, or io.EOF where the connection is gone.
func (c *conn) write(b []byte) error {
	_, err := c.srt.Write(b)
	switch {
	case err == nil:
		return nil
	case c.ended(err), c.gone.Load():
		return io.EOF
	default:
		return errQueueFull
	}
}

// ended notes an error that gosrt's socket reader left behind; it is handed
// out once. io.EOF is not one.
func (c *conn) ended(err error) bool {
	if errors.Is(err, io.EOF) {
		return false
	}
	c.joined.Store(true)
	return true
}

// stats are figures of a connection since it was made. None goes back.
type stats struct {
	acked         uint64 // packets that the peer confirmed
	tooLate       uint64 // packets given up unconfirmed
	retransmitted uint64 // packets sent again, or received again
	rtt           time.Duration
	sendLatency   time.Duration // negotiated, for what we send
	recvLatency   time.Duration // negotiated, for what we receive
}

// initialRTT is what gosrt reports before it has measured
// (draft-sharabayko-srt section 4.10).
const initialRTT = 100 * time.Millisecond

func (c *conn) stats() stats {
	var g gosrt.Statistics
	c.srt.Stats(&g)
	a, i := &g.Accumulated, &g.Instantaneous
	s := stats{
		tooLate: a.PktSendDrop, retransmitted: a.PktRetrans + a.PktRecvRetrans,
		rtt:         time.Duration(i.MsRTT * float64(time.Millisecond)),
		sendLatency: time.Duration(i.MsSendTsbPdDelay) * time.Millisecond,
		recvLatency: time.Duration(i.MsRecvTsbPdDelay) * time.Millisecond,
	}
	// What was sent once, and is neither kept for retransmission nor given up,
	// has been confirmed. Packets not sent yet are kept too, so that this may
	// be too little for some milliseconds, but never too much.
	if held := i.PktSendBuf + a.PktSendDrop; a.PktSentUnique > held {
		s.acked = a.PktSentUnique - held
	}
	if s.rtt == initialRTT {
		s.rtt = 0
	}
	return s
}

// close tells the peer and ends the connection; what is in flight is lost. It
// returns when nothing of the connection is left.
func (c *conn) close() {
	c.once.Do(func() {
		close(c.closing)
		c.hangups.remove(c.srt.SocketId())
		_ = c.srt.Close()
		if c.pump == nil {
			return
		}
		c.pump.stop()
		// A connection that we called leaves a goroutine behind until its last
		// error has been taken from it, which gosrt itself does at times: then
		// there is none to come.
		for end := time.Now().Add(lastError); !c.joined.Load() && time.Now().Before(end); time.Sleep(time.Millisecond) {
			if err := c.srt.WritePacket(nothing()); err != nil {
				c.ended(err)
			}
		}
	})
}

// nothing is a packet that is not sent: writing it only asks for an error.
func nothing() packet.Packet {
	p := packet.NewPacket(nil)
	p.Header().IsControlPacket = true
	return p
}

// lastError is how long gosrt's socket reader may take to notice that its
// socket is closed.
const lastError = 50 * time.Millisecond

func address(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := u.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// dialed runs gosrt's side of a call through the pump. It always succeeds or
// is refused by the pump: see caller.go.
func dialed(p *pump, s settings) (*conn, error) {
	h := &hangups{}
	c := s.config(h)
	c.Passphrase, c.PBKeylen = s.passphrase.Reveal(), s.keyLength
	c.StreamId = s.streamID
	c.ConnectionTimeout = 2 * connectTimeout
	cn, err := gosrt.DialWithContext(context.Background(), "srt", p.inner.LocalAddr().String(), c)
	if err != nil {
		return nil, err
	}
	conn := newConn(cn, address(p.outer.RemoteAddr()), h)
	conn.pump = p
	return conn, nil
}
