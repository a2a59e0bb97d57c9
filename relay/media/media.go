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
	// FLV is the messages of RTMP: each Data is the body of one audio, video or
	// data message, which is an FLV tag without its header.
	FLV
)

// String returns the kind's name for people.
func (k Kind) String() string {
	switch k {
	case TS:
		return "MPEG-TS"
	case Datagram:
		return "datagrams"
	case FLV:
		return "RTMP messages"
	}
	return "unknown"
}

// A Format describes the packets that carry it. Its identity is the session:
// a source that restarts publishes under a new *Format, so that outputs see
// the restart in order, in band, and outlive it.
//
// A Format is immutable. A source of FLV whose headers change in mid-stream
// goes on under a new *Format with the same Clock.
type Format struct {
	Kind Kind
	// Clock tells which times count as one (FLV only): those of another clock
	// begin anew, and a Flow lets them go on where the last one stopped.
	Clock *Clock
	// Headers are what a decoder must have before the first packet (FLV only):
	// metadata and codec configurations, in the order in which they came.
	Headers []Header
}

// A Clock is the timeline of one session of a source. Its identity is all that
// counts.
type Clock struct{ _ byte }

// A Header is a message that a decoder keeps.
type Header struct {
	Track int // as of a Packet
	Data  []byte
}

// The tracks of FLV, numbered as the types of its tags and of RTMP's messages
// are.
const (
	Audio = 8
	Video = 9
	Data  = 18
)

// A Packet is one datagram or one message. It is immutable from the moment
// it is published: outputs share Data and Header, and nobody writes to them.
type Packet struct {
	Format  *Format
	Track   int       // Audio, Video or Data; 0 for TS and datagrams
	DTS     int64     // 90 kHz, FLV only; of whole milliseconds, and without a wrap
	PTS     int64     // 90 kHz, FLV only
	Arrival time.Time // when the input delivered it, with the monotonic clock
	// RandomAccess is set where a decoder may start. For TS: the datagram
	// holds the start of a random-access picture. For FLV: a key frame, or any
	// audio where there is no video.
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
