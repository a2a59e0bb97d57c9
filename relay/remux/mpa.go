package remux

import "sluice/relay/flv"

// MPEG audio, layer III (ISO/IEC 11172-3 section 2.4.1.3, 13818-3).
var (
	mp3Bitrates = [2][16]int{ // kbit/s: MPEG-1, MPEG-2 and 2.5
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	}
	// Layer II needs only enough to pass over it.
	mp2Bitrates = [2][16]int{
		{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	}
	mpaRates = [3]int{44100, 48000, 32000}
)

// mpaHeader reads a frame header.
func mpaHeader(b []byte) (size, samples, rate, layer int, ok bool) {
	if len(b) < 4 || b[0] != 0xFF || b[1]&0xE0 != 0xE0 {
		return 0, 0, 0, 0, false
	}
	version, at := b[1]>>3&3, b[2]>>2&3 // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
	layer = 4 - int(b[1]>>1&3)
	if version == 1 || at == 3 || layer != 2 && layer != 3 {
		return 0, 0, 0, 0, false
	}
	low := 0
	rate = mpaRates[at]
	if version != 3 {
		low = 1
		rate /= 2
		if version == 0 {
			rate /= 2
		}
	}
	samples = 1152
	bitrate := mp2Bitrates[low][b[2]>>4]
	if layer == 3 {
		bitrate = mp3Bitrates[low][b[2]>>4]
		if low == 1 {
			samples = 576
		}
	}
	if bitrate == 0 {
		return 0, 0, 0, 0, false
	}
	size = samples/8*bitrate*1000/rate + int(b[2]>>1&1)
	return size, samples, rate, layer, true
}

// An mpa reads MPEG audio. Messages carry layer III alone.
type mpa struct {
	in  Info
	why string
}

func newMPA() *mpa { return &mpa{in: Info{Codec: flv.MP3}} }

func (m *mpa) header() []byte { return nil }
func (m *mpa) info() Info     { return m.in }
func (m *mpa) unfit() string  { return m.why }

func (m *mpa) next(b []byte) int {
	if len(b) < 4 {
		if len(b) > 0 && b[0] != 0xFF || len(b) > 1 && b[1]&0xE0 != 0xE0 {
			return -1
		}
		return 0
	}
	size, _, _, _, ok := mpaHeader(b)
	if !ok {
		return -1
	}
	return size
}

func (m *mpa) take(b []byte) (data []byte, samples, rate int, ok bool) {
	_, samples, rate, layer, ok := mpaHeader(b)
	if !ok {
		return nil, 0, 0, false
	}
	m.in.SampleRate, m.in.Channels = rate, 2
	if b[3]>>6 == 3 {
		m.in.Channels = 1
	}
	m.why, m.in.Codec = "", flv.MP3
	if layer != 3 {
		m.why, m.in.Codec = "MPEG audio layer II has no place in RTMP", "mp2"
		return nil, samples, rate, false
	}
	return b, samples, rate, true
}

// mp3Tag is the first byte of a message of MP3 (FLV E.4.2.1): format, rate,
// 16 bits, channels. Rates that have no code there get the nearest; the frame
// says its own.
func mp3Tag(b []byte) byte {
	_, _, rate, _, _ := mpaHeader(b)
	t := byte(2<<4 | 2)
	switch {
	case rate == 8000:
		t = 14<<4 | 2
	case rate >= 32000:
		t |= 3 << 2
	case rate >= 16000:
		t |= 2 << 2
	default:
		t |= 1 << 2
	}
	if len(b) > 3 && b[3]>>6 != 3 {
		t |= 1 // stereo
	}
	return t
}
