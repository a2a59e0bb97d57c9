package remux

import (
	"bytes"
	"encoding/binary"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"sluice/relay/flv"
	"sluice/relay/mpegts"
)

// A content is one track of messages on its way into PES packets.
type content struct {
	codec  string
	why    string // it cannot be carried
	stream mpegts.Stream
	id     byte // stream_id

	lengths int      // bytes of the length before a NAL unit
	sets    [][]byte // parameter sets
	asc     asc
	in      Info
	meter   rateMeter
	buf     []byte
}

func registration(id string) []byte { return append([]byte{0x05, 4}, id...) }

// newContent tells how a codec is carried. configuration is that of its
// header message, nil for a codec without one. It returns nil for a
// configuration that makes no sense.
func newContent(codec string, video bool, configuration []byte) *content {
	c := &content{codec: codec, in: Info{Codec: codec}, id: 0xC0}
	c.stream.PID = pidAudio
	if video {
		c.id, c.stream.PID = 0xE0, pidVideo
	}
	ok := true
	switch codec {
	case flv.AVC:
		c.stream.Type = mpegts.H264
		ok = c.readAVC(configuration)
	case flv.HEVC:
		c.stream.Type, c.stream.Descriptors = mpegts.HEVC, registration("HEVC")
		ok = c.readHEVC(configuration)
	case flv.AV1:
		c.stream.Type, c.id = mpegts.Private, 0xBD
		ok = c.readAV1(configuration)
	case flv.AAC:
		c.stream.Type = mpegts.ADTS
		r := &bitReader{b: configuration}
		if c.asc, ok = readASC(r); ok && c.asc.index == 15 {
			c.why = "AAC at a sample rate that ADTS cannot say"
		}
		if !ok {
			c.why, ok = "AAC of a kind that ADTS cannot carry", len(configuration) >= 2
		}
		c.in.SampleRate, c.in.Channels = c.asc.output, aacChannels[c.asc.channels]
	case flv.MP3:
		c.stream.Type = mpegts.MPEG1Audio
		if _, _, rate, _, known := mpaHeader(configuration); known && rate < 32000 {
			c.stream.Type = mpegts.MPEG2Audio
		}
	case flv.AC3:
		c.stream.Type, c.stream.Descriptors, c.id = mpegts.AC3, registration("AC-3"), 0xBD
	case flv.EAC3:
		c.stream.Type, c.stream.Descriptors, c.id = mpegts.EAC3, registration("EAC3"), 0xBD
	case flv.Opus:
		c.in.SampleRate, c.in.Channels = 48000, 2
		if len(configuration) >= 10 {
			c.in.Channels = int(configuration[9])
		}
		if c.in.Channels < 1 || c.in.Channels > 8 {
			c.why = "Opus with more than eight channels"
		}
		c.stream.Type, c.id = mpegts.Private, 0xBD
		c.stream.Descriptors = append(registration("Opus"), 0x7F, 2, 0x80, byte(c.in.Channels))
	default:
		c.why = codec + " has no place in MPEG-TS"
	}
	if !ok {
		return nil
	}
	return c
}

// readAVC reads an AVCDecoderConfigurationRecord (14496-15, 5.3.3.1.2).
func (c *content) readAVC(b []byte) bool {
	if len(b) < 7 {
		return false
	}
	c.lengths = int(b[4]&3) + 1
	sps, rest, ok := readSets(b[6:], int(b[5]&31))
	if !ok || len(sps) == 0 || len(rest) == 0 {
		return false
	}
	pps, _, ok := readSets(rest[1:], int(rest[0]))
	c.sets = append(sps, pps...)
	var s h264.SPS
	if len(sps[0]) > 0 && s.Unmarshal(sps[0]) == nil {
		c.in.shows(s.Width(), s.Height(), s.FPS())
	}
	return ok && len(pps) > 0
}

// readHEVC reads an HEVCDecoderConfigurationRecord (14496-15, 8.3.3.1.2).
func (c *content) readHEVC(b []byte) bool {
	if len(b) < 23 {
		return false
	}
	c.lengths = int(b[21]&3) + 1
	arrays := int(b[22])
	b = b[23:]
	for ; arrays > 0; arrays-- {
		if len(b) < 3 {
			return false
		}
		kind, n := b[0]&0x3F, int(b[1])<<8|int(b[2])
		sets, rest, ok := readSets(b[3:], n)
		if !ok {
			return false
		}
		for _, set := range sets {
			var s h265.SPS
			if kind == 33 && len(set) > 2 && s.Unmarshal(set) == nil {
				c.in.shows(s.Width(), s.Height(), s.FPS())
			}
		}
		c.sets = append(c.sets, sets...)
		b = rest
	}
	return len(c.sets) > 0
}

// readAV1 reads an AV1CodecConfigurationRecord.
func (c *content) readAV1(b []byte) bool {
	if len(b) < 4 || b[0] != 0x81 {
		return false
	}
	// AV1 video descriptor: the four bytes of the record.
	c.stream.Descriptors = append(append(registration("AV01"), 0x80, 4), b[:4]...)
	if len(b) > 4 {
		c.sets = [][]byte{bytes.Clone(b[4:])}
		if at := 1; b[4]&0x02 != 0 {
			if _, n := leb128(b[5:]); n > 0 {
				at += n
				var s av1.SequenceHeader
				if s.Unmarshal(append([]byte{b[4] &^ 2}, b[4+at:]...)) == nil {
					c.in.Width, c.in.Height = s.Width(), s.Height()
				}
			}
		}
	}
	return true
}

// readSets reads n units with a length of 16 bits before each.
func readSets(b []byte, n int) (sets [][]byte, rest []byte, ok bool) {
	for ; n > 0; n-- {
		if len(b) < 2 {
			return nil, nil, false
		}
		size := int(b[0])<<8 | int(b[1])
		if size > len(b)-2 {
			return nil, nil, false
		}
		sets = append(sets, bytes.Clone(b[2:2+size]))
		b = b[2+size:]
	}
	return sets, b, true
}

// elementary turns the payload of a message into what a PES packet carries. It
// is valid until the next call.
func (c *content) elementary(payload []byte, key bool) ([]byte, bool) {
	b := c.buf[:0]
	ok := true
	switch c.codec {
	case flv.AVC:
		// The delimiter says that any slice may follow (2.14.1, H.264 7.4.2.4).
		b, ok = c.byteStream(append(b, 0, 0, 0, 1, 0x09, 0xF0), payload, key, avcKind)
	case flv.HEVC:
		b, ok = c.byteStream(append(b, 0, 0, 0, 1, 35<<1, 1, 0x50), payload, key, hevcKind)
	case flv.AV1:
		b, ok = c.temporalUnit(b, payload, key)
	case flv.AAC:
		b, ok = c.adts(b, payload)
	case flv.MP3:
		if _, _, rate, _, known := mpaHeader(payload); known {
			c.in.SampleRate = rate
			c.in.Channels = 2
			if payload[3]>>6 == 3 {
				c.in.Channels = 1
			}
		}
		b = append(b, payload...)
	case flv.AC3, flv.EAC3:
		d := dolby{}
		if _, _, rate, channels, _, known := d.sync(payload); known {
			c.in.SampleRate, c.in.Channels = rate, channels
		}
		b = append(b, payload...)
	case flv.Opus:
		b = append(b, 0x7F, 0xE0)
		n := len(payload)
		for ; n >= 255; n -= 255 {
			b = append(b, 255)
		}
		b = append(append(b, byte(n)), payload...)
	default:
		ok = false
	}
	c.buf = b
	return b, ok
}

// byteStream writes NAL units with start codes (H.264 annex B): delimiter,
// parameter sets at a key frame, and what the message holds.
func (c *content) byteStream(b, payload []byte, key bool, kind func([]byte) nalKind) ([]byte, bool) {
	if key && !c.hasSets(payload, kind) {
		for _, s := range c.sets {
			b = append(append(b, 0, 0, 0, 1), s...)
		}
	}
	n := 0
	for len(payload) > 0 {
		u, rest, ok := c.nal(payload)
		if !ok {
			return b, false
		}
		payload = rest
		if len(u) == 0 || kind(u) == nalDelimiter {
			continue
		}
		b = append(append(b, 0, 0, 0, 1), u...)
		n++
	}
	return b, n > 0
}

// nal cuts the first NAL unit off.
func (c *content) nal(b []byte) (u, rest []byte, ok bool) {
	if len(b) < c.lengths {
		return nil, nil, false
	}
	size := 0
	for _, x := range b[:c.lengths] {
		size = size<<8 | int(x)
	}
	b = b[c.lengths:]
	if size > len(b) {
		return nil, nil, false
	}
	return b[:size], b[size:], true
}

// hasSets tells whether a message brings its own SPS.
func (c *content) hasSets(payload []byte, kind func([]byte) nalKind) bool {
	for len(payload) > 0 {
		u, rest, ok := c.nal(payload)
		if !ok {
			return false
		}
		if len(u) > 0 && kind(u) == nalSPS {
			return true
		}
		payload = rest
	}
	return false
}

// temporalUnit writes OBUs with start codes and emulation prevention (AOM,
// "Carriage of AV1 in MPEG-2 TS"), a temporal delimiter first and the sequence
// header at a key frame.
func (c *content) temporalUnit(b, payload []byte, key bool) ([]byte, bool) {
	b = append(b, 0, 0, 1, obuTemporalDelimiter<<3|2, 0)
	if key && len(c.sets) > 0 && payload[0]>>3&15 != obuSequenceHeader {
		b = escape(append(b, 0, 0, 1), c.sets[0])
	}
	for len(payload) > 0 {
		at, end := 1, len(payload)
		if payload[0]&0x04 != 0 {
			at++
		}
		if payload[0]&0x02 != 0 {
			size, n := leb128(payload[min(at, end):])
			if n == 0 || size > end-at-n {
				return b, false
			}
			end = at + n + size
		}
		if payload[0]>>3&15 != obuTemporalDelimiter {
			b = escape(append(b, 0, 0, 1), payload[:end])
		}
		payload = payload[end:]
	}
	return b, true
}

// escape appends b with emulation prevention bytes (H.264 section 7.4.1.1).
func escape(dst, b []byte) []byte {
	zeros := 0
	for _, x := range b {
		if zeros >= 2 && x <= 3 {
			dst = append(dst, 3)
			zeros = 0
		}
		if x == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, x)
	}
	return dst
}

// adts writes an AAC frame with its header (14496-3, 1.A.3.2).
func (c *content) adts(b, payload []byte) ([]byte, bool) {
	n := len(payload) + 7
	if n > 1<<13-1 {
		return b, false
	}
	b = append(b, 0xFF, 0xF1, byte(c.asc.object-1)<<6|byte(c.asc.index)<<2|byte(c.asc.channels)>>2, byte(c.asc.channels)<<6, 0, 0, 0xFC)
	h := b[len(b)-4:]
	binary.BigEndian.PutUint16(h[1:], uint16(n<<5|0x1F)) // buffer fullness 0x7FF: variable rate
	h[0] |= byte(n >> 11)
	return append(b, payload...), true
}
