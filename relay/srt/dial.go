package srt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// How a peer is called.
const (
	resendInterval = 250 * time.Millisecond // a handshake without answer is repeated
	renewInterval  = 4 * resendInterval     // and begun anew, lest the cookie is of no use any more

	// closedBelieved is how many times in a row the peer's host has to say that
	// its port is closed: the peer may be starting at this moment.
	closedBelieved = 4
)

// A purpose makes the half of a connection that has just been agreed on. first
// is the peer's first sequence number, and stamp the time of its handshake
// packet.
type purpose func(c *conn, first sequence, stamp uint32) (half, error)

// A line is a connection that was called: it holds its socket and loop until
// it is hung up.
type line struct {
	*conn
	loop   *loop
	hangUp func()
}

// dial calls a peer through an uplink. What belongs to one key shares a loop.
// The error is an *endpoint.Error, or that of ctx.
func (t *Transport) dial(ctx context.Context, key any, env endpoint.Env, d Destination, s settings, do purpose, ended func(error)) (*line, error) {
	call, cancel := context.WithTimeout(ctx, dial.Timeout)
	defer cancel()
	name := d.address()
	to, err := resolve(call, env.Uplink, d)
	if err != nil {
		return nil, dial.Unreachable(ctx, name, err)
	}
	l := t.acquire(key)
	sock, err := t.callSocket(call, l, env.Uplink, to, s.dscp, env.Log)
	if err != nil {
		t.release(key)
		return nil, dial.Unreachable(ctx, name, err)
	}
	hangUp := func() {
		t.leave(sock, to)
		t.release(key)
	}
	c := &calling{
		s: sock, settings: s, name: name, to: to, do: do, ended: ended, local: sock.place.local,
		first: sequence(rand.Uint32() & maxSequence), outcome: make(chan outcome, 1),
	}
	if s.passphrase.IsSet() {
		if c.keys, err = newKeyring(s.passphrase, s.keyLength); err != nil {
			hangUp()
			return nil, endpoint.Fail(endpoint.Unworkable, err, "encryption", "no key can be made for the call to %s", name)
		}
	}
	l.post(c.begin)
	conn, err := c.wait(ctx, call, env.Uplink)
	if err != nil {
		l.do(func(time.Time) { c.giveUp(err) })
		hangUp()
		return nil, err
	}
	return &line{conn: conn, loop: l, hangUp: hangUp}, nil
}

// resolve returns the address of a peer: of an IP version that the uplink has,
// if there is one.
func resolve(ctx context.Context, up endpoint.Uplink, d Destination) (netip.AddrPort, error) {
	port := uint16(d.Port)
	if a, err := netip.ParseAddr(d.Host); err == nil {
		return netip.AddrPortFrom(a.Unmap(), port), nil
	}
	found, err := up.Resolver().LookupNetIP(ctx, "ip", d.Host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if len(found) == 0 {
		return netip.AddrPort{}, &net.DNSError{Err: "it has no address", Name: d.Host, IsNotFound: true}
	}
	first := found[0].Unmap()
	own := up.Addresses()
	for _, a := range found {
		a = a.Unmap()
		for _, o := range own {
			if o.Is4() == a.Is4() {
				return netip.AddrPortFrom(a, port), nil
			}
		}
	}
	return netip.AddrPortFrom(first, port), nil
}

// An outcome is how a call ended: open, or not.
type outcome struct {
	conn *conn
	err  error
}

// A calling is a call that is not open yet (draft-sharabayko-srt-01 section
// 4.3.1). Except for wait it is for the loop.
type calling struct {
	s        *socket
	settings settings
	name     string // host:port, as configured
	to       netip.AddrPort
	local    netip.Addr
	do       purpose
	ended    func(error)
	keys     *keyring // nil: clear
	first    sequence
	outcome  chan outcome // capacity 1

	id         uint32
	begun      time.Time
	concluding bool   // the induction was answered, and not begun anew since
	asked      bool   // for the connection: at any time
	last       []byte // our last packet
	sent       time.Time
	renewed    time.Time // when the handshake came a step further, or was begun anew
	over       bool
}

// wait returns when the call has come to something.
func (c *calling) wait(ctx, call context.Context, up endpoint.Uplink) (*conn, error) {
	nobody := make(chan struct{})
	watch, cancel := context.WithCancel(call)
	watched := make(chan struct{})
	defer func() { cancel(); <-watched }()
	go func() {
		defer close(watched)
		if isClosed(watch, up, c.to) {
			close(nobody)
		}
	}()
	select {
	case o := <-c.outcome:
		return o.conn, o.err
	case <-nobody:
		return nil, dial.Unreachable(ctx, c.name, syscall.ECONNREFUSED)
	case <-call.Done():
	}
	select {
	case o := <-c.outcome: // at the last moment
		return o.conn, o.err
	default:
	}
	return nil, dial.Unreachable(ctx, c.name, call.Err())
}

// isClosed returns true once the host has said several times in a row that
// nobody listens there, false when ctx is done. It asks from a socket of its
// own: only one that is connected hears of that.
func isClosed(ctx context.Context, up endpoint.Uplink, to netip.AddrPort) bool {
	wait := time.NewTicker(resendInterval)
	defer wait.Stop()
	select {
	case <-wait.C: // most calls are answered by then
	case <-ctx.Done():
		return false
	}
	conn, err := up.Dialer().DialContext(ctx, "udp", to.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	ask := packetOf(induction(rand.Uint32(), 0, to.Addr()), 0, 0)
	for refused := 0; refused < closedBelieved; {
		_, err := conn.Write(ask) // tells of the time before
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			refused++
		case err == nil:
			_ = conn.SetReadDeadline(time.Now().Add(resendInterval))
			var b [maxDatagram]byte
			if _, err = conn.Read(b[:]); errors.Is(err, syscall.ECONNREFUSED) {
				refused++
			} else {
				refused = 0
			}
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// begin sends the first packet.
func (c *calling) begin(now time.Time) {
	if c.over {
		return
	}
	c.id, c.begun = c.s.newID(), now
	c.s.calls[c.id] = c
	c.induce(now)
}

// induce begins the handshake.
func (c *calling) induce(now time.Time) {
	c.concluding, c.renewed = false, now
	c.send(induction(c.id, c.first, c.to.Addr()), now)
}

func (c *calling) send(h *packet.CIFHandshake, now time.Time) {
	c.last = packetOf(h, 0, microseconds(now.Sub(c.begun)))
	c.repeat(now)
}

// repeat sends the last packet, again.
func (c *calling) repeat(now time.Time) {
	c.sent = now
	b := c.s.room(len(c.last))
	copy(b, c.last)
	c.s.put(udp.Message{Header: b, To: c.to, From: c.local})
}

func (c *calling) tick(now time.Time) {
	switch {
	case now.Sub(c.renewed) >= renewInterval:
		c.induce(now)
	case now.Sub(c.sent) >= resendInterval:
		c.repeat(now)
	}
}

// take handles an answer.
func (c *calling) take(d *udp.Datagram, now time.Time) {
	h, err := parseHandshake(d.Data)
	if c.over || d.From != c.to || h == nil || err != nil {
		return
	}
	code, refused := h.refusal()
	switch {
	case refused:
		c.fail(&endpoint.Error{Phase: endpoint.Refused, Reason: *code.reason(c.name, c.settings.passphrase.IsSet())})
	case !c.concluding && h.HandshakeType == packet.HSTYPE_INDUCTION:
		c.induced(h, now)
	case c.asked && h.HandshakeType == packet.HSTYPE_CONCLUSION:
		c.concluded(h, d.Arrival, now)
	}
}

// induced answers the listener's induction with the terms.
func (c *calling) induced(h *handshake, now time.Time) {
	if h.Version != 5 || h.ExtensionField != magic {
		c.refuse("version", "it speaks a version of SRT older than 1.3")
		return
	}
	p := newHandshake(packet.HSTYPE_CONCLUSION, c.id, c.first, c.to.Addr())
	p.IsRequest, p.SynCookie, p.HasHS, p.SRTHS = true, h.SynCookie, true, terms(c.settings.latency, c.settings.latency)
	if p.StreamId = c.settings.streamID; p.StreamId != "" {
		p.HasSID = true
	}
	if c.keys != nil {
		m, err := c.keys.message()
		if err != nil {
			c.fail(endpoint.Fail(endpoint.Unworkable, err, "encryption", "no key can be made for the call to %s", c.name))
			return
		}
		p.HasKM, p.SRTKM = true, m
	}
	c.concluding, c.asked, c.renewed = true, true, now
	c.send(p, now)
}

// concluded opens the connection, if it can be had as the listener answered.
func (c *calling) concluded(h *handshake, arrival, now time.Time) {
	code, why := c.check(h)
	if code != "" {
		// It thinks that we are there.
		b := c.s.room(headerSize + 4)
		clear(b)
		bye := header{control: true, kind: controlShutdown, time: microseconds(now.Sub(c.begun)), to: h.SRTSocketId}
		bye.put(b)
		c.s.put(udp.Message{Header: b, To: c.to, From: c.local})
		c.refuse(code, why)
		return
	}
	first := sequence(h.InitialPacketSequenceNumber.Val())
	conn := newConn(side{
		id: c.id, peerID: h.SRTSocketId, peer: c.to, local: c.local, first: c.first,
		idle: c.settings.idle, terms: h.agree(c.settings.latency), keys: c.keys,
	}, c.begun, c.s)
	conn.heard, conn.said = conn.at(arrival), conn.at(now)
	half, err := c.do(conn, first, h.time)
	if err != nil {
		c.fail(err)
		return
	}
	conn.half, conn.ended = half, c.ended
	c.abandon()
	c.s.l.add(conn, c.s)
	c.outcome <- outcome{conn: conn}
}

// check tells whether the connection can be had as the listener answered.
func (c *calling) check(h *handshake) (code, why string) {
	encrypt := c.keys != nil
	switch {
	case h.Version != 5 || !h.HasHS || h.SRTHS.SRTVersion < oldestVersion:
		return "version", "it speaks a version of SRT older than 1.3"
	case !h.SRTHS.SRTFlags.TSBPDSND || !h.SRTHS.SRTFlags.TSBPDRCV || h.stream:
		return "mode", "it is not set up for live streams"
	case h.MaxTransmissionUnitSize < smallestMTU:
		return "mtu", fmt.Sprintf("it takes packets of %d bytes at most: %d are needed", h.MaxTransmissionUnitSize, smallestMTU)
	case encrypt && h.key == keyAbsent:
		return "unsecure", "it does not use encryption and a passphrase is set here"
	case encrypt && h.key == keyRefused:
		return "bad_secret", "the passphrase is wrong"
	}
	return "", ""
}

func (c *calling) refuse(code, why string) {
	c.fail(endpoint.Fail(endpoint.Refused, nil, code, "%s cannot be connected to: %s", c.name, why))
}

func (c *calling) fail(err error) {
	c.abandon()
	c.outcome <- outcome{err: err}
}

// giveUp ends the call that nobody waits for any more, and the connection if it
// has come to one since: others may use the socket, and the peer would go on.
func (c *calling) giveUp(cause error) {
	c.abandon()
	select {
	case o := <-c.outcome:
		if o.conn != nil {
			o.conn.end(cause)
		}
	default:
	}
}

// abandon ends the call.
func (c *calling) abandon() {
	c.over = true
	if c.s.calls[c.id] == c {
		delete(c.s.calls, c.id)
	}
}
