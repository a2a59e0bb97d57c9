package remux

import (
	"bytes"
	"math"
	"testing"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// cutUnits gives data to a reader in units of n bytes. Of them some have no
// time, some come after a loss, and some are damaged, as the bits of flaws say.
func cutUnits(data []byte, n int, flaws uint16, read func(*mpegts.Unit)) {
	for i := 0; len(data) > 0; i++ {
		k := min(n, len(data))
		flaw := flaws >> (i * 3 % 15) & 7
		t := int64(i) * 3600
		read(&mpegts.Unit{
			PTS: t, DTS: t, Timed: flaw&1 == 0, Lost: flaw == 6, Damaged: flaw == 4,
			Sized: true, RandomAccess: i%2 == 0, Data: data[:k:k],
		})
		data = data[k:]
	}
}

// Frames of AAC are cut out of what came, in order and never twice; each comes
// with a configuration that says what it is, and lives in ADTS again.
func FuzzAAC(f *testing.F) {
	adts := "\xFF\xF1\x4C\x80\x01\x5F\xFCabc\xFF\xF0\x4C\x80\x01\x9F\xFC\xAB\xCDdefg"
	f.Add([]byte(adts+adts), false, uint16(40), uint16(0))
	f.Add([]byte("\xFF\xF1"+adts[:9]+"\xFF"+adts), false, uint16(7), uint16(0x0101))
	f.Add([]byte("\xFF\xF9\x50\x80\x01\x5F\xFDabc"+adts), false, uint16(1000), uint16(0))
	latm := "\x56\xE0\x0A\x20\x00\x11\x90\x1F\xE0\x0C\x2C\x4C\x80"
	f.Add([]byte(latm+"\x56\xE0\x04\x81\x80\x80\x80"+latm), true, uint16(40), uint16(0))
	f.Add([]byte("\x56\xE0\x0E\x20\x00\x2B\x11\x88\x00\x07\xF8\x06\x16\x26\x36\x40\x00"), true, uint16(5), uint16(0x0800))
	f.Add([]byte("\x56\xE0\x0C\x50\x00\x42\x11\x90\x1F\xE0\x0C\x2C\x4C\x80\x00"), true, uint16(99), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, inLATM bool, cut, flaws uint16) {
		s := &scanner{syntax: newADTS()}
		if inLATM {
			s.syntax = newLATM()
		}
		left, total := data, 0
		emit := func(fr *frame) {
			if len(fr.data) == 0 || fr.codec != flv.AAC || fr.header == nil || fr.pts != fr.dts {
				t.Fatalf("%+v", fr)
			}
			if total += len(fr.data); total > len(data) {
				t.Fatal("more came out than went in")
			}
			if !inLATM { // where bytes begin at any bit
				at := bytes.Index(left, fr.data)
				if at < 0 {
					t.Fatalf("a frame that did not come, or not there: %x", fr.data)
				}
				left = left[at+len(fr.data):]
			}
			tag, err := flv.ParseAudio(fr.header)
			if err != nil || !tag.Header || tag.Codec != flv.AAC {
				t.Fatalf("a header that says %+v, %v", tag, err)
			}
			c := newContent(flv.AAC, false, tag.Payload)
			if c == nil {
				t.Fatalf("the configuration %x makes no sense", tag.Payload)
			}
			if c.why != "" {
				return
			}
			if in := s.info(); in.SampleRate != c.in.SampleRate || in.Channels != c.in.Channels || in.SampleRate == 0 || in.Channels == 0 {
				t.Fatalf("%+v, and its configuration says %+v", in, c.in)
			}
			back := newADTS()
			if b, ok := c.elementary(fr.data, false); ok {
				if back.next(b) != len(b) {
					t.Fatalf("ADTS of %d bytes that says %d", len(b), back.next(b))
				}
				if got, _, rate, ok := back.take(b); !ok || !bytes.Equal(got, fr.data) || rate != c.asc.rate {
					t.Fatalf("%x comes back as %x at %d Hz, want %d", fr.data, got, rate, c.asc.rate)
				}
			}
		}
		drops := 0
		cutUnits(data, int(cut)+1, flaws, func(u *mpegts.Unit) {
			s.read(u, emit, func(Drop, int) { drops++ })
			if len(s.carry) > maxCarry {
				t.Fatalf("%d bytes are kept", len(s.carry))
			}
		})
		s.end(emit, func(Drop, int) {})
	})
}

// Whatever NAL units and parameter sets come, pictures hold units that came, in
// order; the configuration can be read again, and says sizes and rates that can
// be told.
func FuzzNAL(f *testing.F) {
	avc := "\x00\x00\x00\x01\x09\xF0\x00\x00\x00\x01\x67\x64\x00\x0C\xAC\xD9\x41\x41\x9F\x9F\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xF1\x42\x99\x60" +
		"\x00\x00\x00\x01\x68\xEB\xE3\xCB\x22\xC0\x00\x00\x01\x65\x88\x84\x00\x33"
	f.Add([]byte(avc), false, uint16(999), uint16(0))
	f.Add([]byte(avc+"\x00\x00\x00\x01\x09\xF0\x00\x00\x01\x06\x06\x01\xC4\x80\x00\x00\x01\x41\x9A\x24\x6C"), false, uint16(999), uint16(0))
	// Units that begin in a picture.
	next := "\x00\x00\x00\x01\x09\xF0\x00\x00\x01\x41\x9A\x24\x6C\x42\x01\x02\x03\x04\x05\x06\x07\x08"
	f.Add([]byte(avc+next+next+next+next+next+next), false, uint16(90), uint16(0))
	// Two fields of an interlaced stream.
	paff := "\x00\x00\x00\x01\x67\x4D\x00\x1E\xE4\x16\xC8\x94\x20\x00\x00\x03\x00\x20\x00\x00\x06\x51\x98\x0B\x5B\xB0\x00\x00\x00\x01\x68\xCE\x3C\x80"
	f.Add([]byte(paff+"\x00\x00\x01\x65\x88\x84\x40\x21\x80\x00\x00\x00\x01\x09\xF0\x00\x00\x01\x61\x88\x86\x01\x60"), false, uint16(999), uint16(0))
	f.Add([]byte("\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80\x00\x00\x01\x65\x88\x80\x00\x00\x01\x41\x9A"), false, uint16(26), uint16(0))
	hevc := "\x00\x00\x00\x01\x46\x01\x50\x00\x00\x00\x01\x40\x01\x0C\x01\xFF\xFF\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3C\x95\x98\x09" +
		"\x00\x00\x00\x01\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3C\xA0\x0A\x08\x05\xA1\x65\x95\x9A\x49\x32\xBC\x05\xA0\x20\x00\x00\x03\x00\x20\x00\x00\x03\x03\x21" +
		"\x00\x00\x00\x01\x44\x01\xC1\x72\xB4\x62\x40\x00\x00\x01\x26\x01\xAF\x08\x40"
	f.Add([]byte(hevc), true, uint16(999), uint16(0))
	f.Add([]byte(hevc+"\x00\x00\x00\x01\x46\x01\x50\x00\x00\x01\x02\x01\xD0\x09"), true, uint16(99), uint16(0x0101))
	f.Fuzz(func(t *testing.T, data []byte, hevc bool, cut, flaws uint16) {
		codec := flv.AVC
		if hevc {
			codec = flv.HEVC
		}
		r := newNALReader(codec)
		drops := 0
		drop := func(Drop, int) { drops++ }
		frames, total := 0, 0
		var announced []byte
		var slab media.Slab
		emit := func(fr *frame) {
			frames++
			if len(fr.units) == 0 || fr.codec != codec || fr.header == nil {
				t.Fatalf("%+v", fr)
			}
			pictures := 0
			for _, u := range fr.units {
				if total += len(u); total > len(data) {
					t.Fatal("more came out than went in")
				}
				if len(u) == 0 || bytes.Contains(u, startCode) || !bytes.Contains(data, u) {
					t.Fatalf("a NAL unit that did not come: %x", u)
				}
				if k := r.kind(u); k == nalSlice || k == nalKeySlice {
					pictures++
				}
			}
			if pictures == 0 {
				t.Fatal("a frame without a picture")
			}
			if in := r.info(); in.FrameRate < 0 || math.IsNaN(in.FrameRate) || math.IsInf(in.FrameRate, 0) || in.Width < 0 || in.Height < 0 || in.Width > 1<<16 || in.Height > 1<<16 {
				t.Fatalf("%+v", in)
			}
			if r.reorder < 0 || r.reorder > maxReorder {
				t.Fatalf("%d pictures to reorder", r.reorder)
			}
			tag, err := flv.ParseVideo(fr.header)
			if err != nil || !tag.Header || tag.Codec != codec {
				t.Fatalf("a header that says %+v, %v", tag, err)
			}
			if !bytes.Equal(announced, fr.header) {
				announced = fr.header
				c := newContent(codec, true, tag.Payload)
				if c == nil || c.lengths != 4 {
					t.Fatalf("the configuration %x makes no sense", tag.Payload)
				}
				for _, s := range c.sets {
					if !bytes.Contains(data, s) {
						t.Fatalf("a parameter set that did not come: %x", s)
					}
				}
			}
			c := newContent(codec, true, tag.Payload)
			tag, err = flv.ParseVideo(message(&slab, fr, 0))
			if err != nil || tag.Codec != codec || tag.Key != fr.key {
				t.Fatalf("a message that says %+v, %v", tag, err)
			}
			b, ok := c.elementary(tag.Payload, fr.key)
			if !ok {
				t.Fatalf("a message that cannot be read: %x", tag.Payload)
			}
			for i, u := 0, splitNAL(b, nil); i < len(fr.units); i++ { // the last are those of the message
				if got := u[len(u)-len(fr.units)+i]; !bytes.Equal(got, fr.units[i]) {
					t.Fatalf("%x comes back as %x", fr.units[i], got)
				}
			}
		}
		cutUnits(data, int(cut)+1, flaws, func(u *mpegts.Unit) { r.read(u, emit, drop) })
		r.end(emit, drop)
		// The rules of slices, of bytes that no reader has looked at.
		_, _ = r.fieldOf([][]byte{data})
		_ = r.recoveryPoint(append([]byte{6, 0}, data...))
		_ = intraSlice(append([]byte{1}, data...))
	})
}

// An SPS may say anything: a rate that is no number could not even be reported.
func TestInfoShows(t *testing.T) {
	for _, tt := range []struct {
		width, height int
		rate          float64
		want          Info
	}{
		{1920, 1080, 59.94, Info{Width: 1920, Height: 1080, FrameRate: 59.94}},
		{320, math.MaxInt32, 25, Info{FrameRate: 25}},
		{-16, 90, 25, Info{FrameRate: 25}},
		{320, 180, math.Inf(1), Info{Width: 320, Height: 180}},
		{320, 180, math.NaN(), Info{Width: 320, Height: 180}},
		{320, 180, 4e9, Info{Width: 320, Height: 180}},
	} {
		i := Info{Width: 1, Height: 1, FrameRate: 1}
		if i.shows(tt.width, tt.height, tt.rate); i != tt.want {
			t.Errorf("%+v: %+v", tt, i)
		}
	}
}
