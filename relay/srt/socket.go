package srt

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/udp"
)

// mostFailures is how many times in a row a socket may fail to be read before
// it is given up: a NIC that goes away is noticed by its uplink first.
const mostFailures = 100

// A socket is a UDP port with the connections that share it, told apart by
// their socket ids. It has a listener, or is for calls.
type socket struct {
	l        *loop
	udp      *udp.Conn
	conns    map[uint32]*conn
	calls    map[uint32]*calling
	listener *listener        // nil: none
	place    place            // of a socket for calls
	called   []netip.AddrPort // from it; the Transport's
	outbox   []udp.Message
	failures int
}

func newSocket(l *loop, c *udp.Conn) *socket {
	return &socket{l: l, udp: c, conns: make(map[uint32]*conn), calls: make(map[uint32]*calling)}
}

// newID returns a socket id that is free.
func (s *socket) newID() uint32 {
	for {
		id := rand.Uint32() &^ (3 << 30) // libsrt marks groups with the 31st bit
		if id != 0 && s.conns[id] == nil && s.calls[id] == nil {
			return id
		}
	}
}

// read hands on all that has arrived.
func (s *socket) read(now time.Time) {
	s.l.reader.Use(s.udp)
	for range mostReads {
		datagrams, err := s.l.reader.Read()
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			if s.failures++; s.failures == mostFailures && s.listener != nil {
				s.listener.fail(err)
			}
			return
		}
		s.failures = 0
		for i := range datagrams {
			s.dispatch(&datagrams[i], now)
		}
		if len(datagrams) < readBatch {
			return
		}
	}
}

// dispatch hands a datagram to whom it is for. What comes from another address
// than the connection's peer is not its peer's, whatever socket id it names.
func (s *socket) dispatch(d *udp.Datagram, now time.Time) {
	h, ok := parseHeader(d.Data)
	if !ok {
		return
	}
	if h.control && h.kind == controlHandshake {
		s.shake(h.to, d, now)
		return
	}
	if c := s.conns[h.to]; c != nil && c.peer == d.From {
		s.l.takeConn(c, h, d.Data[headerSize:], d.Arrival, now)
	}
}

// shake hands on a handshake packet.
func (s *socket) shake(to uint32, d *udp.Datagram, now time.Time) {
	defer s.l.caughtElsewhere()
	switch c := s.calls[to]; {
	case c != nil:
		c.take(d, now)
	case s.listener != nil:
		s.listener.take(d, now)
	}
}

// tick repeats what was not answered.
func (s *socket) tick(now time.Time) {
	for _, c := range s.calls {
		c.tick(now)
	}
	if s.listener != nil {
		s.listener.tick(now)
	}
}

// sweep forgets connections that are over.
func (s *socket) sweep() {
	for id, c := range s.conns {
		if c.over {
			delete(s.conns, id)
			if s.listener != nil {
				s.listener.forget(c)
			}
		}
	}
}

// room and put make a socket an outlet.
func (s *socket) room(n int) []byte { return s.l.arena.alloc(n) }

func (s *socket) put(m udp.Message) {
	s.outbox = append(s.outbox, m)
	s.l.waiting++
}

// write sends what was put. What the kernel does not take is lost as on any
// other part of the path: the peer asks for it.
func (s *socket) write() {
	s.l.writer.Use(s.udp)
	for rest := s.outbox; len(rest) > 0; {
		n, err := s.l.writer.Write(rest)
		if err == nil || errors.Is(err, unix.EAGAIN) {
			break
		}
		rest = rest[n+1:] // this one alone cannot be sent
	}
	clear(s.outbox) // let the payloads go
	s.outbox = s.outbox[:0]
}

// open has the loop serve the socket.
func (s *socket) open() { s.l.sockets = append(s.l.sockets, s) }

// close ends the socket, after what was put has left.
func (s *socket) close() {
	s.l.flush()
	s.l.sockets = slices.DeleteFunc(s.l.sockets, func(other *socket) bool { return other == s })
	_ = s.udp.Close()
}
