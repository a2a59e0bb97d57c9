package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/bench/wire"
)

// A Protocol is how a stream is carried.
type Protocol string

// The protocols.
const (
	SRT  Protocol = "SRT"
	RTP  Protocol = "RTP" // RFC 2250
	UDP  Protocol = "UDP" // a transport stream in bare datagrams
	RTMP Protocol = "RTMP"
)

// rtpHeaderSize is that of RFC 3550 without sources and extension.
const rtpHeaderSize = 12

// RTPSize is the length of an RTP packet with its payload.
const RTPSize = rtpHeaderSize + PayloadSize

// tick is how often a sender looks at what is due.
const tick = time.Millisecond

// history is how many packets a sender can send again.
const history = 4096

// A Sender sends a stamped stream of datagrams at an even pace. Make it with NewSender.
type Sender struct {
	protocol Protocol
	rate     float64 // payload bits per second
	conn     *net.UDPConn
	to       wire.Address
	session  *wire.Session // of SRT
	sent     atomic.Uint64
	writer   wire.Writer
	reader   *wire.Reader
	packets  [history][]byte // what was sent, by sequence number
	next     uint32          // sequence number, of SRT or RTP
}

// NewSender connects to a relay's input on a port of the loopback, and tries
// until ctx is done.
func NewSender(ctx context.Context, protocol Protocol, port int, bitsPerSecond float64, terms wire.Terms) (*Sender, error) {
	c, err := wire.Listen(0)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	s := &Sender{protocol: protocol, rate: bitsPerSecond, conn: c, to: wire.AddressOf(to), reader: wire.NewReader(1500)}
	if protocol == SRT {
		if s.session, err = wire.Dial(ctx, c, to, terms); err != nil {
			c.Close()
			return nil, fmt.Errorf("sender: %w", err)
		}
		s.next = s.session.Initial
	}
	return s, nil
}

// Sent is how many packets were sent so far, each once.
func (s *Sender) Sent() uint64 { return s.sent.Load() }

// Run sends until ctx is done, and closes the connection.
func (s *Sender) Run(ctx context.Context) {
	defer s.conn.Close()
	fd := wire.Descriptor(s.conn)
	perPacket := PayloadSize * 8 / s.rate // seconds
	begin := time.Now()
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			if s.session != nil {
				s.tell(s.session.Shutdown())
				s.writer.Flush(fd)
			}
			return
		case <-ticks.C:
		}
		due := uint64(time.Since(begin).Seconds() / perPacket)
		for s.sent.Load() < due {
			s.send()
		}
		if s.session != nil {
			s.listen(fd)
		}
		s.writer.Flush(fd)
	}
}

// send adds the next packet to what is written.
func (s *Sender) send() {
	now := time.Now()
	p := s.packets[s.next%history]
	header := s.headerSize()
	if p == nil {
		p = make([]byte, header, header+PayloadSize)
		p = append(p, blank()...)
		s.packets[s.next%history] = p
	}
	payload := p[header:]
	if s.session != nil && s.session.Key != nil {
		copy(payload, unstamped) // what stood there is encrypted
	}
	stamp(payload, s.sent.Load(), now)
	switch s.protocol {
	case SRT:
		if s.session.Key != nil {
			s.session.Key.Crypt(payload, payload, s.next)
		}
		s.session.DataHeader(p, s.next, uint32(s.sent.Load())+1, s.session.Timestamp())
	case RTP:
		p[0], p[1] = 0x80, 33
		binary.BigEndian.PutUint16(p[2:], uint16(s.next))
		binary.BigEndian.PutUint32(p[4:], uint32(now.UnixMicro()*9/100))
		binary.BigEndian.PutUint32(p[8:], 0x62656E63)
	}
	s.next = (s.next + 1) & wire.MaxSequence
	s.sent.Add(1)
	s.tell(p)
}

// unstamped is a payload before its stamp.
var unstamped = blank()

func (s *Sender) headerSize() int {
	switch s.protocol {
	case SRT:
		return wire.HeaderSize
	case RTP:
		return rtpHeaderSize
	}
	return 0
}

func (s *Sender) tell(datagram []byte) { s.writer.Add(&s.to, 0, datagram) }

// listen answers what the relay says.
func (s *Sender) listen(fd int) {
	for i := range s.reader.Read(fd) {
		b := s.reader.Datagram(i).Data
		if !wire.IsControl(b) {
			continue
		}
		switch wire.Control(b) {
		case packet.CTRLTYPE_ACK:
			if reply := s.session.ACKACK(b); reply != nil {
				s.tell(reply)
			}
		case packet.CTRLTYPE_KEEPALIVE:
			s.tell(s.session.Keepalive())
		case packet.CTRLTYPE_NAK:
			s.repeat(b[wire.HeaderSize:])
		}
	}
}

// repeat sends again what a loss list names (draft-sharabayko-srt, appendix
// A): single numbers, and ranges whose first number has the highest bit set.
func (s *Sender) repeat(list []byte) {
	for len(list) >= 4 {
		first := binary.BigEndian.Uint32(list)
		last := first
		list = list[4:]
		if first&^wire.MaxSequence != 0 && len(list) >= 4 {
			first &= wire.MaxSequence
			last = binary.BigEndian.Uint32(list)
			list = list[4:]
		}
		for n, count := first, 0; count < history; n, count = (n+1)&wire.MaxSequence, count+1 {
			if p := s.packets[n%history]; p != nil && binary.BigEndian.Uint32(p) == n {
				p[4] |= 0x04 // R: sent again
				s.tell(p)
			}
			if n == last {
				break
			}
		}
	}
}
