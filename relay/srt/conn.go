package srt

import (
	"bytes"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// The timers of a connection.
const (
	keepAliveAfter = time.Second // of saying nothing (draft section 4.6 of UDT; libsrt: 1 s)
	showEvery      = 100 * time.Millisecond
	lossyFor       = time.Second // after a loss

	initialRTT    = 100 * time.Millisecond // before it is measured (section 4.10)
	initialRTTVar = 50 * time.Millisecond
	leastRTT      = 10 * time.Microsecond // shorter ones are not to be told
)

// An outlet is where a connection's packets go.
type outlet interface {
	// room returns n bytes of memory that is left alone until the packets that
	// were put have been sent.
	room(n int) []byte
	put(udp.Message)
}

// A half is what a connection is for: it sends a flow to its peer, or receives
// one.
type half interface {
	// data takes a data packet, whose payload is valid until it returns.
	data(h header, payload []byte, at time.Duration)
	// control takes a control packet that has to do with data.
	control(h header, body []byte, at time.Duration)
	// tick does what is due.
	tick(at time.Duration)
	// pump sends what there is for now, or only what is sent again, and reports
	// whether there is more.
	pump(at time.Duration, again bool) (more bool)
	// finish has the half come to its end in order, and reports whether it
	// has. gone tells that the peer has said goodbye.
	finish(at time.Duration, gone bool) (done bool)
	// close enters the last in the accounts.
	close(at time.Duration)
	// show adds what the half knows to the figures.
	show(f *figures, at time.Duration)
}

// A conn is one connection. It makes no system call and starts nothing: a loop
// hands it what arrives and the time, and sends what it puts out. All of it is
// for that loop's goroutine, but for shown and what never changes.
//
//	datagram -> take -> half -> outlet
//	time     -> tick -> half -> outlet
//
// Times within a connection are since its start: its own clock, which its
// packets carry.
type conn struct {
	out     outlet
	id      uint32
	peerID  uint32
	peer    netip.AddrPort
	local   netip.Addr // that the peer talks to; not valid: the socket's
	first   sequence   // of what we send
	started time.Time
	idle    time.Duration // silence after which the peer is given up
	terms   agreed
	keys    keys
	half    half
	answer  []byte // to the peer's last handshake packet, should it come again

	now         time.Duration // as the loop has it
	heard, said time.Duration // when the peer was last heard, and we spoke
	lossy       time.Duration // until when the path counts as one that loses packets
	rtt, rttVar time.Duration
	measured    bool
	finishing   bool        // in order
	gone        atomic.Bool // the peer has said goodbye
	goneAt      time.Duration
	over        bool  // nothing is sent or taken any more
	cause       error // of the end
	ended       func(cause error)
	showAt      time.Duration
	shown       atomic.Pointer[figures]
}

// figures are a connection at one moment.
type figures struct {
	link                  endpoint.Link
	bytes                 uint64 // payload delivered, or received
	lost                  uint64 // packets
	sent, acked, received time.Time
	latency               time.Duration // negotiated, of what this half does
}

// A side is what both ends of a connection know of it before it begins.
type side struct {
	id, peerID uint32
	peer       netip.AddrPort
	local      netip.Addr
	first      sequence // of what we send
	idle       time.Duration
	terms      agreed
	keys       *keyring // nil: clear
}

func newConn(s side, started time.Time, out outlet) *conn {
	c := &conn{
		out: out, id: s.id, peerID: s.peerID, peer: s.peer, local: s.local, first: s.first, started: started,
		idle: s.idle, terms: s.terms,
		rtt: initialRTT, rttVar: initialRTTVar,
	}
	if s.keys != nil {
		c.keys = keys{
			receive: s.keys.twin(), send: s.keys, every: refreshEvery, announce: refreshAnnounce,
			parity: s.keys.first(),
		}
	}
	return c
}

// at is the time of the connection's clock.
func (c *conn) at(t time.Time) time.Duration { return t.Sub(c.started) }

// when is the reverse of at.
func (c *conn) when(at time.Duration) time.Time { return c.started.Add(at) }

// take handles a datagram from the peer, which arrived a while before now.
func (c *conn) take(h header, body []byte, arrival, now time.Time) {
	if c.over {
		return
	}
	at := max(0, c.at(arrival)) // the kernel's clock may have been set
	c.now = c.at(now)
	c.heard = max(c.heard, at)
	if !h.control {
		c.half.data(h, body, at)
		return
	}
	switch h.kind {
	case controlShutdown:
		c.goodbye(at)
	case controlUser:
		c.keyMessage(h.subtype, body)
	case controlACK, controlNAK, controlACKACK, controlDropReq:
		c.half.control(h, body, at)
	}
}

// goodbye takes the peer's, once. What it sent before is still played.
func (c *conn) goodbye(at time.Duration) {
	if c.gone.Load() {
		return
	}
	c.gone.Store(true)
	c.goneAt = at
	if c.finishing {
		c.end(c.cause)
		return
	}
	c.finish(endpoint.ErrPeerClosed)
	if c.half.finish(at, true) {
		c.end(endpoint.ErrPeerClosed)
	}
}

// lingers tells whether what a peer sent before its goodbye may still be
// played. It may say that this is to be in a year.
func (c *conn) lingers(at time.Duration) bool {
	return at-c.goneAt <= max(c.terms.receive, c.terms.send)+longestDrain
}

// tick does what is due.
func (c *conn) tick(now time.Time) {
	at := c.at(now)
	c.now = at
	if c.over {
		return
	}
	gone := c.gone.Load()
	if at-c.heard > c.idle && !gone {
		c.end(endpoint.ErrPeerSilent)
		return
	}
	if c.half.tick(at); c.over {
		return
	}
	if c.keys.send != nil {
		c.announceKeys(at)
	}
	if at-c.said >= keepAliveAfter {
		c.control(controlKeepAlive, 0, nil)
	}
	if at >= c.showAt {
		c.showAt = at + showEvery
		c.show(at)
	}
	if c.finishing && (c.half.finish(at, gone) || gone && !c.lingers(at)) {
		c.end(c.cause)
	}
}

// pump sends what there is for now, or only what is sent again, and reports
// whether there is more.
func (c *conn) pump(now time.Time, again bool) (more bool) {
	if c.over {
		return false
	}
	c.now = c.at(now)
	return c.half.pump(c.now, again)
}

// loses tells whether the path has lost packets of late.
func (c *conn) loses() bool { return c.now < c.lossy }

// show publishes figures for other goroutines.
func (c *conn) show(at time.Duration) {
	f := &figures{link: endpoint.Link{Peer: c.peer.String()}}
	f.link.MsRTTVar = milliseconds(c.rttVar)
	if c.measured {
		f.link.MsRTT = milliseconds(c.rtt)
	}
	c.half.show(f, at)
	f.link.Advice = c.advice(f)
	c.shown.Store(f)
}

// finish ends the connection in order: what was taken is delivered first. Once
// both ends leave, nothing is waited for.
func (c *conn) finish(cause error) {
	switch {
	case c.over:
	case !c.finishing:
		c.finishing, c.cause = true, cause
	case c.gone.Load():
		c.end(cause)
	}
}

// end ends the connection at once. The peer is told, unless it told us, or
// nothing reaches it.
func (c *conn) end(cause error) {
	if c.over {
		return
	}
	c.over = true
	if !errors.Is(cause, endpoint.ErrSocketsLost) { // over sockets that reach nobody
		c.control(controlShutdown, 0, nil)
	}
	c.half.close(c.now)
	c.show(c.now)
	c.leave(cause)
}

// abort ends a connection that is not to be relied on any more.
func (c *conn) abort(cause error) {
	c.over = true
	defer c.leave(cause)
	defer func() { _ = recover() }() // that is why it is aborted
	c.control(controlShutdown, 0, nil)
	c.half.close(c.now)
}

// leave tells of the end, once.
func (c *conn) leave(cause error) {
	if tell := c.ended; tell != nil {
		c.ended = nil
		tell(cause)
	}
}

// control sends a control packet. A body of none is padded, as libsrt does.
func (c *conn) control(kind controlType, specific uint32, body []byte) {
	c.user(kind, 0, specific, body)
}

func (c *conn) user(kind controlType, subtype uint16, specific uint32, body []byte) {
	if c.gone.Load() {
		return
	}
	b := c.out.room(headerSize + max(4, len(body)))
	h := header{control: true, kind: kind, subtype: subtype, specific: specific, time: microseconds(c.now), to: c.peerID}
	h.put(b)
	clear(b[headerSize:])
	copy(b[headerSize:], body)
	c.put(b, nil)
}

// put sends a packet.
func (c *conn) put(head, payload []byte) {
	c.said = c.now
	c.out.put(udp.Message{Header: head, Payload: payload, To: c.peer, From: c.local})
}

// roundTrip takes a round trip that was measured (RFC 6298 section 2, with the
// weights of section 4.10 of the draft).
func (c *conn) roundTrip(rtt time.Duration) {
	if !c.measured {
		c.measured, c.rtt, c.rttVar = true, rtt, rtt/2
		return
	}
	c.rttVar = (3*c.rttVar + (c.rtt - rtt).Abs()) / 4
	c.rtt = (7*c.rtt + rtt) / 8
}

// patience is how long an answer takes at most, as a rule.
func (c *conn) patience() time.Duration { return c.rtt + 4*c.rttVar }

// keyMessage takes key material that is exchanged while the stream goes on
// (section 6.1.6).
func (c *conn) keyMessage(subtype uint16, body []byte) {
	switch subtype {
	case extensionKMReq:
		var m packet.CIFKeyMaterialExtension
		if c.keys.receive == nil || len(body) <= 4 || m.Unmarshal(body) != nil || c.keys.receive.accept(&m) != nil {
			return // what comes under a key that we do not have is counted
		}
		c.user(controlUser, extensionKMRsp, 0, body)
	case extensionKMRsp:
		if c.keys.announced && bytes.Equal(body, c.keys.offer) { // not the answer to another one
			c.keys.confirmed = true
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
