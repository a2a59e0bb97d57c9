package remux_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// A bench makes a stream of units by hand.
type bench struct {
	stream mpegts.Stream
	data   []byte
	cc     byte
}

func newBench(s mpegts.Stream) *bench {
	s.PID = 0x100
	return &bench{stream: s, data: append(
		sectionPacket(0, 0, remux.PAT(mpegts.Program{Number: 1, PMT: 0x1000})),
		sectionPacket(0x1000, 0, remux.ProgramMap(1, 0x100, s))...,
	)}
}

// unit adds a PES packet. Its time is in milliseconds, negative for none.
func (b *bench) unit(ms int64, data []byte) {
	b.ordered(ms, ms, data)
}

// ordered adds a PES packet with a DTS.
func (b *bench) ordered(ms, dts int64, data []byte) {
	stamp := func(mark byte, ms int64) []byte {
		t := ms * 90
		return []byte{mark | byte(t>>29)&0x0E, byte(t >> 22), byte(t>>14) | 1, byte(t >> 7), byte(t<<1) | 1}
	}
	h := []byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0, 0}
	switch {
	case ms < 0:
	case ms == dts:
		h[7], h[8] = 0x80, 5
		h = append(h, stamp(0x21, ms)...)
	default:
		h[7], h[8] = 0xC0, 10
		h = append(append(h, stamp(0x31, ms)...), stamp(0x11, dts)...)
	}
	u := append(h, data...)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)-6))
	for start := true; len(u) > 0; start = false {
		n := min(184, len(u))
		b.data = append(b.data, transport(0x100, start, b.cc, u[:n])...)
		u = u[n:]
		b.cc++
	}
}

// messages returns what comes of it.
func (b *bench) messages(t *testing.T) ([]media.Packet, *remux.Demux) {
	t.Helper()
	d := remux.NewDemux(remux.Options{})
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	d.Feed(media.Packet{Format: &media.Format{Kind: media.TS}, Arrival: time.Unix(0, 0), Data: b.data}, add)
	d.Flush(add)
	checkOrder(t, out)
	return out, d
}

func adtsFrame(payload string, crc bool) []byte {
	n := 7 + len(payload)
	h := []byte{0xFF, 0xF1, 0x4C, 0x80, 0, 0x1F, 0xFC} // LC, 48 kHz, stereo
	if crc {
		h[1] = 0xF0
		h = append(h, 0xAB, 0xCD)
		n += 2
	}
	h[3] |= byte(n >> 11)
	h[4] = byte(n >> 3)
	h[5] |= byte(n << 5)
	return append(h, payload...)
}

// latmFrame is an AudioMuxElement with its configuration: AAC-LC, 48 kHz,
// stereo; or with SBR on 24 kHz.
func latmFrame(payload string, sbr bool) []byte {
	// useSameStreamMux 0, audioMuxVersion 0, allStreamsSameTimeFraming 1,
	// numSubFrames, numProgram, numLayer 0: 15 bits.
	bits := "0" + "0" + "1" + "000000" + "0000" + "000"
	if sbr {
		bits += "00101" + "0110" + "0010" + "0011" + "00010" + "000"
	} else {
		bits += "00010" + "0011" + "0010" + "000"
	}
	bits += "000" + "11111111" + "0" + "0" // frameLengthType, fullness, otherData, crc
	for _, c := range append([]byte{byte(len(payload))}, payload...) {
		for i := 7; i >= 0; i-- {
			bits += string('0' + rune(c>>i&1))
		}
	}
	var b []byte
	for len(bits)%8 != 0 {
		bits += "0"
	}
	for i := 0; i < len(bits); i += 8 {
		var c byte
		for _, bit := range bits[i : i+8] {
			c = c<<1 | byte(bit-'0')
		}
		b = append(b, c)
	}
	return append([]byte{0x56, 0xE0, byte(len(b))}, b...)
}

// Audio frames are cut out of units as they come, and timed by them.
func TestAudioFrames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream mpegts.Stream
		units  map[int64][]byte // by their time in milliseconds, from 0 on
		header string
		want   map[int64]string // messages by their time, relative to the first
	}{
		{
			"ADTS, with and without CRC, across units",
			mpegts.Stream{Type: mpegts.ADTS},
			map[int64][]byte{
				1000: append(append(adtsFrame("one", false), adtsFrame("two", true)...), adtsFrame("three", false)[:5]...),
				1064: append(adtsFrame("three", false)[5:], adtsFrame("four", false)...),
			},
			"\xAF\x00\x11\x90",
			// four is the first that begins in its unit.
			map[int64]string{0: "\xAF\x01one", 21: "\xAF\x01two", 43: "\xAF\x01three", 64: "\xAF\x01four"},
		},
		{
			"ADTS after garbage",
			mpegts.Stream{Type: mpegts.ADTS},
			map[int64][]byte{1000: append([]byte{0xFF, 0xF1, 0x4C, 0x80, 1, 0x1F, 0xFC, 9, 9}, append(adtsFrame("one", false), adtsFrame("two", false)...)...)},
			"\xAF\x00\x11\x90",
			map[int64]string{0: "\xAF\x01one", 21: "\xAF\x01two"},
		},
		{
			"LATM",
			mpegts.Stream{Type: mpegts.LATM},
			map[int64][]byte{1000: append(latmFrame("one", false), latmFrame("three", false)...)},
			"\xAF\x00\x11\x90",
			map[int64]string{0: "\xAF\x01one", 21: "\xAF\x01three"},
		},
		{
			"LATM with SBR", // 5: SBR, 24 kHz, stereo, 48 kHz, 2: LC
			mpegts.Stream{Type: mpegts.LATM},
			map[int64][]byte{1000: append(latmFrame("one", true), latmFrame("three", true)...)},
			"\xAF\x00\x2B\x11\x88\x00",
			map[int64]string{0: "\xAF\x01one", 43: "\xAF\x01three"},
		},
		{
			"Opus, with trims, of 20 and 2.5 ms",
			mpegts.Stream{Type: mpegts.Private, Descriptors: []byte("\x05\x04Opus\x7F\x02\x80\x02")},
			map[int64][]byte{1000: []byte("\x7F\xF0\x04\x01\x38\xFCabc\x7F\xE0\x02\xE0a\x7F\xE0\x02\xFCz")},
			"\x90OpusOpusHead\x01\x02\x00\x00\x80\xBB\x00\x00\x00\x00\x00",
			map[int64]string{0: "\x91Opus\xFCabc", 20: "\x91Opus\xE0a", 23: "\x91Opus\xFCz"},
		},
		{
			"Opus of six channels",
			mpegts.Stream{Type: mpegts.Private, Descriptors: []byte("\x05\x04Opus\x7F\x02\x80\x06")},
			map[int64][]byte{1000: []byte("\x7F\xE0\x02\xFCz")},
			"\x90OpusOpusHead\x01\x06\x00\x00\x80\xBB\x00\x00\x00\x00\x01\x04\x02\x00\x04\x01\x02\x03\x05",
			map[int64]string{0: "\x91Opus\xFCz"},
		},
		{
			"E-AC-3 with a dependent frame",
			mpegts.Stream{Type: mpegts.EAC3},
			map[int64][]byte{1000: []byte("\x0B\x77\x00\x03\x3F\x86ab\x0B\x77\x40\x03\x3F\x86cd\x0B\x77\x00\x03\x3F\x86ef")},
			"\x90ec-3",
			map[int64]string{0: "\x91ec-3\x0B\x77\x00\x03\x3F\x86ab\x0B\x77\x40\x03\x3F\x86cd", 32: "\x91ec-3\x0B\x77\x00\x03\x3F\x86ef"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(tt.stream)
			for ms := int64(0); ms < 2000; ms++ {
				if u := tt.units[ms]; u != nil {
					b.unit(ms, u)
				}
			}
			out, d := b.messages(t)
			if len(out) != len(tt.want) {
				t.Fatalf("%d messages, want %d; %+v", len(out), len(tt.want), d.Counters())
			}
			for _, p := range out {
				if want, ok := tt.want[p.DTS/90]; !ok || string(p.Data) != want || p.Track != media.Audio || !p.RandomAccess {
					t.Errorf("%d ms: %q, want %q", p.DTS/90, p.Data, want)
				}
			}
			h := out[0].Format.Headers
			switch {
			case tt.header == "" && len(h) != 1, tt.header != "" && (len(h) != 2 || string(h[1].Data) != tt.header):
				t.Errorf("headers %v, want %q", h, tt.header)
			}
			// And back: the same frames come out of what a Mux makes of them.
			again, m := mux(out)
			back, _ := demux(t, remux.Options{}, checkTS(t, again))
			if len(back) != len(out) {
				t.Fatalf("%d messages come back, want %d; %+v", len(back), len(out), m.Counters())
			}
			for i := range back {
				if !bytes.Equal(back[i].Data, out[i].Data) || back[i].DTS != out[i].DTS {
					t.Errorf("%d ms: %q comes back at %d ms as %q", out[i].DTS/90, out[i].Data, back[i].DTS/90, back[i].Data)
				}
			}
		})
	}
}

// What cannot be carried is told with a reason, and the next track of its kind
// takes its place.
func TestUnfitAudio(t *testing.T) {
	b := newBench(mpegts.Stream{Type: mpegts.MPEG1Audio})
	b.data = append(b.data, sectionPacket(0x1000, 1, remux.ProgramMap(1, 0x100, mpegts.Stream{Type: mpegts.MPEG1Audio, PID: 0x100}, mpegts.Stream{Type: mpegts.ADTS, PID: 0x101}))...)
	layerII := append([]byte{0xFF, 0xFD, 0x14, 0}, make([]byte, 92)...) // 32 kbit/s, 48 kHz
	b.unit(1000, layerII)
	at := len(b.data)
	b.cc = 0
	b.unit(1000, adtsFrame("one", false))
	b.data[at+1] |= 1
	b.data[at+2] = 1 // PID 0x101
	out, d := b.messages(t)
	if len(out) != 1 || string(out[0].Data) != "\xAF\x01one" {
		t.Errorf("%d messages", len(out))
	}
	s := d.Streams()[0].Streams
	if s[0].Carried || s[0].Reason == "" || !s[1].Carried || d.Counters().Dropped["codec"] != 1 {
		t.Errorf("%+v, %+v", s, d.Counters())
	}
}

// box returns the body of the first box of a type in an MP4 file.
func box(t *testing.T, file, kind string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(kind))
	if at < 4 {
		t.Fatalf("%s has no %s", file, kind)
	}
	return b[at+4 : at-4+int(binary.BigEndian.Uint32(b[at-4:]))]
}

// The configurations that are made of the streams are those that ffmpeg makes
// for MP4, but for what neither knows.
func TestConfigurations(t *testing.T) {
	for _, tt := range []struct {
		box   string
		video []string
		skip  []int // bytes that are hints
	}{
		{"avcC", append(x264, "-g", "25"), nil},
		{"avcC", append(x264, "-g", "25", "-profile:v", "high422", "-pix_fmt", "yuv422p10le"), nil},
		{"hvcC", x265, []int{13, 14, 15}}, // min_spatial_segmentation_idc, parallelismType
	} {
		file, data := source{seconds: 1, video: tt.video}.make(t)
		out, d := demux(t, remux.Options{}, data)
		mp4 := filepath.Join(t.TempDir(), "out.mp4")
		run(t, "ffmpeg", "-v", "error", "-nostdin", "-i", file, "-c", "copy", mp4)
		want := bytes.Clone(box(t, mp4, tt.box))
		tag, err := flv.ParseVideo(out[0].Format.Headers[1].Data)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(tag.Payload)
		for _, i := range tt.skip {
			got[i], want[i] = 0, 0
		}
		if tt.box == "hvcC" { // array_completeness
			for _, b := range [][]byte{got, want} {
				for at, n := 23, int(b[22]); n > 0; n-- {
					b[at] &= 0x7F
					sets := int(b[at+2])
					for at += 3; sets > 0; sets-- {
						at += 2 + int(binary.BigEndian.Uint16(b[at:]))
					}
				}
			}
			// ffmpeg adds an array of SEI, and says so in the count.
			got, want = append(got[:22:22], got[23:]...), append(want[:22:22], want[23:]...)
			want = want[:min(len(got), len(want))]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s %v:\ngot  %x\nwant %x", tt.box, tt.video, got, want)
		}
		if s := d.Streams()[0].Streams[0]; s.Width != 320 || s.Height != 180 || s.FrameRate != 25 {
			t.Errorf("%+v", s)
		}
	}
}

// AV1 out of a transport stream, in both ways in which encoders put it there,
// is the temporal units that libaom made, with the configuration that ffmpeg
// gives them; and the same again after a way back.
func TestAV1(t *testing.T) {
	dir := t.TempDir()
	obu, mp4 := filepath.Join(dir, "out.obu"), filepath.Join(dir, "out.mp4")
	run(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2", "-pix_fmt", "yuv420p",
		"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0", "-g", "20", "-threads", "1", mp4)
	run(t, "ffmpeg", "-v", "error", "-nostdin", "-i", mp4, "-c", "copy", "-f", "obu", obu)
	file, err := os.ReadFile(obu)
	if err != nil {
		t.Fatal(err)
	}
	var units [][]byte
	for b := file; len(b) > 0; {
		if !bytes.HasPrefix(b, []byte{0x12, 0}) {
			t.Fatalf("no temporal delimiter: %x", b[:2])
		}
		end := 2
		for end < len(b) && b[end]>>3 != 2 {
			n, shift := 0, 0
			at := end + 1
			for ; ; at++ {
				n |= int(b[at]&0x7F) << shift
				shift += 7
				if b[at]&0x80 == 0 {
					break
				}
			}
			end = at + 1 + n
		}
		units, b = append(units, b[2:end]), b[end:]
	}
	keys := 0
	for _, f := range bytes.Fields([]byte(run(t, "ffprobe", "-v", "error", "-show_entries", "packet=flags", "-of", "csv=p=0", mp4))) {
		if f[0] == 'K' {
			keys++
		}
	}
	configuration := box(t, mp4, "av1C")
	var before []media.Packet
	check := func(name string, out []media.Packet) {
		t.Helper()
		if len(out) != len(units) || len(units) != 50 {
			t.Fatalf("%s: %d messages of %d units", name, len(out), len(units))
		}
		n := 0
		for i, p := range out {
			tag, err := flv.ParseVideo(p.Data)
			if err != nil || tag.Codec != flv.AV1 || tag.Key != p.RandomAccess || !bytes.Equal(tag.Payload, units[i]) {
				t.Fatalf("%s: message %d: %+v, %v", name, i, tag, err)
			}
			if tag.Key {
				n++
			}
		}
		if n != keys || keys < 2 || !out[0].RandomAccess {
			t.Errorf("%s: %d key frames, want %d", name, n, keys)
		}
		tag, err := flv.ParseVideo(out[0].Format.Headers[1].Data)
		if err != nil || !tag.Header || !bytes.Equal(tag.Payload, configuration) {
			t.Errorf("%s: configuration %x, %v, want %x", name, tag.Payload, err, configuration)
		}
		before = out
	}
	b := newBench(mpegts.Stream{Type: mpegts.Private, Descriptors: []byte("\x05\x04AV01")})
	for i, u := range units {
		b.unit(int64(1000+40*i), append([]byte{0x12, 0}, u...))
	}
	out, d := b.messages(t)
	check("bare", out)
	if s := d.Streams()[0].Streams[0]; s.Width != 320 || s.Height != 180 || s.FrameRate != 25 {
		t.Errorf("%+v", s)
	}
	again, _ := mux(before)
	out, _ = demux(t, remux.Options{}, checkTS(t, again))
	check("with start codes", out)
}

// A picture that is longer than a PES packet which says its length can be goes
// on in others, which have no time; one of which a part is missing is dropped.
func TestLongPictures(t *testing.T) {
	sets := []byte("\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80")
	slice := append([]byte{0x65, 0x88}, bytes.Repeat([]byte{7}, 150_000)...)
	long := append(append(bytes.Clone(sets), 0, 0, 1), slice...)
	small := []byte("\x00\x00\x01\x41\x9A\x80")
	for _, missing := range []bool{false, true} {
		b := newBench(mpegts.Stream{Type: mpegts.H264})
		b.unit(1000, append(append(bytes.Clone(sets), 0, 0, 1), slice[:100]...))
		b.unit(1040, long[:65_000])
		at := len(b.data)
		b.unit(-1, long[65_000:130_000])
		if missing {
			b.data = append(b.data[:at+188], b.data[at+376:]...)
		}
		b.unit(-1, long[130_000:])
		b.unit(1080, long[:61_000]) // not quite full, and alone
		b.unit(1120, small)
		b.unit(1160, append(append([]byte(nil), small...), make([]byte, 60_000)...)) // and the last
		out, d := b.messages(t)
		want := []int{100, len(slice), 61_000 - len(sets) - 3, 3, 3}
		if missing {
			want = []int{100, 61_000 - len(sets) - 3, 3, 3}
		}
		if len(out) != len(want) {
			t.Fatalf("missing %v: %d messages, want %d; %+v", missing, len(out), len(want), d.Counters())
		}
		for i, p := range out {
			if len(p.Data) != 5+4+want[i] {
				t.Errorf("missing %v: message %d: %d bytes, want %d", missing, i, len(p.Data), 9+want[i])
			}
		}
		if n := d.Counters().Dropped["damaged"]; (n > 0) != missing {
			t.Errorf("missing %v: %d damaged", missing, n)
		}
	}
}

// A PES packet that holds several pictures gives one message for each.
func TestSeveralPictures(t *testing.T) {
	b := newBench(mpegts.Stream{Type: mpegts.H264})
	delimiter, small := "\x00\x00\x00\x01\x09\xF0", "\x00\x00\x01\x41\x9A\x80"
	b.unit(1000, []byte(delimiter+"\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80\x00\x00\x01\x65\x88"))
	b.unit(1040, []byte(delimiter+small))
	b.unit(1080, []byte(delimiter+small+delimiter+small))
	b.unit(1160, []byte(delimiter+small))
	out, d := b.messages(t)
	if len(out) != 5 || len(d.Counters().Dropped) > 0 {
		t.Fatalf("%d messages, %+v", len(out), d.Counters())
	}
	for i, p := range out {
		if p.DTS != int64(i)*40*90 || p.RandomAccess != (i == 0) {
			t.Errorf("message %d: %d ms", i, p.DTS/90)
		}
	}
}

// endless adds a PES packet that does not say its length: the last transport
// packet is filled up before it.
func (b *bench) endless(ms, dts int64, data []byte) {
	sized := &bench{stream: b.stream, cc: b.cc}
	sized.ordered(ms, dts, data)
	b.cc = sized.cc
	p := sized.data
	p[8], p[9] = 0, 0
	last := p[len(p)-188:]
	if n := (9 + int(p[12]) + len(data)) % 184; n > 0 {
		payload := bytes.Clone(last[4 : 4+n])
		last[3] |= 0x20
		last[4] = byte(183 - n)
		if n < 183 {
			last[5] = 0
			copy(last[6:], bytes.Repeat([]byte{0xFF}, 182-n))
		}
		copy(last[188-n:], payload)
	}
	b.data = append(b.data, p...)
}

// What stands before the first start code of a packet is the end of a picture
// whose beginning is not there: it is damage, and what follows it is not.
func TestPacketsThatBeginInAPicture(t *testing.T) {
	delimiter, picture := "\x00\x00\x00\x01\x09\xF0", "\x00\x00\x01\x41\x9A"+string(bytes.Repeat([]byte{7}, 500))
	for _, tt := range []struct {
		name    string
		before  string
		damaged uint64
	}{
		{"nothing", "", 0},
		{"zeros", "\x00\x00\x00", 0},
		{"the end of a picture", string(bytes.Repeat([]byte{7}, 300)), 1},
		{"its last byte", "\x80", 1},
	} {
		b := newBench(mpegts.Stream{Type: mpegts.H264})
		b.endless(1000, 1000, []byte(delimiter+"\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80\x00\x00\x01\x65\x88\x84"))
		b.endless(1040, 1040, []byte(tt.before+delimiter+picture))
		b.endless(1080, 1080, []byte(delimiter+picture))
		out, d := b.messages(t)
		if len(out) != 3 || d.Counters().Dropped["damaged"] != tt.damaged {
			t.Fatalf("%s: %d messages, %+v", tt.name, len(out), d.Counters())
		}
		for i, p := range out {
			if p.DTS != int64(i)*40*90 || i > 0 && string(p.Data[9:]) != picture[3:] {
				t.Errorf("%s: message %d at %d ms: %x", tt.name, i, p.DTS/90, p.Data)
			}
		}
	}
	// And when nothing but that comes.
	b := newBench(mpegts.Stream{Type: mpegts.H264})
	b.endless(1000, 1000, bytes.Repeat([]byte{7}, 300))
	if out, d := b.messages(t); len(out) > 0 || d.Counters().Dropped["damaged"] != 1 {
		t.Errorf("%d messages, %+v", len(out), d.Counters())
	}
}
