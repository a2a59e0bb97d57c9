package srt

import (
	"encoding/binary"
	"errors"
)

// Where the fields of a handshake packet are (draft-sharabayko-srt section
// 3.2 and 3.2.1): a header of 16 bytes, then 48 bytes, then extensions.
const (
	headerSize    = 16
	handshakeSize = 64

	offTimestamp  = 8
	offSocket     = 12 // destination
	offVersion    = 16
	offEncryption = 20
	offExtension  = 22
	offMTU        = 28
	offKind       = 36
	offOwnSocket  = 40
)

// The control packets that are told apart here (section 3.2, table 3), with
// the bit that marks a control packet.
const (
	controlHandshake = 0x8000
	controlShutdown  = 0x8005
)

// The kinds of handshake that a caller and a listener exchange (section 3.2.1,
// table 4). Every other number from 1000 on refuses the connection.
const (
	kindInduction  = 1
	kindConclusion = 0xFFFFFFFF
	kindRefusals   = 1000
	kindReserved   = 0xFFFFFFFD // done, agreement, conclusion
)

// The handshake extensions that are looked at (section 3.2.1, table 5).
const (
	extensionHSReq = 1
	extensionHSRsp = 2
	extensionKMReq = 3
	extensionKMRsp = 4
)

const (
	magic = 0x4A17 // a listener of version 5 answers the induction with it

	// oldestPeer is the first release whose handshake the connection
	// understands: 1.4.1.
	oldestPeer = 0x010401

	// The flags of the handshake extension (section 3.2.1.1.1, table 6):
	// timestamps both ways, late packets dropped, periodic NAK, retransmission
	// flag, and encryption, which says that its bits may be used.
	flagsNeeded = 1<<0 | 1<<1 | 1<<3 | 1<<4 | 1<<5
	flagCrypt   = 1 << 2
	flagStream  = 1 << 6 // a byte stream rather than messages

	smallestMTU = 1316 + 44 // a full payload with its IPv4, UDP and SRT headers
)

// keyAnswer is what a listener says of the key material it was given.
type keyAnswer uint8

const (
	keyAbsent   keyAnswer = iota // nothing, or that it has no passphrase
	keyRefused                   // it could not use it
	keyAccepted                  // it holds the key
)

// A handshake is what is looked at of a handshake packet.
type handshake struct {
	version    uint32
	extension  uint16
	mtu        uint32
	kind       uint32
	to, from   uint32 // socket ids
	extended   bool   // a handshake extension is present
	srtVersion uint32
	flags      uint32
	key        keyAnswer
}

// refused returns the code of a refusal.
func (h handshake) refused() (code uint32, ok bool) {
	return h.kind, h.kind >= kindRefusals && h.kind < kindReserved
}

var (
	errNoHandshake = errors.New("not an SRT handshake")
	errExtension   = errors.New("a handshake extension is cut short")
)

// control returns the control type of a packet, with its control bit, or 0 for
// a data packet.
func control(b []byte) uint16 {
	if len(b) < headerSize || b[0]&0x80 == 0 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// parseHandshake reads a whole datagram. The extensions are read of a
// conclusion only.
func parseHandshake(b []byte) (handshake, error) {
	if len(b) < handshakeSize || control(b) != controlHandshake {
		return handshake{}, errNoHandshake
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	h := handshake{
		version: u32(offVersion), extension: binary.BigEndian.Uint16(b[offExtension:]), mtu: u32(offMTU),
		kind: u32(offKind), to: u32(offSocket), from: u32(offOwnSocket),
	}
	if h.kind != kindConclusion {
		return h, nil
	}
	for rest := b[handshakeSize:]; len(rest) > 0; {
		if len(rest) < 4 {
			return h, errExtension
		}
		kind, n := binary.BigEndian.Uint16(rest), 4*int(binary.BigEndian.Uint16(rest[2:]))
		if rest = rest[4:]; len(rest) < n {
			return h, errExtension
		}
		switch body := rest[:n]; kind {
		case extensionHSReq, extensionHSRsp:
			if n != 12 {
				return h, errExtension
			}
			h.extended = true
			h.srtVersion, h.flags = binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
		case extensionKMReq, extensionKMRsp:
			h.key = keyState(body)
		}
		rest = rest[n:]
	}
	return h, nil
}

// keyState reads a listener's answer to key material: the material itself, or
// four bytes that say why it cannot be used, in the listener's own byte order.
func keyState(body []byte) keyAnswer {
	const noSecret = 3
	switch {
	case len(body) > 4:
		return keyAccepted
	case len(body) == 4 && (body[0] == noSecret || body[3] == noSecret):
		return keyAbsent
	}
	return keyRefused
}

// answer makes the answer that a listener, by the socket id that it is given,
// would give to a caller's handshake, agreeing to everything. It returns nil
// if b is none.
func answer(b []byte, socket uint32) []byte {
	h, err := parseHandshake(b)
	if err != nil {
		return nil
	}
	a := append(make([]byte, 0, handshakeSize+16), b[:handshakeSize]...)
	binary.BigEndian.PutUint32(a[offTimestamp:], 0)
	binary.BigEndian.PutUint32(a[offSocket:], h.from)
	binary.BigEndian.PutUint32(a[offVersion:], 5)
	binary.BigEndian.PutUint16(a[offEncryption:], 0)
	switch h.kind {
	case kindInduction:
		binary.BigEndian.PutUint16(a[offExtension:], magic)
	case kindConclusion:
		binary.BigEndian.PutUint16(a[offExtension:], 1)
		binary.BigEndian.PutUint32(a[offOwnSocket:], socket)
		a = binary.BigEndian.AppendUint16(a, extensionHSRsp)
		a = binary.BigEndian.AppendUint16(a, 3)
		a = binary.BigEndian.AppendUint32(a, oldestPeer)
		a = binary.BigEndian.AppendUint32(a, flagsNeeded|flagCrypt)
		a = binary.BigEndian.AppendUint32(a, 0)
	default:
		return nil
	}
	return a
}
