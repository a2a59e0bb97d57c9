package remux

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"sluice/relay/flv"
	"sluice/relay/mpegts"
)

// An opusSyntax reads Opus access units, each with its control header (ETSI TS
// 101 154 annex on Opus, table "opus_access_unit").
type opusSyntax struct {
	announced []byte
	in        Info
	why       string
}

// opusLayouts are the streams, those of them that are stereo, and the mapping
// for channel counts from 1 (RFC 7845 section 5.1.1.2, in Vorbis order).
var opusLayouts = [8]struct {
	streams, coupled byte
	mapping          string
}{
	{1, 0, "\x00"},
	{1, 1, "\x00\x01"},
	{2, 1, "\x00\x02\x01"},
	{2, 2, "\x00\x01\x02\x03"},
	{3, 2, "\x00\x04\x01\x02\x03"},
	{4, 2, "\x00\x04\x01\x02\x03\x05"},
	{4, 3, "\x00\x04\x01\x02\x03\x05\x06"},
	{5, 3, "\x00\x06\x01\x02\x03\x04\x05\x07"},
}

// newOpus takes the channels from the extension descriptor of the stream.
func newOpus(s mpegts.Stream) *opusSyntax {
	o := &opusSyntax{in: Info{Codec: flv.Opus, SampleRate: 48000, Channels: 2}}
	// extension_descriptor, tag 0x80: channel_config_code.
	if d, ok := s.Descriptor(0x7F); ok && len(d) >= 2 && d[0] == 0x80 {
		switch n := int(d[1]); {
		case n >= 1 && n <= 8:
			o.in.Channels = n
		case n == 0: // dual mono
		default:
			o.why = "Opus with a channel layout that is not known"
			return o
		}
	}
	o.announced = sequenceHeader(flv.Opus, opusHead(o.in.Channels))
	return o
}

// opusHead is an identification header (RFC 7845 section 5.1).
func opusHead(channels int) []byte {
	h := append([]byte("OpusHead"), 1, byte(channels), 0, 0, 0x80, 0xBB, 0, 0, 0, 0, 0) // pre-skip 0, 48000 Hz, gain 0
	if channels > 2 {
		l := opusLayouts[channels-1]
		h[len(h)-1] = 1
		h = append(append(h, l.streams, l.coupled), l.mapping...)
	}
	return h
}

func (o *opusSyntax) header() []byte { return o.announced }
func (o *opusSyntax) info() Info     { return o.in }
func (o *opusSyntax) unfit() string  { return o.why }

// control reads opus_control_header; size is that of the access unit after
// it. head is 0 where more bytes are needed, -1 where there is none.
func (o *opusSyntax) control(b []byte) (head, size int) {
	if len(b) < 2 {
		if len(b) == 1 && b[0] != 0x7F {
			return -1, 0
		}
		return 0, 0
	}
	if b[0] != 0x7F || b[1]&0xE0 != 0xE0 {
		return -1, 0
	}
	flags := b[1]
	head = 2
	for {
		if head >= len(b) {
			return 0, 0
		}
		n := int(b[head])
		size += n
		head++
		if n != 255 {
			break
		}
		if size > maxCarry {
			return -1, 0
		}
	}
	if flags&0x10 != 0 { // start_trim_flag
		head += 2
	}
	if flags&0x08 != 0 { // end_trim_flag
		head += 2
	}
	if flags&0x04 != 0 { // control_extension_flag
		if head >= len(b) {
			return 0, 0
		}
		head += 1 + int(b[head])
	}
	return head, size
}

func (o *opusSyntax) next(b []byte) int {
	head, size := o.control(b)
	switch {
	case head <= 0:
		return head
	case size == 0:
		return -1
	}
	return head + size
}

func (o *opusSyntax) take(b []byte) (data []byte, samples, rate int, ok bool) {
	head, _ := o.control(b)
	if head <= 0 || head >= len(b) {
		return nil, 0, 48000, false
	}
	samples = int(opus.PacketDuration2(b[head:]))
	return b[head:], samples, 48000, samples > 0
}
