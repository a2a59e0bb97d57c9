package remux

import (
	"bytes"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"

	"sluice/relay/flv"
	"sluice/relay/mpegts"
)

// OBU types (AV1 section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

// An av1Reader reads AV1: temporal units whose OBUs follow start codes (AOM,
// "Carriage of AV1 in MPEG-2 TS"), or bare ones with their sizes.
type av1Reader struct {
	sequence  []byte // sequence header OBU, with its size
	announced []byte
	in        Info
	units     [][]byte
	plain     []byte
	frame     frame
	meter     rateMeter

	// Of the temporal unit that is read.
	out       []byte
	sequenced bool // it has a sequence header
	framed    bool // its first frame has been seen
	entered   bool // and is a key frame after a sequence header
}

func newAV1Reader() *av1Reader { return &av1Reader{in: Info{Codec: flv.AV1}} }

func (r *av1Reader) info() Info {
	i := r.in
	i.FrameRate = r.meter.rate()
	return i
}

func (r *av1Reader) unfit() string { return "" }

func (r *av1Reader) end(func(*frame), func(Drop, int)) {}

func (r *av1Reader) read(u *mpegts.Unit, emit func(*frame), drop func(Drop, int)) {
	switch {
	case u.Damaged:
		return // and counted by the PES
	case !u.Timed:
		drop(DropTime, 1)
		return
	}
	r.out, r.sequenced, r.entered, r.framed = r.out[:0], false, false, false
	ok := false
	if bytes.HasPrefix(u.Data, startCode) || bytes.HasPrefix(u.Data, []byte{0, 0, 0, 1}) {
		r.units = split(u.Data, r.units[:0])
		ok = len(r.units) > 0
		for _, n := range r.units {
			r.plain = unescape(r.plain[:0], n)
			ok = ok && r.obus(r.plain, true)
		}
	} else {
		ok = r.obus(u.Data, false)
	}
	switch {
	case !ok, len(r.out) == 0:
		drop(DropDamaged, 1)
		return
	case r.announced == nil:
		drop(DropBeforeKey, 1)
		return
	}
	r.meter.add(u.DTS)
	// AV1 has no reordering between DTS and PTS: shown frames are in order.
	r.frame = frame{dts: u.PTS, pts: u.PTS, key: r.entered, codec: flv.AV1, data: r.out, header: r.announced}
	emit(&r.frame)
}

// obus takes the OBUs of b, each with a size but perhaps the last, and appends
// those that a message holds to out. Of one alone, zeros may follow.
func (r *av1Reader) obus(b []byte, one bool) bool {
	for len(b) > 0 {
		h := b[0]
		if h&0x80 != 0 { // obu_forbidden_bit
			return false
		}
		at := 1
		if h&0x04 != 0 {
			at++ // extension
		}
		end := len(b)
		if h&0x02 != 0 {
			size, n := leb128(b[min(at, len(b)):])
			if n == 0 || size > len(b)-at-n {
				return false
			}
			at += n
			end = at + size
		}
		if at > end {
			return false
		}
		kind := h >> 3 & 15
		switch kind {
		case obuTemporalDelimiter, obuTileList, obuPadding: // no place in a message (av1C, section 2.4)
		default:
			start := len(r.out)
			r.out = append(r.out, h|0x02)
			if h&0x04 != 0 {
				r.out = append(r.out, b[1])
			}
			r.out = appendLEB128(r.out, end-at)
			r.out = append(r.out, b[at:end]...)
			switch {
			case kind == obuSequenceHeader:
				r.sequenced = true
				r.keep(r.out[start:], b[at:end])
			case (kind == obuFrame || kind == obuFrameHeader) && end > at && !r.framed:
				// show_existing_frame, frame_type (section 5.9.2).
				r.framed = true
				r.entered = r.sequenced && b[at]&0x80 == 0 && b[at]>>5&3 == 0
			}
		}
		b = b[end:]
		if one {
			return len(bytes.TrimRight(b, "\x00")) == 0
		}
	}
	return true
}

// keep takes a sequence header, and makes the header message of it.
func (r *av1Reader) keep(obu, body []byte) {
	if bytes.Equal(obu, r.sequence) {
		return
	}
	var s av1.SequenceHeader
	if err := s.Unmarshal(append([]byte{obuSequenceHeader << 3}, body...)); err != nil {
		return
	}
	r.sequence = bytes.Clone(obu)
	r.in.Width, r.in.Height = s.Width(), s.Height()
	flag := func(b bool, at int) byte {
		if b {
			return 1 << at
		}
		return 0
	}
	// AV1CodecConfigurationRecord (AV1 in ISO BMFF, section 2.3.3).
	var level byte
	var tier bool
	if len(s.SeqLevelIdx) > 0 {
		level = s.SeqLevelIdx[0] & 31
	}
	if len(s.SeqTier) > 0 {
		tier = s.SeqTier[0]
	}
	c := []byte{
		0x81, s.SeqProfile<<5 | level,
		flag(tier, 7) | flag(s.ColorConfig.HighBitDepth, 6) | flag(s.ColorConfig.TwelveBit, 5) | flag(s.ColorConfig.MonoChrome, 4) |
			flag(s.ColorConfig.SubsamplingX, 3) | flag(s.ColorConfig.SubsamplingY, 2) | byte(s.ColorConfig.ChromaSamplePosition)&3,
		0,
	}
	r.announced = sequenceHeader(flv.AV1, append(c, r.sequence...))
}

// leb128 reads a size (AV1 section 4.10.5); n is 0 where there is none.
func leb128(b []byte) (v, n int) {
	for n < len(b) && n < 4 {
		v |= int(b[n]&0x7F) << (7 * n)
		n++
		if b[n-1]&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

func appendLEB128(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}
