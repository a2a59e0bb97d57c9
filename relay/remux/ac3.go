package remux

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/ac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/eac3"

	"sluice/relay/flv"
)

// A dolby reads AC-3 and E-AC-3 sync frames (ETSI TS 102 366). A message holds
// one of AC-3; of E-AC-3 an independent one with those that depend on it.
type dolby struct {
	in Info
}

var ac3Start, eac3Start = sequenceHeader(flv.AC3, nil), sequenceHeader(flv.EAC3, nil)

func newDolby(codec string) *dolby { return &dolby{Info{Codec: codec}} }

// header is a sequence start without a body: there is nothing to configure, but
// who looks for tracks looks for it.
func (d *dolby) header() []byte {
	if d.in.Codec == flv.EAC3 {
		return eac3Start
	}
	return ac3Start
}

func (d *dolby) info() Info    { return d.in }
func (d *dolby) unfit() string { return "" }

// sync reads the header of a sync frame. first is false for one that belongs
// to the frame before it.
func (d *dolby) sync(b []byte) (size, samples, rate, channels int, first, ok bool) {
	if len(b) < 8 || b[0] != 0x0B || b[1] != 0x77 {
		return size, samples, rate, channels, first, ok
	}
	if id := b[5] >> 3; id > 10 { // bsid: E-AC-3
		var s eac3.SyncInfo
		if s.Unmarshal(b) != nil || s.SampleRate() == 0 {
			return size, samples, rate, channels, first, ok
		}
		return s.FrameSize(), 256 * s.NumBlocks(), s.SampleRate(), s.ChannelCount(), s.Strmtyp != 1 && s.Substreamid == 0, true
	}
	var s ac3.SyncInfo
	if s.Unmarshal(b) != nil {
		return size, samples, rate, channels, first, ok
	}
	var i ac3.BSI
	if i.Unmarshal(b[5:]) == nil {
		channels = i.ChannelCount()
	}
	return s.FrameSize(), 1536, s.SampleRate(), channels, true, true
}

func (d *dolby) next(b []byte) int {
	if len(b) < 8 {
		if len(b) > 0 && b[0] != 0x0B || len(b) > 1 && b[1] != 0x77 {
			return -1
		}
		return 0
	}
	n, _, _, _, first, ok := d.sync(b)
	if !ok || !first {
		return -1
	}
	// What follows in the same unit and is not the start of another frame
	// belongs to this one. Encoders end units between frames.
	for n < len(b) {
		more, _, _, _, first, ok := d.sync(b[n:])
		if !ok || first {
			break
		}
		n += more
	}
	return n
}

func (d *dolby) take(b []byte) (data []byte, samples, rate int, ok bool) {
	_, samples, rate, channels, _, ok := d.sync(b)
	d.in.SampleRate, d.in.Channels = rate, channels
	d.in.Codec = flv.AC3
	if b[5]>>3 > 10 {
		d.in.Codec = flv.EAC3
	}
	return b, samples, rate, ok
}
