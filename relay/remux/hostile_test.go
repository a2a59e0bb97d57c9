package remux_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/relaytest"
	"sluice/relay/remux"
)

// held is how much memory is reachable.
func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// transport makes a packet with a payload of b, filled up.
func transport(pid uint16, start bool, cc byte, b []byte) []byte {
	p := append([]byte{0x47, byte(pid >> 8), byte(pid), 0x10 | cc&15}, b...)
	if start {
		p[1] |= 0x40
	}
	for len(p) < 188 {
		p = append(p, 0xFF)
	}
	return p
}

// Whatever a stream does, what is kept of it is bounded.
func TestHostileStreams(t *testing.T) {
	h264 := mpegts.Stream{Type: mpegts.H264, PID: 0x100}
	sound := mpegts.Stream{Type: mpegts.ADTS, PID: 0x101}
	tables := append(
		sectionPacket(0, 0, remux.PAT(mpegts.Program{Number: 1, PMT: 0x1000})),
		sectionPacket(0x1000, 0, remux.ProgramMap(1, 0x100, h264, sound))...,
	)
	begin := []byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1}
	random := rand.New(rand.NewPCG(1, 1))
	noise := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for _, tt := range []struct {
		name string
		next func(i int) []byte
	}{
		{"a unit that never ends", func(i int) []byte {
			if i == 0 {
				return transport(0x100, true, 0, begin)
			}
			return transport(0x100, false, byte(i), make([]byte, 184))
		}},
		{"audio without a frame", func(i int) []byte {
			return transport(0x101, i%40 == 0, byte(i), append(append([]byte(nil), begin...), make([]byte, 170)...))
		}},
		{"8,000 PIDs", func(i int) []byte {
			return transport(uint16(0x20+i%8000), true, byte(i/8000), append(append([]byte(nil), begin...), make([]byte, 170)...))
		}},
		{"PAT after PAT", func(i int) []byte {
			var programs []mpegts.Program
			for n := range 40 {
				programs = append(programs, mpegts.Program{Number: uint16(i + n + 1), PMT: uint16(0x20 + (i*7+n)%8000)})
			}
			return sectionPacket(0, byte(i), remux.PAT(programs...))
		}},
		{"PMT after PMT", func(i int) []byte {
			var streams []mpegts.Stream
			for n := range 30 {
				streams = append(streams, mpegts.Stream{Type: mpegts.H264, PID: uint16(0x20 + (i*31+n)%8000)})
			}
			return sectionPacket(0x1000, byte(i+1), remux.ProgramMap(1, 0x100, streams...))
		}},
		{"sections that never end", func(i int) []byte {
			return transport(0x1000, i%8 == 0, byte(i), []byte{0, 2, 0xB3, 0xFD, 0, 1, 0xC1, 0, 0})
		}},
		{"parameter sets without end", func(i int) []byte {
			b := append(append([]byte(nil), begin...), 0, 0, 1, 0x67, 0x64, 0, 0x1F, byte(i), byte(i>>8), byte(i>>16), 0, 0, 1, 0x68, byte(i), byte(i>>8), 0x88, 0, 0, 1, 0x65, 0x88, 0x80)
			return transport(0x100, true, byte(i), b)
		}},
		{"frames without a key frame of audio that never comes", func(i int) []byte {
			b := append(append([]byte(nil), begin...), 0, 0, 1, 0x41, 0x9A, 0x80)
			return transport(0x100, true, byte(i), b)
		}},
		{"a picture that goes on in packet after packet", func(i int) []byte {
			b := append(append([]byte(nil), begin...), bytes.Repeat([]byte{7}, 170)...)
			if i%8000 == 0 {
				copy(b[15:], "\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80\x00\x00\x01\x65\x88\x84\x00\x00\x01\x09\xF0\x00\x00\x01\x41\x9A")
			}
			return transport(0x100, true, byte(i), b)
		}},
		{"noise on the tracks", func(i int) []byte {
			return transport(uint16(0x100+i%2), random.IntN(5) == 0, byte(i/2), noise(make([]byte, 184)))
		}},
		{"noise", func(int) []byte {
			p := noise(make([]byte, 188))
			p[0] = 0x47
			return p
		}},
	} {
		for _, still := range []bool{false, true} { // a time that does not pass
			d := remux.NewDemux(remux.Options{})
			f := &media.Format{Kind: media.TS}
			now := time.Unix(0, 0)
			out := func(p media.Packet) { _ = p }
			d.Feed(media.Packet{Format: f, Arrival: now, Data: tables}, out)
			before := held()
			most := uint64(0)
			begun := time.Now()
			const packets = 50_000 // 9 MB: more than a unit may have
			for i := range packets {
				if !still {
					now = now.Add(100 * time.Microsecond)
				}
				d.Feed(media.Packet{Format: f, Arrival: now, Data: tt.next(i)}, out)
				if i%(packets/4) == packets/4-1 {
					most = max(most, held())
				}
			}
			_ = d.Streams()
			took := time.Since(begun)
			if most > before && most-before > 40<<20 {
				t.Errorf("%s: %d MB are kept", tt.name, (most-before)>>20)
			}
			t.Logf("%s: %d kB kept, %v a packet", tt.name, (int64(most)-int64(before))/1024, took/packets)
			runtime.KeepAlive(d)
		}
	}
}

// Nothing that comes makes a Demux panic, and what it puts out keeps to its
// promises. The stream has right tables and right counters, so that the bytes
// get as far as the codecs.
func FuzzDemux(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 0xD9, 0x40, 0, 0, 0, 1, 0x68, 0xCE, 0x3C, 0x80, 0, 0, 1, 0x65, 0x88}, uint8(0), uint16(40))
	f.Add([]byte{0, 0, 1, 0x40, 1, 2, 0, 0, 1, 0x42, 1, 1, 1, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x5D, 0, 0, 1, 0x44, 1, 0xC0, 0, 0, 1, 0x26, 1, 0xAF}, uint8(1), uint16(40))
	f.Add([]byte{0x12, 0, 0x0A, 0x0B, 0, 0, 0, 0x24, 0xC4, 0xFF, 0xDF, 0x3F, 0xFE, 0x02, 0x08, 0x32, 3, 0x10, 0, 0}, uint8(2), uint16(40))
	f.Add([]byte{0xFF, 0xF1, 0x4C, 0x80, 1, 0x3F, 0xFC, 1, 2, 3, 0xFF, 0xF1, 0x4C, 0x80, 1, 0x3F, 0xFC, 1, 2, 3}, uint8(3), uint16(9))
	f.Add([]byte{0x56, 0xE0, 9, 0x20, 0, 0x11, 0x90, 0x1F, 0xE0, 2, 1, 2, 0x56, 0xE0, 4, 0x80, 2, 1, 2}, uint8(4), uint16(9))
	f.Add([]byte{0xFF, 0xFB, 0x90, 0x64, 0, 0, 0, 0}, uint8(5), uint16(9))
	f.Add([]byte{0x0B, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xE1, 0x0B, 0x77, 0, 3, 0x34, 0x86}, uint8(6), uint16(9))
	f.Add([]byte{0x7F, 0xE0, 4, 0xFC, 1, 2, 3, 0x7F, 0xF4, 4, 0, 0, 1, 0, 0xFC, 1, 2, 3}, uint8(7), uint16(9))
	types := []mpegts.Stream{
		{Type: mpegts.H264},
		{Type: mpegts.HEVC},
		{Type: mpegts.Private, Descriptors: []byte{5, 4, 'A', 'V', '0', '1'}},
		{Type: mpegts.ADTS},
		{Type: mpegts.LATM},
		{Type: mpegts.MPEG1Audio},
		{Type: mpegts.EAC3},
		{Type: mpegts.Private, Descriptors: []byte{5, 4, 'O', 'p', 'u', 's', 0x7F, 2, 0x80, 2}},
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, cut uint16) {
		s := types[int(kind)%len(types)]
		s.PID = 0x100
		d := remux.NewDemux(remux.Options{})
		m := remux.NewMux()
		format := &media.Format{Kind: media.TS}
		now := time.Unix(0, 0)
		var out []media.Packet
		add := func(p media.Packet) {
			out = append(out, p)
			m.Feed(p, func(media.Packet) {})
		}
		feed := func(b []byte) {
			now = now.Add(10 * time.Millisecond)
			d.Feed(media.Packet{Format: format, Arrival: now, Data: b}, add)
		}
		feed(sectionPacket(0, 0, remux.PAT(mpegts.Program{Number: 1, PMT: 0x1000})))
		feed(sectionPacket(0x1000, 0, remux.ProgramMap(1, 0x100, s)))
		// The bytes in units of the given length, twice, so that there is a
		// second key frame.
		var cc byte
		at := int64(0)
		step := int(cut)%1500 + 1
		for range 2 {
			for b := data; len(b) > 0; b = b[min(step, len(b)):] {
				h := []byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5, 0x21 | byte(at>>29)&0x0E, byte(at >> 22), byte(at>>14) | 1, byte(at >> 7), byte(at<<1) | 1}
				unit := append(h, b[:min(step, len(b))]...)
				binary.BigEndian.PutUint16(unit[4:], uint16(len(unit)-6))
				for start := true; len(unit) > 0; start = false {
					n := min(184, len(unit))
					feed(transport(0x100, start, cc, unit[:n]))
					unit = unit[n:]
					cc++
				}
				at += 3600
			}
		}
		d.Flush(add)
		m.Flush(func(media.Packet) {})
		_, _ = d.Streams(), m.Streams()
		checkOrder(t, out)
		for _, p := range out {
			var err error
			if p.Track == media.Video {
				_, err = flv.ParseVideo(p.Data)
			} else {
				_, err = flv.ParseAudio(p.Data)
			}
			if err != nil {
				t.Fatalf("a message that says %v: %x", err, p.Data)
			}
			for _, h := range p.Format.Headers {
				var tag flv.Tag
				switch h.Track {
				case media.Video:
					tag, err = flv.ParseVideo(h.Data)
				case media.Audio:
					tag, err = flv.ParseAudio(h.Data)
				default:
					continue
				}
				if err != nil || !tag.Header {
					t.Fatalf("a header that says %+v, %v: %x", tag, err, h.Data)
				}
			}
		}
	})
}

// Nothing that a publisher sends makes a Mux panic or its stream wrong.
func FuzzMux(f *testing.F) {
	f.Add([]byte("\x17\x00\x00\x00\x00\x01\x42\xC0\x1E\xFF\xE1\x00\x05\x67\x42\xC0\x1E\xD9\x01\x00\x02\x68\xCE"), []byte("\x17\x01\x00\x00\x00\x00\x00\x00\x02\x65\x88"), []byte("\xAF\x00\x12\x10"), []byte("\xAF\x01abc"))
	f.Add([]byte("\x90hvc1\x01\x01\x60\x00\x00\x00\x00\x00\x00\x00\x00\x00\x5D\xF0\x00\xFC\xFD\xF8\xF8\x00\x00\x0F\x01\xA0\x00\x01\x00\x02\x40\x01"), []byte("\x91hvc1\x00\x00\x00\x00\x00\x00\x02\x26\x01"), []byte("\x90Opus"), []byte("\x91Opus\xFCabc"))
	f.Add([]byte("\x90av01\x81\x00\x00\x00\x0A\x01\x00"), []byte("\x91av01\x32\x01\x10"), []byte("\x2F\xFF\xFB\x90\x64"), []byte("\x91ac-3\x0B\x77\x00\x00\x14\x40\x43\xE1"))
	f.Fuzz(func(t *testing.T, videoHeader, video, audioHeader, audio []byte) {
		format := &media.Format{Kind: media.FLV, Clock: &media.Clock{}, Headers: []media.Header{{Track: media.Video, Data: videoHeader}, {Track: media.Audio, Data: audioHeader}}}
		other := &media.Format{Kind: media.FLV, Clock: format.Clock, Headers: []media.Header{{Track: media.Audio, Data: videoHeader}, {Track: media.Video, Data: audioHeader}}}
		m := remux.NewMux()
		now := time.Unix(0, 0)
		var continuity mpegts.Continuity
		clock := int64(-1)
		out := func(p media.Packet) {
			for b := p.Data; len(b) > 0; b = b[188:] {
				tp := mpegts.Packet(b[:188])
				if tp[0] != 0x47 || !continuity.Check(tp) {
					t.Fatalf("%x", tp)
				}
				if c, ok := tp.PCR(); ok {
					if c < clock && !tp.Discontinuity() {
						t.Fatalf("the clock goes from %d to %d", clock, c)
					}
					clock = c
				}
			}
		}
		for i := range 12 {
			fm := format
			if i >= 6 {
				fm = other
			}
			now = now.Add(20 * time.Millisecond)
			dts := int64(i) * 1800
			m.Feed(media.Packet{Format: fm, Track: media.Video, DTS: dts, PTS: dts, Arrival: now, Data: video}, out)
			m.Feed(media.Packet{Format: fm, Track: media.Audio, DTS: dts, PTS: dts, Arrival: now, Data: audio}, out)
			m.Tick(now.Add(10*time.Millisecond), out)
		}
		m.Flush(out)
		_ = m.Streams()
	})
}

func FuzzTransport(f *testing.F) {
	relaytest.EmulatorIsSlow(f, "minutes for the first seed")
	f.Add(append(sectionPacket(0, 0, remux.PAT(mpegts.Program{Number: 1, PMT: 0x1000})), sectionPacket(0x1000, 0, remux.ProgramMap(1, 0x100, mpegts.Stream{Type: mpegts.H264, PID: 0x100}))...), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		d := remux.NewDemux(remux.Options{})
		format := &media.Format{Kind: media.TS}
		now := time.Unix(0, 0)
		var out []media.Packet
		add := func(p media.Packet) { out = append(out, p) }
		for b := data; len(b) >= 188; b = b[188:] {
			now = now.Add(time.Duration(step) * 10 * time.Millisecond)
			d.Feed(media.Packet{Format: format, Arrival: now, Data: b[:188]}, add)
			d.Tick(now, add)
		}
		d.Flush(add)
		_ = d.Streams()
		checkOrder(t, out)
	})
}
