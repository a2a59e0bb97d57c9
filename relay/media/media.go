// Package media defines what moves through the box: packets, and the format
// that says what their bytes are. It depends on the standard library alone.
package media

import "time"

// Kind tells how the bytes of a Packet are to be understood.
type Kind uint8

const (
	// TS is MPEG-TS (ISO/IEC 13818-1): each Data is one datagram of n x 188
	// bytes, carried to TS outputs byte for byte.
	TS Kind = iota + 1
	// Datagram is an opaque payload that is not MPEG-TS. Only protocols that
	// carry arbitrary datagrams (SRT, RTP, UDP) can relay it.
	Datagram
	// Elementary is access units of elementary streams, one track each.
	Elementary
)

// String returns the kind's name for people.
func (k Kind) String() string {
	switch k {
	case TS:
		return "MPEG-TS"
	case Datagram:
		return "datagrams"
	case Elementary:
		return "elementary streams"
	}
	return "unknown"
}

// A Format describes the packets that carry it. Its identity is the session:
// a source that restarts publishes under a new *Format, so that outputs see
// the restart in order, in band, and outlive it.
type Format struct {
	Kind Kind
}

// A Packet is one datagram or one access unit. It is immutable from the moment
// it is published: outputs share Data and Header, and nobody writes to them.
type Packet struct {
	Format  *Format
	Track   int       // index of the elementary track; 0 for TS and datagrams
	DTS     int64     // 90 kHz, elementary tracks only
	PTS     int64     // 90 kHz, elementary tracks only
	Arrival time.Time // when the input delivered it, with the monotonic clock
	// RandomAccess is set where a decoder may start. For TS: the datagram
	// holds the start of a random-access picture.
	RandomAccess bool
	Data         []byte
	// Header is the RTP header the packet came with (RFC 3550 section 5.1,
	// CSRCs and extension included), nil where the source is not RTP.
	Header []byte
}

// slabSize is how much payload memory is taken from the heap at a time: large
// enough to amortise allocation, small enough that one packet kept alive for
// retransmission pins little.
const slabSize = 64 << 10

// A Slab hands out payload memory cut from larger blocks that are left to the
// garbage collector. It is for one goroutine. The zero value is ready.
type Slab struct {
	free []byte
}

// Copy returns a copy of b in slab memory, with no spare capacity.
func (s *Slab) Copy(b []byte) []byte {
	d := s.Alloc(len(b))
	copy(d, b)
	return d
}

// Alloc returns n bytes of slab memory, with no spare capacity.
func (s *Slab) Alloc(n int) []byte {
	if n > slabSize/4 {
		return make([]byte, n)
	}
	if n > len(s.free) {
		s.free = make([]byte, slabSize)
	}
	d := s.free[:n:n]
	s.free = s.free[n:]
	return d
}
