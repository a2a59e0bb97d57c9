package remux

import (
	"bytes"

	"sluice/relay/flv"
)

// aacRates are by samplingFrequencyIndex (14496-3, table 1.18).
var aacRates = [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// aacChannels are by channelConfiguration (table 1.19).
var aacChannels = [16]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 14: 8}

// An adts reads AAC in ADTS (14496-3, 1.A.3.2).
type adts struct {
	fixed     [2]byte // profile, rate and channels of the frame before
	announced []byte
	in        Info
	why       string
}

func newADTS() *adts { return &adts{in: Info{Codec: flv.AAC}} }

func (a *adts) header() []byte { return a.announced }
func (a *adts) info() Info     { return a.in }
func (a *adts) unfit() string  { return a.why }

func (a *adts) next(b []byte) int {
	if len(b) < 7 {
		if len(b) > 0 && b[0] != 0xFF || len(b) > 1 && b[1]&0xF6 != 0xF0 {
			return -1
		}
		return 0
	}
	n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
	if b[0] != 0xFF || b[1]&0xF6 != 0xF0 || aacRates[b[2]>>2&15] == 0 || n < 7 {
		return -1
	}
	return n
}

func (a *adts) take(b []byte) (data []byte, samples, rate int, ok bool) {
	index := b[2] >> 2 & 15
	rate, samples = aacRates[index], 1024*(int(b[6]&3)+1)
	head := 7
	if b[1]&1 == 0 {
		head += 2 // CRC
	}
	if len(b) <= head {
		return nil, samples, rate, false
	}
	object, channels := b[2]>>6+1, b[2]&1<<2|b[3]>>6
	switch a.why = ""; {
	case b[6]&3 != 0:
		a.why = "AAC with several raw data blocks in an ADTS frame"
	case channels == 0:
		a.why = "AAC whose channels only a programme config element tells"
	}
	if a.why != "" {
		return nil, samples, rate, false
	}
	if fixed := [2]byte{b[2] &^ 2, b[3] & 0xC0}; a.announced == nil || fixed != a.fixed {
		a.fixed = fixed
		// AudioSpecificConfig (1.6.2.1) with a GASpecificConfig of zeros.
		a.announced = sequenceHeader(flv.AAC, []byte{object<<3 | index>>1, index<<7 | channels<<3})
		a.in.SampleRate, a.in.Channels = rate, aacChannels[channels]
	}
	return b[head:], samples, rate, true
}

// A latm reads AAC in LOAS, of one programme and one layer (14496-3, 1.7).
type latm struct {
	configured bool
	config     []byte // AudioSpecificConfig
	fixed      int    // frameLength in bytes, 0 where each frame has its own
	samples    int
	rate       int
	announced  []byte
	in         Info
	why        string
	data       []byte
}

func newLATM() *latm { return &latm{in: Info{Codec: flv.AAC}} }

func (l *latm) header() []byte { return l.announced }
func (l *latm) info() Info     { return l.in }
func (l *latm) unfit() string  { return l.why }

// next reads AudioSyncStream (1.7.2).
func (l *latm) next(b []byte) int {
	if len(b) < 3 {
		if len(b) > 0 && b[0] != 0x56 || len(b) > 1 && b[1]&0xE0 != 0xE0 {
			return -1
		}
		return 0
	}
	if b[0] != 0x56 || b[1]&0xE0 != 0xE0 {
		return -1
	}
	return 3 + int(b[1]&0x1F)<<8 + int(b[2])
}

// take reads AudioMuxElement(1) (table 1.41).
func (l *latm) take(b []byte) (data []byte, samples, rate int, ok bool) {
	r := &bitReader{b: b[3:]}
	if !r.flag() { // useSameStreamMux
		l.why = ""
		if !l.configure(r) {
			l.configured = false
			return nil, l.samples, l.rate, false
		}
	}
	if !l.configured {
		return nil, 0, 0, false
	}
	size := l.fixed
	if size == 0 { // PayloadLengthInfo (table 1.44)
		for {
			n := int(r.bits(8))
			size += n
			if n != 255 || r.short {
				break
			}
		}
	}
	l.data = r.bytes(l.data[:0], size)
	if r.short || size == 0 {
		return nil, l.samples, l.rate, false
	}
	return l.data, l.samples, l.rate, true
}

// configure reads StreamMuxConfig (table 1.42).
func (l *latm) configure(r *bitReader) bool {
	version := r.bits(1)
	if version == 1 && r.bits(1) == 1 { // audioMuxVersionA
		l.why = "LATM of an unknown version"
		return false
	}
	if version == 1 {
		latmValue(r) // taraBufferFullness
	}
	same, subframes, programmes, layers := r.flag(), r.bits(6), r.bits(4), r.bits(3)
	if !same || subframes > 0 || programmes > 0 || layers > 0 {
		l.why = "LATM with several streams or frames in one"
		return false
	}
	start, size := r.pos, -1
	if version == 1 {
		size = int(latmValue(r))
		start = r.pos
	}
	c, ok := readASC(r)
	if !ok {
		if l.why = "AAC of an object type that is not known"; r.short {
			l.why = ""
		}
		return false
	}
	if size >= 0 {
		if size < r.pos-start || start+size > 8*len(r.b) {
			return false
		}
		r.pos = start + size
	}
	end := r.pos
	switch r.bits(3) { // frameLengthType
	case 0:
		r.bits(8) // latmBufferFullness
		l.fixed = 0
	case 1:
		l.fixed = int(r.bits(9)) + 20
	default:
		l.why = "LATM of CELP or HVXC"
		return false
	}
	if r.flag() { // otherDataPresent: it follows the frames, where nobody looks
		if version == 1 {
			latmValue(r)
		} else {
			for r.flag() && !r.short {
				r.bits(8)
			}
			r.bits(8)
		}
	}
	if r.flag() { // crcCheckPresent
		r.bits(8)
	}
	if r.short {
		return false
	}
	// The configuration may begin at any bit; in a message it begins at the
	// first.
	var w bitWriter
	at := bitReader{b: r.b, pos: start}
	for at.pos < end {
		n := min(end-at.pos, 16)
		w.bits(at.bits(n), n)
	}
	l.configured = true
	l.samples, l.rate = c.samples, c.rate
	l.in.SampleRate, l.in.Channels = c.output, aacChannels[c.channels]
	if !bytes.Equal(w.b, l.config) || l.announced == nil {
		l.config = w.b
		l.announced = sequenceHeader(flv.AAC, w.b)
	}
	return true
}

// latmValue is LatmGetValue (table 1.43).
func latmValue(r *bitReader) (v uint32) {
	for n := r.bits(2) + 1; n > 0; n-- {
		v = v<<8 | r.bits(8)
	}
	return v
}

// An asc is what an AudioSpecificConfig (1.6.2.1) says.
type asc struct {
	object   int // of the core: 2 is AAC-LC
	index    int // samplingFrequencyIndex of the core
	rate     int // of the core
	output   int // with SBR
	channels int // channelConfiguration
	samples  int // in a frame
}

// readASC reads an AudioSpecificConfig of AAC with a GASpecificConfig, as far
// as that. What stands behind it, as the extension for SBR, is not read.
func readASC(r *bitReader) (c asc, ok bool) {
	object := func() int {
		o := int(r.bits(5))
		if o == 31 {
			o = 32 + int(r.bits(6))
		}
		return o
	}
	frequency := func() (index, rate int) {
		index = int(r.bits(4))
		if index == 15 {
			return index, int(r.bits(24))
		}
		return index, aacRates[index]
	}
	c.object = object()
	c.index, c.rate = frequency()
	c.output = c.rate
	c.channels = int(r.bits(4))
	if c.object == 5 || c.object == 29 { // SBR, PS
		_, c.output = frequency()
		c.object = object()
	}
	switch c.object {
	case 1, 2, 3, 4: // Main, LC, SSR, LTP
	default:
		return c, false
	}
	c.samples = 1024
	if r.flag() { // frameLengthFlag
		c.samples = 960
	}
	if r.flag() { // dependsOnCoreCoder
		r.bits(14)
	}
	if r.flag() || c.channels == 0 { // extensionFlag; a programme config element would follow
		return c, false
	}
	return c, !r.short && c.rate > 0 && c.output > 0 && aacChannels[c.channels] > 0
}
