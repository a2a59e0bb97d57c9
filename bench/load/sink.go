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

// sweep is how often the sockets are looked at. Arrivals are the kernel's, so
// that it does not show in the latency.
const sweep = 4 * time.Millisecond

// ackEvery is how often a receiver acknowledges (draft-sharabayko-srt, section
// 4.8.1): at the first sweep after so long.
const ackEvery = 10 * time.Millisecond

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
	acked    time.Time
	received bool // since the last acknowledgement
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
	// A few at a time: a listener's queue of callers is short.
	const together = 5
	var all sync.WaitGroup
	turns := make(chan struct{}, together)
	failed := make(chan error, n)
	for _, o := range s.outlets {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			session, err := wire.Dial(ctx, o.conn, to, terms)
			for errors.Is(err, wire.Backlog) && ctx.Err() == nil {
				session, err = wire.Dial(ctx, o.conn, to, terms) // as a player does
			}
			if err != nil {
				failed <- err
				return
			}
			o.session = session
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		s.Close()
		return nil, fmt.Errorf("viewers: %d of %d do not connect: %w", len(failed)+1, n, err)
	default:
		return s, nil
	}
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
	ticks := time.NewTicker(sweep)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, o := range s.outlets {
				if o.session != nil {
					o.tell(o.session.Shutdown())
				}
			}
			return
		case <-ticks.C:
		}
		s.mu.Lock()
		for _, o := range s.outlets {
			for {
				n := reader.Read(o.fd)
				for i := range n {
					s.take(o, reader.Datagram(i))
				}
				if n < wire.Batch {
					break
				}
			}
			o.acknowledge()
		}
		s.mu.Unlock()
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
		if first := !o.received && o.acks == 0; first || wire.Before(o.next, sequence+1) {
			o.next = (sequence + 1) & wire.MaxSequence
		}
		o.received = true
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
			o.next, o.acks, o.received = session.Initial, 0, false
		}
		_, _ = o.conn.WriteToUDPAddrPort(reply, wire.AddrPort(d.From))
	case packet.CTRLTYPE_KEEPALIVE:
		if o.session != nil {
			o.tell(o.session.Keepalive())
		}
	}
}

// acknowledge does so where it is time to.
func (o *outlet) acknowledge() {
	if now := time.Now(); o.received && now.Sub(o.acked) >= ackEvery {
		o.acks++
		o.acked, o.received = now, false
		o.tell(o.session.ACK(o.acks, o.next))
	}
}

func (o *outlet) tell(datagram []byte) {
	_, _ = o.conn.WriteToUDPAddrPort(datagram, wire.AddrPort(&o.session.To))
}
