package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/relay/endpoint"
)

// How a peer is called.
const (
	connectTimeout = 5 * time.Second        // resolving the name and shaking hands
	resendInterval = 250 * time.Millisecond // a handshake without answer is repeated

	// closedBelieved is how many times in a row the peer's host has to say that
	// its port is closed: the peer may be starting at this moment.
	closedBelieved = 4
)

// A pump stands between gosrt, which cannot bind a socket to a NIC when it
// calls, and the peer:
//
//	gosrt <-> loopback socket (inner) <-> pump <-> socket of the uplink (outer)
//
// It also makes good what gosrt's handshake lacks. A packet of it is repeated
// until it is answered. Each answer is checked and passed on once. A call that
// fails is answered by the pump itself, agreeing to everything, and closed
// once it is open: a call that gosrt gives up leaves a goroutine behind for
// ever.
type pump struct {
	inner *net.UDPConn
	outer net.Conn
	s     settings
	peer  string // host:port, as configured
	done  chan struct{}
	wg    sync.WaitGroup // the two directions
	sent  chan struct{}  // closed when gosrt's side has said its last

	mu      sync.Mutex
	stage   stage
	gosrt   netip.AddrPort // gosrt's socket, once it has spoken
	last    []byte         // its last handshake packet
	socket  uint32         // the peer's, once it has let us in
	failure error          // why the call failed
	trouble error          // the last error of the outer socket
	closed  int            // how often the peer's host said that its port is closed
}

type stage uint8

const (
	inducing   stage = iota // waiting for the answer to the induction
	concluding              // waiting for the answer to the conclusion
	established
	abandoned
)

// dial calls a peer through an uplink. The error is an *endpoint.Error, or
// that of ctx.
func dial(ctx context.Context, up endpoint.Uplink, d Destination, s settings) (*conn, error) {
	call, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	peer := net.JoinHostPort(d.Host, fmt.Sprint(d.Port))
	dialer := *up.Dialer()
	if dialer.Resolver == nil {
		dialer.Resolver = up.Resolver()
	}
	bind := dialer.Control
	dialer.Control = func(network, address string, rc syscall.RawConn) error {
		prepare(rc, s.dscp)
		if bind == nil {
			return nil
		}
		return bind(network, address, rc)
	}
	outer, err := dialer.DialContext(call, "udp", peer)
	if err != nil {
		return nil, unreachable(ctx, peer, err)
	}
	inner, err := listenLoopback(ctx)
	if err != nil {
		_ = outer.Close()
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket", "no socket for the call to %s", peer)
	}
	p := &pump{inner: inner, outer: outer, s: s, peer: peer, done: make(chan struct{}), sent: make(chan struct{})}
	p.wg.Add(2)
	go p.up()
	go p.down()
	stop := context.AfterFunc(call, func() { p.fail(p.expired(ctx)) })
	c, err := dialed(p, s)
	stop()
	if err != nil {
		p.close()
		return nil, endpoint.Fail(endpoint.Connecting, err, "handshake", "the call to %s failed", peer)
	}
	if err := p.failed(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func listenLoopback(ctx context.Context) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		prepare(rc, 0)
		return nil
	}}
	c, err := lc.ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// unreachable explains why no socket to the peer could be made.
func unreachable(ctx context.Context, peer string, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dns):
		return endpoint.Fail(endpoint.Connecting, nil, "name_not_found", "the name in %s cannot be resolved: %s", peer, dns.Err)
	default:
		return endpoint.Fail(endpoint.Connecting, err, "unreachable", "%s cannot be reached", peer)
	}
}

// expired says why a call that was not answered ended.
func (p *pump) expired(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return endpoint.Fail(endpoint.Connecting, p.trouble, "no_answer", "%s did not answer within %v", p.peer, connectTimeout)
}

func (p *pump) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// fail ends a call that is not open yet.
func (p *pump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage == established || p.stage == abandoned {
		return
	}
	p.stage, p.failure = abandoned, err
	if a := answer(p.last, p.socket); a != nil {
		_, _ = p.inner.WriteToUDPAddrPort(a, p.gosrt)
	}
}

// up carries what gosrt sends to the peer. It ends with gosrt's goodbye.
func (p *pump) up() {
	defer p.wg.Done()
	defer close(p.sent)
	b := make([]byte, maxDatagram)
	for {
		n, from, err := p.inner.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !p.fromGosrt(b[:n], from) {
			continue
		}
		if _, err := p.outer.Write(b[:n]); err != nil {
			p.note(err)
		}
		if control(b[:n]) == controlShutdown {
			return
		}
	}
}

// fromGosrt looks at a packet that came on the loopback and tells whether it
// is for the peer.
func (p *pump) fromGosrt(b []byte, from netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if control(b) == controlHandshake {
		if !p.gosrt.IsValid() {
			p.gosrt = from
		}
		if from != p.gosrt {
			return false
		}
		p.last = append(p.last[:0], b...)
		if p.stage == abandoned {
			if a := answer(b, p.socket); a != nil {
				_, _ = p.inner.WriteToUDPAddrPort(a, from)
			}
			return false
		}
		return p.stage != established
	}
	if p.stage == abandoned {
		// Only the goodbye, which ends up: the peer may hold half a call.
		return from == p.gosrt && control(b) == controlShutdown
	}
	return from == p.gosrt
}

// down carries what the peer sends to gosrt.
func (p *pump) down() {
	defer p.wg.Done()
	b := make([]byte, maxDatagram)
	for {
		if p.shaking() {
			_ = p.outer.SetReadDeadline(time.Now().Add(resendInterval))
		} else {
			_ = p.outer.SetReadDeadline(time.Time{})
		}
		n, err := p.outer.Read(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.resend()
		case err != nil:
			// Mostly what ICMP tells, once for each packet sent.
			p.note(err)
			select {
			case <-p.done:
			case <-time.After(time.Millisecond):
			}
		case p.fromPeer(b[:n]):
			_, _ = p.inner.WriteToUDPAddrPort(b[:n], p.gosrt)
		}
	}
}

func (p *pump) shaking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage < established
}

func (p *pump) resend() {
	p.mu.Lock()
	var err error
	if p.stage < established && p.last != nil {
		_, err = p.outer.Write(p.last)
	}
	p.mu.Unlock()
	if err != nil {
		p.note(err)
	}
}

// note keeps an error of the outer socket, and gives the call up where nobody
// listens.
func (p *pump) note(err error) {
	p.mu.Lock()
	p.trouble = bare(err)
	if errors.Is(err, syscall.ECONNREFUSED) {
		p.closed++
	}
	nobody := p.closed >= closedBelieved
	p.mu.Unlock()
	if nobody {
		p.fail(endpoint.Fail(endpoint.Connecting, syscall.ECONNREFUSED, "no_listener", "nobody listens at %s", p.peer))
	}
}

// bare leaves out the addresses that an error of package net repeats.
func bare(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// fromPeer looks at a packet that the peer sent, and tells whether it is for
// gosrt.
func (p *pump) fromPeer(b []byte) bool {
	p.mu.Lock()
	if p.stage == established {
		p.mu.Unlock()
		return control(b) != controlHandshake
	}
	stage, last := p.stage, p.last
	p.mu.Unlock()
	h, err := parseHandshake(b)
	if stage == abandoned || last == nil || err != nil {
		return false
	}
	if own := binary.BigEndian.Uint32(last[offOwnSocket:]); h.to != own && h.to != 0 {
		return false
	}
	if code, ok := h.refused(); ok {
		why := refusal(code).reason(p.peer, p.s.passphrase.IsSet())
		p.fail(&endpoint.Error{Phase: endpoint.Refused, Reason: *why})
		return false
	}
	switch {
	case stage == inducing && h.kind == kindInduction:
		if h.version != 5 || h.extension != magic {
			p.fail(endpoint.Fail(endpoint.Refused, nil, "version", "%s speaks a version of SRT older than 1.3", p.peer))
			return false
		}
		// The key length is ours to choose; gosrt would take the peer's.
		binary.BigEndian.PutUint16(b[offEncryption:], 0)
		return p.advance(inducing, concluding)
	case stage == concluding && h.kind == kindConclusion:
		p.mu.Lock()
		p.socket = h.from // so that it hears our goodbye, whatever follows
		p.mu.Unlock()
		if err := p.check(h); err != nil {
			p.fail(err)
			return false
		}
		return p.advance(concluding, established)
	}
	return false
}

// advance goes on to the next stage, unless the call has failed meanwhile.
func (p *pump) advance(from, to stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage != from {
		return false
	}
	p.stage = to
	return true
}

// check tells whether the connection can be had as the peer answered it.
func (p *pump) check(h handshake) error {
	encrypt := p.s.passphrase.IsSet()
	switch {
	case h.version != 5 || !h.extended || h.srtVersion < oldestPeer:
		return endpoint.Fail(endpoint.Refused, nil, "version", "%s speaks a version of SRT older than 1.4.1", p.peer)
	case h.flags&flagsNeeded != flagsNeeded || h.flags&flagStream != 0:
		return endpoint.Fail(endpoint.Refused, nil, "mode", "%s is not set up for live streams", p.peer)
	case h.mtu < smallestMTU:
		return endpoint.Fail(endpoint.Refused, nil, "mtu", "%s takes packets of %d bytes at most: %d are needed", p.peer, h.mtu, smallestMTU)
	case encrypt && h.key == keyAbsent:
		return endpoint.Fail(endpoint.Refused, nil, "unsecure", "%s does not use encryption and a passphrase is set here", p.peer)
	case encrypt && h.key == keyRefused:
		return endpoint.Fail(endpoint.Refused, nil, "bad_secret", "%s cannot decrypt: the passphrase is wrong", p.peer)
	}
	return nil
}

// stop ends the pump after gosrt's goodbye, which is in the loopback socket
// already, has been passed on.
func (p *pump) stop() {
	select {
	case <-p.sent:
	case <-time.After(100 * time.Millisecond):
	}
	p.close()
}

func (p *pump) close() {
	close(p.done)
	_ = p.inner.Close()
	_ = p.outer.Close()
	p.wg.Wait()
}
