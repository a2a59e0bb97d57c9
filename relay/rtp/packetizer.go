package rtp

import (
	"iter"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"

	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// A packetizer makes the RTP headers of one stream (RFC 3550 section 5.1). Two
// legs that share one are identical.
type packetizer struct {
	header   rtp.Header
	preserve bool      // headers that packets came with are passed on
	origin   time.Time // arrival of the first packet
	base     uint32    // its timestamp
	format   *media.Format
	buf      []byte
}

func newPacketizer(preserve bool) *packetizer {
	return &packetizer{
		preserve: preserve,
		base:     rand.Uint32(),
		header: rtp.Header{
			Version: 2, PayloadType: payloadMPEGTS,
			SequenceNumber: uint16(rand.Uint32()), SSRC: rand.Uint32(),
		},
		buf: make([]byte, 12),
	}
}

// next returns the header of the next datagram, which is all of p's data or,
// if whole is false, a part of it. It is valid until the next call. The
// timestamp is the time of arrival in 90 kHz; the marker is set where it is
// not continuous with those before, at a new session (RFC 2250 section 2).
func (z *packetizer) next(p media.Packet, whole bool) []byte {
	if z.preserve && whole && len(p.Header) >= 12 {
		z.buf = append(z.buf[:0], p.Header...)
		z.buf[0] &^= 0x20 // the padding was taken off
		return z.buf
	}
	if z.origin.IsZero() {
		z.origin = p.Arrival
	}
	h := &z.header
	h.Marker = p.Format != z.format
	z.format = p.Format
	h.Timestamp = z.base + uint32(int64(p.Arrival.Sub(z.origin))*(clockRate/10_000)/100_000)
	z.buf = z.buf[:h.MarshalSize()]
	_, _ = h.MarshalTo(z.buf) // fails only where the buffer is too small
	h.SequenceNumber++
	return z.buf
}

// parts ranges over the datagrams that a packet is sent in. Transport packets
// go out as they came, but no more than MaxGroup in one datagram; what is
// opaque is never divided.
func parts(p media.Packet) iter.Seq[[]byte] {
	const most = mpegts.MaxGroup * mpegts.PacketSize
	return func(yield func([]byte) bool) {
		b := p.Data
		for p.Format.Kind == media.TS && len(b) > most {
			if !yield(b[:most]) {
				return
			}
			b = b[most:]
		}
		yield(b)
	}
}
