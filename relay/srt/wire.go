package srt

import (
	"encoding/binary"
	"time"
)

// Every packet begins with a header of 16 bytes (draft-sharabayko-srt-01
// section 3). The layouts here are those of the packets that come and go
// thousands of times a second; handshakes and key material are read and
// written with gosrt's package packet.
const headerSize = 16

// payloadSize is the largest payload that is sent: seven transport packets
// (SRTO_PAYLOADSIZE of live mode).
const payloadSize = 1316

// maxDatagram is more than any SRT packet on a link of 1500 bytes.
const maxDatagram = 1500

// datagramOverhead is what libsrt counts of a packet beside its payload in
// rates: headers of IPv4, UDP and SRT.
const datagramOverhead = 20 + 8 + headerSize

// A controlType says what a control packet is (section 3.2, table 1).
type controlType uint16

const (
	controlHandshake controlType = 0x0000
	controlKeepAlive controlType = 0x0001
	controlACK       controlType = 0x0002
	controlNAK       controlType = 0x0003
	controlShutdown  controlType = 0x0005
	controlACKACK    controlType = 0x0006
	controlDropReq   controlType = 0x0007
	controlUser      controlType = 0x7FFF // with a subtype: key material, here
)

// The subtypes of user control packets: those of the handshake's extensions
// (section 3.2.1, table 5).
const (
	extensionHSReq      = 1
	extensionHSRsp      = 2
	extensionKMReq      = 3
	extensionKMRsp      = 4
	extensionStreamID   = 5
	extensionCongestion = 6
	extensionFilter     = 7
	extensionGroup      = 8
)

// The flags in the second word of a data packet (section 3.1). A whole message
// in each packet is what live mode sends.
const (
	flagSolo          = 3 << 30
	flagOddKey        = 1 << 28
	flagEvenKey       = 1 << 27
	flagRetransmitted = 1 << 26
	messageNumbers    = 1<<26 - 1
)

// A header is the beginning of any packet.
type header struct {
	control  bool
	kind     controlType
	subtype  uint16
	specific uint32   // of a control packet: its type-specific information
	sequence sequence // of a data packet
	flags    uint32   // of a data packet, with the message number
	time     uint32   // microseconds of the sender's clock
	to       uint32   // socket id
}

// parseHeader reads the header of a datagram. ok is false where it is too
// short.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize {
		return h, false
	}
	first, second := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	h.time, h.to = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	if h.control = first>>31 == 1; h.control {
		h.kind, h.subtype, h.specific = controlType(first>>16&0x7FFF), uint16(first), second
	} else {
		h.sequence, h.flags = sequence(first), second
	}
	return h, true
}

// put writes the header to the first headerSize bytes of b.
func (h *header) put(b []byte) {
	first, second := uint32(h.sequence), h.flags
	if h.control {
		first, second = 1<<31|uint32(h.kind)<<16|uint32(h.subtype), h.specific
	}
	binary.BigEndian.PutUint32(b, first)
	binary.BigEndian.PutUint32(b[4:], second)
	binary.BigEndian.PutUint32(b[8:], h.time)
	binary.BigEndian.PutUint32(b[12:], h.to)
}

// microseconds is a time of a connection's clock as its packets carry it: it
// goes round every 71 minutes.
func microseconds(d time.Duration) uint32 { return uint32(d / time.Microsecond) }

// An acknowledgement is what an ACK says (section 3.2.4). A light one has the
// sequence number alone.
type acknowledgement struct {
	next     sequence // what is expected: all before it has come, or was given up
	light    bool
	rtt      time.Duration
	rttVar   time.Duration
	room     uint32 // packets that fit the receiver's buffer
	packets  uint32 // received in a second
	capacity uint32 // of the link, packets in a second; 0: not known
	bytes    uint32 // received in a second
}

const (
	lightACKSize = 4
	smallACKSize = 16
	fullACKSize  = 28
)

func parseACK(b []byte) (a acknowledgement, ok bool) {
	if len(b) < lightACKSize {
		return a, false
	}
	a.next = sequence(binary.BigEndian.Uint32(b) & maxSequence)
	if len(b) < smallACKSize {
		a.light = true
		return a, true
	}
	a.rtt = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Microsecond
	a.rttVar = time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Microsecond
	a.room = binary.BigEndian.Uint32(b[12:])
	if len(b) >= fullACKSize {
		a.packets = binary.BigEndian.Uint32(b[16:])
		a.capacity = binary.BigEndian.Uint32(b[20:])
		a.bytes = binary.BigEndian.Uint32(b[24:])
	}
	return a, true
}

// put writes a light or full ACK and returns its size.
func (a *acknowledgement) put(b []byte) int {
	binary.BigEndian.PutUint32(b, uint32(a.next))
	if a.light {
		return lightACKSize
	}
	binary.BigEndian.PutUint32(b[4:], microseconds(a.rtt))
	binary.BigEndian.PutUint32(b[8:], microseconds(a.rttVar))
	binary.BigEndian.PutUint32(b[12:], a.room)
	binary.BigEndian.PutUint32(b[16:], a.packets)
	binary.BigEndian.PutUint32(b[20:], a.capacity)
	binary.BigEndian.PutUint32(b[24:], a.bytes)
	return fullACKSize
}

// A span is a run of sequence numbers, both ends included.
type span struct{ first, last sequence }

// size is how many numbers there are in the span; negative where it runs
// backwards.
func (s span) size() int { return s.last.since(s.first) + 1 }

// lossListSize is how long the list of a NAK may be, in bytes.
const lossListSize = 1456 - headerSize

// parseLosses calls each for every span of a loss list (appendix A). It
// returns false where the list is cut short or a span runs backwards; what
// comes before counts.
func parseLosses(b []byte, each func(span)) bool {
	for len(b) >= 4 {
		first := binary.BigEndian.Uint32(b)
		s := span{sequence(first & maxSequence), sequence(first & maxSequence)}
		if b = b[4:]; first>>31 == 1 {
			if len(b) < 4 {
				return false
			}
			s.last = sequence(binary.BigEndian.Uint32(b) & maxSequence)
			b = b[4:]
		}
		if s.size() < 1 {
			return false
		}
		each(s)
	}
	return len(b) == 0
}

// appendLoss appends a span to a loss list.
func appendLoss(b []byte, s span) []byte {
	if s.first == s.last {
		return binary.BigEndian.AppendUint32(b, uint32(s.first))
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(s.first)|1<<31), uint32(s.last))
}

// parseDropRequest reads the span that a sender gives up (section 3.2.9).
func parseDropRequest(b []byte) (s span, ok bool) {
	if len(b) < 8 {
		return s, false
	}
	s = span{sequence(binary.BigEndian.Uint32(b) & maxSequence), sequence(binary.BigEndian.Uint32(b[4:]) & maxSequence)}
	return s, s.size() >= 1
}

// put writes the span as a drop request has it.
func (s span) put(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(s.first))
	binary.BigEndian.PutUint32(b[4:], uint32(s.last))
}
