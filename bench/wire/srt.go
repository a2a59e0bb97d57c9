// Package wire is the least that is needed to speak UDP in batches, SRT
// (draft-sharabayko-srt) and RTMP (as a client) with a relay on the same
// machine, so that the relay costs more than what measures it. It is no SRT:
// it keeps nothing in order and asks for nothing again.
package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/datarhei/gosrt/circular"
	srtnet "github.com/datarhei/gosrt/net"
	"github.com/datarhei/gosrt/packet"
)

// HeaderSize is the length of an SRT header.
const HeaderSize = 16

// MaxSequence masks a sequence number.
const MaxSequence = 1<<31 - 1

// cookie is what our listeners let callers repeat: on the loopback nobody
// needs to prove where he is.
const cookie = 0x51CE

// A Session is one end of a connection.
type Session struct {
	ID      uint32  // our socket id
	Peer    uint32  // the peer's
	To      Address // the peer's address
	Initial uint32  // first sequence number of the caller's packets
	Key     *Key    // nil for clear text
	start   time.Time
}

// Timestamp is the time since the connection was made, as headers carry it.
func (s *Session) Timestamp() uint32 { return uint32(time.Since(s.start).Microseconds()) }

// Terms are what both ends say of themselves.
type Terms struct {
	Latency    time.Duration
	Passphrase string // empty for clear text
}

func (t Terms) extension() *packet.CIFHandshakeExtension {
	ms := uint16(t.Latency.Milliseconds())
	return &packet.CIFHandshakeExtension{
		SRTVersion: 0x010501,
		SRTFlags: packet.CIFHandshakeExtensionFlags{
			TSBPDSND: true, TSBPDRCV: true, CRYPT: true, TLPKTDROP: true, PERIODICNAK: true, REXMITFLG: true,
		},
		RecvTSBPDDelay: ms, SendTSBPDDelay: ms,
	}
}

// A Refusal is the reason of a listener that turns a caller away.
type Refusal packet.HandshakeType

// Backlog is the reason of a listener that is still busy with other callers.
const Backlog Refusal = 1005

func (r Refusal) Error() string { return "refused: " + packet.HandshakeType(r).String() }

// retry is how long a caller waits for an answer before it asks again.
const retry = 200 * time.Millisecond

// Dial connects through c to a listener, asking again until ctx is done: it
// may not be there yet.
func Dial(ctx context.Context, c *net.UDPConn, to netip.AddrPort, terms Terms) (*Session, error) {
	s := &Session{ID: newID(), To: AddressOf(to), Initial: rand.Uint32() & (MaxSequence >> 2), start: time.Now()}
	h := &packet.CIFHandshake{
		IsRequest: true, Version: 4, HandshakeType: packet.HSTYPE_INDUCTION, SRTSocketId: s.ID,
		InitialPacketSequenceNumber: circular.New(s.Initial, packet.MAX_SEQUENCENUMBER),
		MaxTransmissionUnitSize:     1500, MaxFlowWindowSize: 25600, PeerIP: loopback(),
	}
	reply, err := s.ask(ctx, c, to, h)
	if err != nil {
		return nil, fmt.Errorf("induction at %v: %w", to, err)
	}
	// The peer's clock for us begins here, however long it took to appear.
	s.start = time.Now()
	h.Version, h.HandshakeType, h.SynCookie = 5, packet.HSTYPE_CONCLUSION, reply.SynCookie
	h.HasHS, h.SRTHS = true, terms.extension()
	if terms.Passphrase != "" {
		h.HasKM = true
		if s.Key, h.SRTKM, err = newKeyMaterial(terms.Passphrase); err != nil {
			return nil, err
		}
	}
	if reply, err = s.ask(ctx, c, to, h); err != nil {
		return nil, fmt.Errorf("conclusion at %v: %w", to, err)
	}
	s.Peer = reply.SRTSocketId
	return s, nil
}

// ask sends h until it is answered. Each attempt carries the time it was made
// at: the peer sets its clock by it.
func (s *Session) ask(ctx context.Context, c *net.UDPConn, to netip.AddrPort, h *packet.CIFHandshake) (*packet.CIFHandshake, error) {
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	b := make([]byte, 2048)
	for ctx.Err() == nil {
		if _, err := c.WriteToUDPAddrPort(marshal(0, s.Timestamp(), h), to); err != nil {
			return nil, err
		}
		again := time.Now().Add(retry)
		_ = c.SetReadDeadline(again)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || from.Port() != to.Port() {
				continue // refused by ICMP, or for another session of c
			}
			reply := unmarshal(b[:n])
			switch {
			case reply == nil:
			case reply.HandshakeType == h.HandshakeType:
				return reply, nil
			case reply.HandshakeType.IsRejection():
				return nil, Refusal(reply.HandshakeType)
			}
		}
	}
	return nil, errors.New("no answer")
}

// Answer is a listener's reply to a datagram from an address, nil where there
// is none to make. The session is nil until the caller's conclusion came; a
// conclusion that comes again must be answered as the first was.
func Answer(datagram []byte, from *Address, terms Terms) (reply []byte, s *Session, err error) {
	h := unmarshal(datagram)
	if h == nil {
		return nil, nil, nil
	}
	peer := h.SRTSocketId
	h.IsRequest = false
	switch h.HandshakeType {
	case packet.HSTYPE_INDUCTION:
		h.Version, h.EncryptionField, h.ExtensionField, h.SynCookie = 5, 0, 0x4A17, cookie
		return marshal(peer, 0, h), nil, nil
	case packet.HSTYPE_CONCLUSION:
		s = &Session{ID: newID(), Peer: peer, To: *from, Initial: h.InitialPacketSequenceNumber.Val(), start: time.Now()}
		if h.HasKM {
			if s.Key, err = keyOf(h.SRTKM, terms.Passphrase); err != nil {
				return nil, nil, err
			}
		}
		h.SRTSocketId, h.SynCookie = s.ID, 0
		h.HasSID, h.HasCongestionCtl = false, false
		h.HasHS, h.SRTHS = true, terms.extension()
		return marshal(peer, 0, h), s, nil
	}
	return nil, nil, nil
}

func newID() uint32 { return rand.Uint32()>>2 | 1 }

func loopback() (ip srtnet.IP) {
	ip.FromNetIP(net.IPv4(127, 0, 0, 1).To4())
	return ip
}

func marshal(to, timestamp uint32, h *packet.CIFHandshake) []byte {
	p := packet.NewPacket(nil)
	defer p.Decommission()
	p.Header().IsControlPacket = true
	p.Header().ControlType = packet.CTRLTYPE_HANDSHAKE
	p.Header().DestinationSocketId = to
	p.Header().Timestamp = timestamp
	p.MarshalCIF(h)
	var b bytes.Buffer
	_ = p.Marshal(&b)
	return b.Bytes()
}

func unmarshal(b []byte) *packet.CIFHandshake {
	if !IsControl(b) || Control(b) != packet.CTRLTYPE_HANDSHAKE {
		return nil
	}
	p, err := packet.NewPacketFromData(nil, b)
	if err != nil {
		return nil
	}
	defer p.Decommission()
	h := &packet.CIFHandshake{}
	if p.UnmarshalCIF(h) != nil {
		return nil
	}
	return h
}

// IsControl tells a control packet from a data packet.
func IsControl(b []byte) bool { return len(b) >= HeaderSize && b[0]&0x80 != 0 }

// Control returns the type of a control packet.
func Control(b []byte) packet.CtrlType {
	return packet.CtrlType(binary.BigEndian.Uint16(b) & 0x7FFF)
}

// Destination returns the socket id that a packet is for.
func Destination(b []byte) uint32 { return binary.BigEndian.Uint32(b[12:]) }

// Sequence returns the sequence number of a data packet.
func Sequence(b []byte) uint32 { return binary.BigEndian.Uint32(b) & MaxSequence }

// Before tells whether sequence number a comes before b, which may have begun
// again at 0.
func Before(a, b uint32) bool { return int32((b-a)<<1) > 0 }

// Encrypted tells whether the payload of a data packet is.
func Encrypted(b []byte) bool { return b[4]&0x18 != 0 }

// DataHeader writes the header of a data packet, a message of its own.
func (s *Session) DataHeader(b []byte, sequence, message, timestamp uint32) {
	first := uint32(0xC0000000) // PP 11: one packet is the whole message
	if s.Key != nil {
		first |= 0x08000000 // KK 01: even key
	}
	binary.BigEndian.PutUint32(b, sequence)
	binary.BigEndian.PutUint32(b[4:], first|message&0x03FFFFFF)
	binary.BigEndian.PutUint32(b[8:], timestamp)
	binary.BigEndian.PutUint32(b[12:], s.Peer)
}

// control returns a control packet with an empty body of n bytes.
func (s *Session) control(t packet.CtrlType, specific uint32, n int) []byte {
	b := make([]byte, HeaderSize+n)
	binary.BigEndian.PutUint16(b, 0x8000|t.Value())
	binary.BigEndian.PutUint32(b[4:], specific)
	binary.BigEndian.PutUint32(b[8:], s.Timestamp())
	binary.BigEndian.PutUint32(b[12:], s.Peer)
	return b
}

// ACK returns the n-th full acknowledgement, of everything before next.
func (s *Session) ACK(n, next uint32) []byte {
	b := s.control(packet.CTRLTYPE_ACK, n, 28)
	for i, v := range []uint32{next, 500 /* RTT, µs */, 100, 8192 /* buffer, packets */, 1000 /* packets/s */, 100_000, 1_250_000} {
		binary.BigEndian.PutUint32(b[HeaderSize+4*i:], v)
	}
	return b
}

// LightACK returns an acknowledgement of everything before next that says no
// more, and has no answer.
func (s *Session) LightACK(next uint32) []byte {
	b := s.control(packet.CTRLTYPE_ACK, 0, 4)
	binary.BigEndian.PutUint32(b[HeaderSize:], next)
	return b
}

// ACKACK returns the answer to a full acknowledgement, nil for a light one.
func (s *Session) ACKACK(ack []byte) []byte {
	n := binary.BigEndian.Uint32(ack[4:])
	if n == 0 {
		return nil
	}
	return s.control(packet.CTRLTYPE_ACKACK, n, 4)
}

// Keepalive returns the packet that says that we are there.
func (s *Session) Keepalive() []byte { return s.control(packet.CTRLTYPE_KEEPALIVE, 0, 4) }

// Shutdown returns the packet that ends the connection.
func (s *Session) Shutdown() []byte { return s.control(packet.CTRLTYPE_SHUTDOWN, 0, 4) }
