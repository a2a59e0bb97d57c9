package srt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/datarhei/gosrt/circular"
	"github.com/datarhei/gosrt/packet"
)

const (
	handshakeSize = 48     // without header and extensions
	magic         = 0x4A17 // a listener of version 5 answers the induction with it

	// ownVersion is the release of libsrt whose behaviour we have: 1.5.0.
	ownVersion = 0x010500
	// oldestVersion is the first with handshakes of version 5: 1.3.0.
	oldestVersion = 0x010300

	mtu         = 1500 // of the link, IP header included
	smallestMTU = payloadSize + datagramOverhead

	// mostHeld is how many packets a receiver holds, and with it the flow
	// window that it offers.
	mostHeld = 1 << 16
)

// ownFlags are what we do of all that there is (section 3.2.1.1.1, table 6).
var ownFlags = packet.CIFHandshakeExtensionFlags{
	TSBPDSND: true, TSBPDRCV: true, CRYPT: true, TLPKTDROP: true, PERIODICNAK: true, REXMITFLG: true,
}

// What is wrong with a handshake packet.
var (
	errNoHandshake = errors.New("not an SRT handshake")
	errExtension   = errors.New("an extension of the handshake is cut short")
)

// A handshake is a whole handshake packet (section 3.2.1): gosrt's reading of
// its fixed part and of each extension, whose ends gosrt does not check.
type handshake struct {
	packet.CIFHandshake
	time       uint32 // of the header
	to         uint32 // socket id
	key        keyAnswer
	stream     bool // a byte stream or file is wanted
	filter     bool // a packet filter (forward error correction) is wanted
	group      bool // the connection is to be one of a group
	congestion string
}

// A keyAnswer is what a listener says of the key material it was given.
type keyAnswer uint8

const (
	keyAbsent   keyAnswer = iota // nothing, or that it has no passphrase
	keyRefused                   // it could not use it
	keyAccepted                  // it holds the key
)

// refusal returns the code of a packet that refuses the connection.
func (h *handshake) refusal() (code refusal, ok bool) {
	return refusal(h.HandshakeType), h.HandshakeType >= 1000 && h.HandshakeType < packet.HSTYPE_DONE
}

// A glimpse of a handshake packet decides whether it is read.
type glimpse struct {
	kind      packet.HandshakeType
	extension uint16
	cookie    uint32
	who       identity
}

// peekHandshake returns ok false for what is too short.
func peekHandshake(b []byte) (g glimpse, ok bool) {
	if len(b) < headerSize+handshakeSize {
		return g, false
	}
	b = b[headerSize:]
	return glimpse{
		kind:      packet.HandshakeType(binary.BigEndian.Uint32(b[20:])),
		extension: binary.BigEndian.Uint16(b[6:]),
		cookie:    binary.BigEndian.Uint32(b[28:]),
		who: identity{
			id:    binary.BigEndian.Uint32(b[24:]),
			first: sequence(binary.BigEndian.Uint32(b[8:]) & maxSequence),
		},
	}, true
}

// parseHandshake reads a handshake packet, header included. Extensions are
// read of a conclusion only; where they cannot be read the rest is returned,
// with the error. It returns nil for what is no handshake packet.
func parseHandshake(b []byte) (*handshake, error) {
	head, ok := parseHeader(b)
	if !ok || !head.control || head.kind != controlHandshake || len(b) < headerSize+handshakeSize {
		return nil, errNoHandshake
	}
	h := &handshake{time: head.time, to: head.to}
	b = b[headerSize:]
	if h.Unmarshal(b[:handshakeSize]) != nil { // only what is too short
		return nil, errNoHandshake
	}
	if h.HandshakeType != packet.HSTYPE_CONCLUSION {
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
		if err := h.extension(kind, rest[:n]); err != nil {
			return h, err
		}
		rest = rest[n:]
	}
	return h, nil
}

// extension reads one extension. Unknown ones are passed over.
func (h *handshake) extension(kind uint16, body []byte) error {
	switch kind {
	case extensionHSReq, extensionHSRsp:
		h.HasHS, h.SRTHS = true, &packet.CIFHandshakeExtension{}
		if err := h.SRTHS.Unmarshal(body); err != nil {
			return err
		}
		h.stream = h.stream || h.SRTHS.SRTFlags.STREAM
	case extensionKMReq:
		h.HasKM, h.SRTKM = true, &packet.CIFKeyMaterialExtension{}
		return h.SRTKM.Unmarshal(body)
	case extensionKMRsp:
		h.key = keyState(body)
	case extensionStreamID:
		if len(body) > maxStreamID {
			return fmt.Errorf("the stream id has %d bytes", len(body))
		}
		h.HasSID, h.StreamId = true, words(body)
	case extensionCongestion:
		h.congestion = words(body)
		h.stream = h.stream || h.congestion == "file"
	case extensionFilter:
		h.filter = true
	case extensionGroup:
		h.group = true
	}
	return nil
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

// words reads a string of which each word of four bytes is reversed, with
// zeros at its end.
func words(b []byte) string {
	s := make([]byte, 0, len(b))
	for ; len(b) >= 4; b = b[4:] {
		s = append(s, b[3], b[2], b[1], b[0])
	}
	return string(bytes.TrimRight(s, "\x00"))
}

// packetOf makes the datagram of a handshake.
func packetOf(h *packet.CIFHandshake, to, at uint32) []byte {
	var b bytes.Buffer
	b.Write(make([]byte, headerSize))
	_ = h.Marshal(&b) // only an absent writer is an error
	head := header{control: true, kind: controlHandshake, time: at, to: to}
	head.put(b.Bytes())
	return b.Bytes()
}

// newHandshake returns what all our handshake packets have in common.
func newHandshake(kind packet.HandshakeType, own uint32, first sequence, peer netip.Addr) *packet.CIFHandshake {
	h := &packet.CIFHandshake{
		Version: 5, HandshakeType: kind, SRTSocketId: own,
		InitialPacketSequenceNumber: circular.New(uint32(first), packet.MAX_SEQUENCENUMBER),
		MaxTransmissionUnitSize:     mtu, MaxFlowWindowSize: mostHeld,
	}
	h.PeerIP.FromNetIP(peer.AsSlice())
	return h
}

// induction is a caller's first packet (section 4.3.1.1).
func induction(own uint32, first sequence, peer netip.Addr) *packet.CIFHandshake {
	h := newHandshake(packet.HSTYPE_INDUCTION, own, first, peer)
	h.Version = 4 // until the listener says 5
	return h
}

// terms are what one side says of itself, in the handshake extension: the
// latency of what it receives, and of what it sends.
func terms(receive, send time.Duration) *packet.CIFHandshakeExtension {
	return &packet.CIFHandshakeExtension{
		SRTVersion: ownVersion, SRTFlags: ownFlags,
		RecvTSBPDDelay: uint16(receive / time.Millisecond), SendTSBPDDelay: uint16(send / time.Millisecond),
	}
}

// agreed is what both sides have said.
type agreed struct {
	receive time.Duration // latency of what we receive
	send    time.Duration // of what the peer receives
	window  int           // packets that the peer holds
	flags   packet.CIFHandshakeExtensionFlags
	version uint32
}

// agree makes the terms of a connection: of each latency the larger one is
// used (section 4.3.1.2).
func (h *handshake) agree(own time.Duration) agreed {
	a := agreed{
		receive: own, send: own, window: int(min(h.MaxFlowWindowSize, mostHeld)),
		flags: h.SRTHS.SRTFlags, version: h.SRTHS.SRTVersion,
	}
	a.receive = max(a.receive, time.Duration(h.SRTHS.SendTSBPDDelay)*time.Millisecond)
	a.send = max(a.send, time.Duration(h.SRTHS.RecvTSBPDDelay)*time.Millisecond)
	return a
}
