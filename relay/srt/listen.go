package srt

import (
	"context"
	"net/netip"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// What a listener keeps of callers that are not connected, at most.
const (
	mostOpening = 8               // callers whose key is tried at a time
	mostRefused = 256             // refusals remembered
	refusedFor  = 3 * time.Second // so that a caller that repeats itself is not judged again
)

// A doorkeeper decides who is let in. Its methods are called by the loop, and
// must not wait.
type doorkeeper interface {
	// judge tells whether a caller is let in, if its passphrase is right.
	judge(*request) verdict
	// refused is told of a caller that was turned away.
	refused(*request, verdict)
	// admit makes a half for a caller that is let in.
	admit(l *loop, c *conn, r *request) (half, verdict)
}

// A request is a caller that waits for an answer.
type request struct {
	*handshake
	peer    netip.AddrPort
	local   netip.Addr
	arrival time.Time
}

func (r *request) caller() caller { return caller{r.peer, r.SRTSocketId} }

// A caller is told apart by its address and its own socket id.
type caller struct {
	from netip.AddrPort
	id   uint32
}

// An answered caller is one that was refused lately.
type answered struct {
	packet []byte
	at     time.Time
}

// A listener answers callers on one port (draft-sharabayko-srt-01 section
// 4.3.1). Until a caller has shown that it receives what is sent to its
// address, by the cookie, nothing is kept of it.
type listener struct {
	s        *socket
	settings settings
	door     doorkeeper
	cookies  *cookies
	failure  chan error // capacity 1
	id       uint32     // while there is no connection
	port     int
	hangUp   func()

	budget  *budget
	opening map[caller]bool
	refused map[caller]answered
	open    map[caller]*conn
}

// listen binds a port of the uplink, 0 for any. The port is exclusive: one that
// is taken is an error. What belongs to one key shares a loop.
func (t *Transport) listen(ctx context.Context, key any, env endpoint.Env, port int, s settings, door doorkeeper) (*listener, error) {
	sock, err := udp.Listen(ctx, env.Uplink, "udp", port, socketOptions(s.dscp, env.Log))
	if err != nil {
		return nil, err
	}
	l := t.acquire(key)
	ln := newListener(newSocket(l, sock), s, door)
	ln.port, ln.hangUp = int(sock.LocalAddr().Port()), func() { t.release(key) }
	l.do(func(time.Time) { ln.s.open() })
	return ln, nil
}

func newListener(on *socket, s settings, door doorkeeper) *listener {
	ln := &listener{
		s: on, settings: s, door: door, cookies: newCookies(), failure: make(chan error, 1), id: on.newID(), budget: newBudget(),
		opening: make(map[caller]bool), refused: make(map[caller]answered), open: make(map[caller]*conn),
	}
	on.listener = ln
	return ln
}

// close frees the port. Its connections are over already.
func (ln *listener) close() {
	ln.s.l.do(func(time.Time) { ln.s.close() })
	ln.hangUp()
}

// fail says that the port no longer receives.
func (ln *listener) fail(err error) {
	select {
	case ln.failure <- err:
	default:
	}
}

func (ln *listener) tick(now time.Time) {
	ln.budget.renew()
	for who, a := range ln.refused {
		if now.Sub(a.at) > refusedFor {
			delete(ln.refused, who)
		}
	}
}

// forget takes a connection off that is over.
func (ln *listener) forget(c *conn) {
	who := caller{c.peer, c.peerID}
	if ln.open[who] == c { // and not the next one
		delete(ln.open, who)
	}
	ln.cookies.left(c.peer, identity{c.peerID, c.first}, c.when(c.now))
}

// take handles a handshake packet.
func (ln *listener) take(d *udp.Datagram, now time.Time) {
	if !ln.wants(d, now) {
		return
	}
	h, err := parseHandshake(d.Data)
	if h == nil {
		return
	}
	r := &request{handshake: h, peer: d.From, local: d.To, arrival: d.Arrival}
	switch h.HandshakeType {
	case packet.HSTYPE_INDUCTION:
		ln.induce(r, now)
	case packet.HSTYPE_CONCLUSION:
		ln.conclude(r, err, now)
	case packet.HSTYPE_WAVEHAND:
		ln.wave(r)
	}
}

// wants tells whether to read a handshake packet at all. Those of a flood are
// most cheaply thrown away unread.
func (ln *listener) wants(d *udp.Datagram, now time.Time) bool {
	h, ok := peekHandshake(d.Data)
	if !ok {
		return false
	}
	switch h.kind {
	case packet.HSTYPE_INDUCTION:
		// An answer to one is no question: two listeners that were made to
		// believe that the other asked would never end.
		return h.extension != magic && ln.budget.induction()
	case packet.HSTYPE_CONCLUSION:
		return ln.cookies.valid(h.cookie, d.From, h.who, now) && ln.budget.conclusion(d.From.Addr())
	case packet.HSTYPE_WAVEHAND:
		return ln.budget.wave()
	}
	return false
}

// induce sends the cookie, and the key length that is wanted.
func (ln *listener) induce(r *request, now time.Time) {
	p := newHandshake(packet.HSTYPE_INDUCTION, ln.id, sequence(r.InitialPacketSequenceNumber.Val()), r.peer.Addr())
	p.ExtensionField, p.SynCookie = magic, ln.cookies.of(r.peer, now)
	if ln.settings.passphrase.IsSet() {
		p.EncryptionField = uint16(ln.settings.keyLength / 8)
	}
	ln.send(r, packetOf(p, r.SRTSocketId, 0))
}

func (ln *listener) send(r *request, b []byte) {
	room := ln.s.room(len(b))
	copy(room, b)
	ln.s.put(udp.Message{Header: room, To: r.peer, From: r.local})
}

// conclude decides on a caller, and answers those again who did not hear it.
func (ln *listener) conclude(r *request, unreadable error, now time.Time) {
	who := r.caller()
	if c := ln.open[who]; c != nil && !c.over {
		ln.send(r, c.answer)
		return
	}
	if a, ok := ln.refused[who]; ok {
		ln.send(r, a.packet)
		return
	}
	if ln.opening[who] {
		return
	}
	v := ln.check(r, unreadable)
	if v == accepted {
		v = ln.door.judge(r)
	}
	switch {
	case v != accepted:
		ln.refuse(r, v, now)
	case r.HasKM:
		ln.try(r)
	default:
		ln.accept(r, nil, now)
	}
}

// check tells whether there can be a connection with a caller at all.
func (ln *listener) check(r *request, unreadable error) verdict {
	encrypt := ln.settings.passphrase.IsSet()
	switch {
	case r.Version != 5 || unreadable == nil && (!r.HasHS || r.SRTHS.SRTVersion < oldestVersion):
		return verdict{refuseVersion, "it speaks a version of SRT older than 1.3"}
	case unreadable != nil:
		return verdict{refuseRogue, "its handshake cannot be read"}
	case r.group:
		return verdict{refuseGroup, "it wants a bonded connection, which is not supported"}
	case r.stream || !r.SRTHS.SRTFlags.TSBPDSND || !r.SRTHS.SRTFlags.TSBPDRCV:
		return verdict{refuseMode, "it is not set up for live streams"}
	case r.filter:
		return verdict{refuseFilter, "it wants a packet filter, which is not supported"}
	case r.MaxTransmissionUnitSize < smallestMTU:
		return verdict{refuseRogue, "its packets are too small for a payload of 1316 bytes"}
	case encrypt && !r.HasKM:
		return verdict{refuseUnsecure, "no passphrase"}
	case !encrypt && r.HasKM:
		return verdict{refuseUnsecure, "it has a passphrase and none is set here"}
	case encrypt && int(r.SRTKM.KLen) != ln.settings.keyLength:
		return verdict{refuseUnacceptable, "wrong key length"}
	case encrypt && r.SRTKM.Cipher != cipherCTR:
		return verdict{refuseCrypto, "it wants another cipher than AES-CTR"}
	}
	return accepted
}

// try opens the caller's key, which takes a millisecond or more, beside the
// loop.
func (ln *listener) try(r *request) {
	l := ln.s.l
	if len(ln.opening) >= mostOpening || !ln.budget.key(r.peer.Addr()) {
		return // it comes again
	}
	ln.opening[r.caller()] = true
	l.work.Go(func() {
		keys, err := openKeyring(r.SRTKM, ln.settings.passphrase, ln.settings.keyLength)
		l.post(func(now time.Time) {
			delete(ln.opening, r.caller())
			v := ln.door.judge(r) // it has been a while
			if v == accepted && err != nil {
				v = verdict{refuseBadSecret, "wrong passphrase"}
			}
			if v != accepted {
				ln.refuse(r, v, now)
				return
			}
			ln.accept(r, keys, now)
		})
	})
}

// accept connects a caller.
func (ln *listener) accept(r *request, keys *keyring, now time.Time) {
	first := sequence(r.InitialPacketSequenceNumber.Val())
	c := newConn(side{
		id: ln.s.newID(), peerID: r.SRTSocketId, peer: r.peer, local: r.local, first: first,
		idle: ln.settings.idle, terms: r.agree(ln.settings.latency), keys: keys,
	}, r.arrival, ln.s)
	c.said = c.at(now)
	half, v := ln.door.admit(ln.s.l, c, r)
	if v != accepted {
		ln.refuse(r, v, now)
		return
	}
	c.half = half
	p := newHandshake(packet.HSTYPE_CONCLUSION, c.id, first, r.peer.Addr())
	p.SynCookie, p.HasHS, p.SRTHS = r.SynCookie, true, terms(c.terms.receive, c.terms.send)
	p.HasKM, p.SRTKM = r.HasKM, r.SRTKM
	c.answer = packetOf(p, r.SRTSocketId, microseconds(c.said))
	ln.open[r.caller()] = c
	ln.s.l.add(c, ln.s)
	ln.send(r, c.answer)
}

// refusal makes the packet that turns a caller away.
func (ln *listener) refusal(r *request, v verdict) []byte {
	p := newHandshake(packet.HandshakeType(v.code), ln.id, sequence(r.InitialPacketSequenceNumber.Val()), r.peer.Addr())
	p.SynCookie = r.SynCookie
	return packetOf(p, r.SRTSocketId, 0)
}

// wave answers who wants a rendezvous. It has shown no cookie, so that nothing
// is kept of it.
func (ln *listener) wave(r *request) {
	v := verdict{refuseRogue, "it wants a rendezvous connection, which is not supported"}
	ln.send(r, ln.refusal(r, v))
	ln.door.refused(r, v)
}

// refuse turns a caller away.
func (ln *listener) refuse(r *request, v verdict, now time.Time) {
	b := ln.refusal(r, v)
	if len(ln.refused) < mostRefused {
		ln.refused[r.caller()] = answered{b, now}
	}
	ln.send(r, b)
	ln.door.refused(r, v)
}
