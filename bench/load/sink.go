package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/bench/wire"
)

// How often a receiver acknowledges, as libsrt does: all that has come every
// 10 ms, and, where more than 64 packets come meanwhile, their number alone
// after each 64 (draft-sharabayko-srt, section 4.8.1).
const (
	ackEvery   = 10 * time.Millisecond
	lightAfter = 64
)

// peek is how much of each datagram is copied: any handshake, header and stamp.
const peek = 320

// Sinks receive what a relay sends on many sockets. Make them with Listeners
// or Viewers.
type Sinks struct {
	protocol Protocol
	terms    wire.Terms
	mu       sync.Mutex // held while the sockets are swept
	outlets  []*outlet
}

// An outlet is one socket.
type outlet struct {
	tally    tally
	conn     *net.UDPConn
	fd       int
	session  *wire.Session // of SRT, once there is one
	answer   []byte        // to the conclusion of session
	next     uint32        // sequence number after the highest received
	acks     uint32
	ackDue   time.Time // the next full acknowledgement
	lights   int       // light ones since the last full one
	received int       // packets since then
}

// Listeners waits for a relay on n ports, which Ports tells.
func Listeners(protocol Protocol, n int, terms wire.Terms) (*Sinks, error) {
	s := &Sinks{protocol: protocol, terms: terms}
	for range n {
		c, err := wire.Listen(0)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("sinks: %w", err)
		}
		s.outlets = append(s.outlets, &outlet{conn: c, fd: wire.Descriptor(c)})
	}
	return s, nil
}

// Viewers connects n SRT callers to a relay's listener.
func Viewers(ctx context.Context, n, port int, terms wire.Terms) (*Sinks, error) {
	s, err := Listeners(SRT, n, terms)
	if err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	err = together(n, func(i int) error {
		o := s.outlets[i]
		for {
			session, err := wire.Dial(ctx, o.conn, to, terms)
			if errors.Is(err, wire.Backlog) && ctx.Err() == nil {
				continue // as a player does
			}
			o.session = session
			return err
		}
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("viewers: %w", err)
	}
	return s, nil
}

// Ports returns where the sinks receive.
func (s *Sinks) Ports() []int {
	var ports []int
	for _, o := range s.outlets {
		ports = append(ports, wire.Port(o.conn))
	}
	return ports
}

// Close closes the sockets of sinks that do not run.
func (s *Sinks) Close() {
	for _, o := range s.outlets {
		o.conn.Close()
	}
}

// Run receives until ctx is done, and closes the sockets.
func (s *Sinks) Run(ctx context.Context) {
	defer s.Close()
	reader := wire.NewReader(peek)
	sweep(ctx, &s.mu, len(s.outlets), func(i int) {
		o := s.outlets[i]
		for n := wire.Batch; n == wire.Batch; {
			n = reader.Read(o.fd)
			for k := range n {
				s.take(o, reader.Datagram(k))
			}
		}
		o.acknowledge(time.Now())
	})
	for _, o := range s.outlets {
		if o.session != nil {
			o.tell(o.session.Shutdown())
		}
	}
}

// Begin counts anew.
func (s *Sinks) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outlets {
		o.tally.begin()
	}
}

// Received returns what was counted.
func (s *Sinks) Received() Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tallies []*tally
	for _, o := range s.outlets {
		tallies = append(tallies, &o.tally)
	}
	return sum(tallies)
}

func (s *Sinks) take(o *outlet, d wire.Datagram) {
	switch {
	case s.protocol == RTP:
		o.stamp(d, rtpHeaderSize, nil, 0)
	case s.protocol == UDP:
		o.stamp(d, 0, nil, 0)
	case wire.IsControl(d.Data):
		s.control(o, d)
	case o.session != nil && d.Length > wire.HeaderSize:
		sequence := wire.Sequence(d.Data)
		if first := o.received == 0 && o.acks == 0; first || wire.Before(o.next, sequence+1) {
			o.next = (sequence + 1) & wire.MaxSequence
		}
		o.received++
		key := o.session.Key
		if !wire.Encrypted(d.Data) {
			key = nil
		}
		o.stamp(d, wire.HeaderSize, key, sequence)
	}
}

// stamp counts the payload behind a header.
func (o *outlet) stamp(d wire.Datagram, header int, key *wire.Key, sequence uint32) {
	if d.Length <= header {
		return
	}
	payload := d.Data[header:min(len(d.Data), header+stampSize)]
	if key != nil {
		key.Crypt(payload, payload, sequence)
	}
	if n, at, ok := readStamp(payload); ok {
		o.tally.count(n, at, d.At, d.Length-header)
	}
}

func (s *Sinks) control(o *outlet, d wire.Datagram) {
	switch wire.Control(d.Data) {
	case packet.CTRLTYPE_HANDSHAKE:
		if o.answer != nil && o.session.To == *d.From {
			if wire.Destination(d.Data) == 0 {
				o.tell(o.answer) // it was lost
			}
			return
		}
		reply, session, err := wire.Answer(d.Data, d.From, s.terms)
		if err != nil || reply == nil {
			return
		}
		if session != nil {
			o.session, o.answer = session, reply
			o.next, o.acks, o.received = session.Initial, 0, 0
		}
		_, _ = o.conn.WriteToUDPAddrPort(reply, wire.AddrPort(d.From))
	case packet.CTRLTYPE_KEEPALIVE:
		if o.session != nil {
			o.tell(o.session.Keepalive())
		}
	}
}

// acknowledge does so where it is time to.
func (o *outlet) acknowledge(now time.Time) {
	switch {
	case o.received == 0:
	case !now.Before(o.ackDue):
		// Counted from when it was due: the sweeps are a coarse clock.
		if o.ackDue = o.ackDue.Add(ackEvery); !now.Before(o.ackDue) {
			o.ackDue = now.Add(ackEvery)
		}
		o.acks++
		o.lights, o.received = 0, 0
		o.tell(o.session.ACK(o.acks, o.next))
	case o.received >= lightAfter*(o.lights+1):
		o.lights++
		o.tell(o.session.LightACK(o.next))
	}
}

func (o *outlet) tell(datagram []byte) {
	_, _ = o.conn.WriteToUDPAddrPort(datagram, wire.AddrPort(&o.session.To))
}
