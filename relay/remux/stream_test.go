package remux_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// sectionPacket puts a section into a packet.
func sectionPacket(pid uint16, cc byte, section []byte) []byte {
	p := append([]byte{0x47, 0x40 | byte(pid>>8), byte(pid), 0x10 | cc&15, 0}, section...)
	return append(p, bytes.Repeat([]byte{0xFF}, 188-len(p))...)
}

// retable replaces the tables of a stream.
func retable(data []byte, tables map[uint16][]byte) []byte {
	out := bytes.Clone(data)
	for o := 0; o < len(out); o += 188 {
		p := mpegts.Packet(out[o : o+188])
		if s := tables[p.PID()]; s != nil {
			copy(p, sectionPacket(p.PID(), p.Continuity(), s))
		}
	}
	return out
}

// frameKey tells one frame from every other.
type frameKey struct {
	track int
	sum   [32]byte
}

func key(p media.Packet) frameKey {
	b := bytes.Clone(p.Data)
	if p.Track == media.Video {
		copy(b[2:5], []byte{0, 0, 0}) // composition time
	}
	return frameKey{p.Track, sha256.Sum256(b)}
}

// Of a stream with losses every frame that is whole arrives, once, unchanged
// and in its place; and no other.
func TestLosses(t *testing.T) {
	_, data := source{seconds: 4, video: append(x264, "-g", "25", "-bf", "2", "-b:v", "400k"), audio: aac}.make(t)
	whole, _ := demux(t, remux.Options{}, data)
	times := map[frameKey]int64{}
	for _, p := range whole {
		times[key(p)] = p.PTS
	}
	for _, rate := range []float64{0.01, 0.03, 0.1} {
		random := rand.New(rand.NewPCG(1, 2))
		var left []byte
		lost := map[uint16][]bool{} // of the units of each PID, in order
		garbage := 0
		for o := 0; o < len(data); o += 188 {
			p := mpegts.Packet(data[o : o+188])
			if p.UnitStart() {
				lost[p.PID()] = append(lost[p.PID()], false)
			}
			if random.Float64() < rate && o > 20*188 {
				if n := len(lost[p.PID()]); n > 0 {
					lost[p.PID()][n-1] = true
				}
				if random.IntN(3) == 0 { // garbage in its place
					bad := bytes.Clone(p)
					bad[1] |= 0x80
					left = append(left, bad...)
					garbage++
				}
				continue
			}
			left = append(left, p...)
		}
		out, d := demux(t, remux.Options{}, left)
		offset, first := int64(0), true
		seen := map[frameKey]bool{}
		var count [2]int
		for _, p := range out {
			k := key(p)
			pts, known := times[k]
			if !known || seen[k] {
				t.Fatalf("%v: a frame of track %d that was not in the stream, or a second time", rate, p.Track)
			}
			seen[k] = true
			if first {
				offset, first = p.PTS-pts, false
			}
			if d := p.PTS - pts - offset; d < -90 || d > 90 {
				t.Fatalf("%v: a frame is %d ms from its place", rate, d/90)
			}
			count[p.Track-media.Audio]++
		}
		// Video has a frame in each unit. What a lost start of the next unit
		// leaves without an end may be missing too.
		intact := 0
		for i, l := range lost[0x100] {
			if !l && i > 0 {
				intact++
			}
		}
		if count[1] < intact*99/100-2 {
			t.Errorf("%v: %d pictures of %d that are whole", rate, count[1], intact)
		}
		c := d.Counters()
		if c.Dropped["damaged"] == 0 || c.Jumps != 0 || c.Repaired != 0 {
			t.Errorf("%v: %+v", rate, c)
		}
		t.Logf("%v: %d of %d pictures, %d whole; %d of audio; %+v", rate, count[1], len(lost[0x100]), intact, count[0], c)
	}
}

// Where the source's clock jumps, in whatever direction, times go on, and audio
// and video stay together.
func TestJumps(t *testing.T) {
	video := append(x264, "-g", "25", "-bf", "2")
	parts := [][]byte{}
	for _, offset := range []string{"100", "50000", "3", "95440.5", "20"} {
		_, data := source{seconds: 2, video: video, audio: aac, mux: []string{"-output_ts_offset", offset}}.make(t)
		parts = append(parts, data)
	}
	alone, _ := demux(t, remux.Options{}, parts[0])
	d := remux.NewDemux(remux.Options{})
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	p := newPacer()
	for _, data := range parts {
		p.feed(d, data, 2*time.Second, add)
	}
	d.Flush(add)
	checkOrder(t, out)
	if c := d.Counters(); c.Jumps != uint64(len(parts)-1) {
		t.Errorf("%+v", c)
	}
	clocks := map[*media.Clock]bool{}
	var last [2]int64
	var n [2]int
	for _, p := range out {
		clocks[p.Format.Clock] = true
		i := p.Track - media.Audio
		if step := p.DTS - last[i]; n[i] > 0 && step > 160*90 {
			t.Errorf("track %d: %d ms after %d ms", p.Track, step/90, last[i]/90)
		}
		last[i] = p.DTS
		n[i]++
	}
	if len(clocks) != 1 {
		t.Errorf("%d clocks", len(clocks))
	}
	if d := last[0] - last[1]; d > 150*90 || d < -150*90 {
		t.Errorf("audio ends %d ms after video", d/90)
	}
	// Of each part the same frames are as far apart as in the first alone.
	apart := func(out []media.Packet) (gaps []int64) {
		pictures := map[frameKey]int64{}
		for _, p := range alone {
			if p.Track == media.Video {
				pictures[key(p)] = p.PTS
			}
		}
		first, _ := firstOf(alone, media.Audio)
		sum := key(first)
		var picture, sound []int64
		firstPicture, _ := firstOf(alone, media.Video)
		for _, p := range out {
			switch key(p) {
			case sum:
				sound = append(sound, p.PTS)
			case key(firstPicture):
				picture = append(picture, p.PTS)
			}
		}
		for i := range min(len(sound), len(picture)) {
			gaps = append(gaps, sound[i]-picture[i])
		}
		return gaps
	}
	want, got := apart(alone), apart(out)
	if len(got) != len(parts) {
		t.Fatalf("the first frames came %d times, want %d", len(got), len(parts))
	}
	for i, g := range got {
		if d := g - want[0]; d > 90 || d < -90 {
			t.Errorf("part %d: audio moved by %d ms against video", i, d/90)
		}
	}
	t.Logf("%d messages, %+v, %v", len(out), d.Counters(), got)
}

func firstOf(out []media.Packet, track int) (media.Packet, bool) {
	for _, p := range out {
		if p.Track == track {
			return p, true
		}
	}
	return media.Packet{}, false
}

// Parameter sets that change are announced in a new format of the same clock.
func TestNewParameterSets(t *testing.T) {
	_, a := source{seconds: 2, video: append(x264, "-g", "25"), audio: aac}.make(t)
	_, b := source{seconds: 2, video: append(x264, "-g", "25", "-vf", "scale=160:90"), audio: aac, mux: []string{"-output_ts_offset", "2"}}.make(t)
	out, d := demux(t, remux.Options{}, append(bytes.Clone(a), b...))
	var formats []*media.Format
	for _, p := range out {
		if len(formats) == 0 || formats[len(formats)-1] != p.Format {
			formats = append(formats, p.Format)
		}
	}
	if len(formats) != 2 || formats[0].Clock != formats[1].Clock {
		t.Fatalf("%d formats", len(formats))
	}
	if h := formats[1].Headers; len(h) != 3 || h[0].Track != media.Data || h[1].Track != media.Video || h[2].Track != media.Audio ||
		bytes.Equal(h[1].Data, formats[0].Headers[1].Data) || !bytes.Equal(h[2].Data, formats[0].Headers[2].Data) {
		t.Errorf("headers: %v", h)
	}
	s := d.Streams()[0].Streams[0]
	if s.Width != 160 || s.Height != 90 {
		t.Errorf("%+v", s)
	}
	file := filepath.Join(t.TempDir(), "out.flv")
	writeFLV(t, file, out)
	if frames, _ := decode(t, file, "v"); len(frames) != 100 {
		t.Errorf("ffmpeg decodes %d frames, want 100", len(frames))
	}
}

// Splice information, KLV, a second audio track and another programme break
// nothing, and are counted by their reason.
func TestWhatIsNotCarried(t *testing.T) {
	file, one := source{video: append(x264, "-g", "25"), audio: aac}.make(t)
	_, two := source{
		video: append(x264, "-g", "25", "-vf", "scale=160:90"), audio: aac,
		mux: []string{"-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100", "-mpegts_service_id", "2"},
	}.make(t)
	h264 := mpegts.Stream{Type: mpegts.H264, PID: 0x100}
	sound := mpegts.Stream{Type: mpegts.ADTS, PID: 0x101}
	second := mpegts.Stream{Type: mpegts.ADTS, PID: 0x102}
	splice := mpegts.Stream{Type: mpegts.SCTE35, PID: 0x1F0}
	klv := mpegts.Stream{Type: mpegts.Private, PID: 0x1F1, Descriptors: []byte{5, 4, 'K', 'L', 'V', 'A'}}
	old := mpegts.Stream{Type: mpegts.MPEG2Video, PID: 0x103}
	tables := map[uint16][]byte{
		0:      remux.PAT(mpegts.Program{Number: 1, PMT: 0x1000}, mpegts.Program{Number: 2, PMT: 0x1100}),
		0x1000: remux.ProgramMap(1, 0x100, splice, old, h264, sound, second, klv),
	}
	one = retable(one, tables)
	two = retable(two, tables)
	// Both together, with packets on the other PIDs, and of tables of no use.
	var both []byte
	random := rand.New(rand.NewPCG(3, 4))
	for a, b := one, two; len(a)+len(b) > 0; {
		from := &a
		if len(a) == 0 || len(b) > 0 && random.IntN(2) == 0 {
			from = &b
		}
		p := mpegts.Packet((*from)[:188])
		*from = (*from)[188:]
		if p.PID() == 0 && from == &b {
			continue // of the tables that are the same, one
		}
		both = append(both, p...)
		if random.IntN(4) == 0 {
			pid := []uint16{0x102, 0x103, 0x1F0, 0x1F1, 0x1AA, 0x1FFF}[random.IntN(6)]
			x := make([]byte, 188)
			x[0], x[1], x[2], x[3] = 0x47, byte(pid>>8)|0x40*byte(random.IntN(2)), byte(pid), 0x10|byte(random.IntN(16))
			both = append(both, x...)
		}
	}
	alone, _ := demux(t, remux.Options{}, one)
	other, _ := demux(t, remux.Options{Program: 2}, two)
	for program, want := range map[uint16][]media.Packet{0: alone, 1: alone, 2: other} {
		got, d := demux(t, remux.Options{Program: program}, both)
		frames := map[frameKey]bool{}
		for _, p := range got {
			frames[key(p)] = true
		}
		if len(got) != len(want) || len(frames) != len(want) {
			t.Errorf("programme %d: %d messages, want %d", program, len(got), len(want))
		}
		for _, p := range want {
			if !frames[key(p)] {
				t.Errorf("programme %d: a frame of track %d is missing", program, p.Track)
			}
		}
		c := d.Counters().Dropped
		if program != 2 && (c["second_track"] == 0 || c["data"] == 0 || c["codec"] == 0) || c["other_program"] == 0 || c["unknown_pid"] == 0 || c["damaged"] > 0 {
			t.Errorf("programme %d: %v", program, c)
		}
		t.Logf("programme %d: %v", program, c)
		for _, p := range d.Streams() {
			for _, s := range p.Streams {
				if s.Carried == (s.Reason != "") || p.Chosen != (p.Number == max(program, 1)) {
					t.Errorf("%+v", s)
				}
			}
		}
	}
	got, _ := demux(t, remux.Options{}, both)
	flv := filepath.Join(t.TempDir(), "out.flv")
	writeFLV(t, flv, got)
	compareFiles(t, file, flv, source{video: x264, audio: aac})
}

// A source that is another one is on another clock, from its beginning.
func TestRestart(t *testing.T) {
	_, data := source{seconds: 2, video: append(x264, "-g", "25"), audio: aac}.make(t)
	d := remux.NewDemux(remux.Options{})
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	for range 3 {
		p := newPacer()
		p.feed(d, data, 2*time.Second, add)
	}
	d.Flush(add)
	var clocks []*media.Clock
	var n []int
	for _, p := range out {
		if len(clocks) == 0 || clocks[len(clocks)-1] != p.Format.Clock {
			clocks, n = append(clocks, p.Format.Clock), append(n, 0)
			if p.DTS != 0 {
				t.Errorf("a clock begins at %d", p.DTS)
			}
		}
		n[len(n)-1]++
	}
	if len(clocks) != 3 || n[0] != n[1] || n[1] != n[2] {
		t.Errorf("%d clocks, %v messages", len(clocks), n)
	}
}

// A message leaves at most 20 ms after the last packet of its frame came,
// though units do not tell their length.
func TestDelay(t *testing.T) {
	_, data := source{seconds: 4, video: append(x264, "-g", "25", "-b:v", "1000k"), audio: aac, mux: []string{"-muxrate", "2000k"}}.make(t)
	d := remux.NewDemux(remux.Options{})
	p := newPacer()
	each := 4 * time.Second * 188 / time.Duration(len(data))
	var now time.Time
	var came []time.Time // when the last packet of each picture came
	var worst time.Duration
	pictures := 0
	out := func(q media.Packet) {
		if q.Track == media.Video {
			if pictures > 25 { // the start waits for the other track
				worst = max(worst, now.Sub(came[pictures]))
			}
			pictures++
		}
	}
	for o := 0; o < len(data); o += 188 {
		now = p.now.Add(time.Duration(o/188) * each)
		if tp := mpegts.Packet(data[o : o+188]); tp.PID() == 0x100 && tp.HasPayload() {
			if tp.UnitStart() {
				came = append(came, now)
			}
			came[len(came)-1] = now
		}
		d.Feed(media.Packet{Format: p.format, Arrival: now, Data: data[o : o+188]}, out)
		d.Tick(now, out)
	}
	if worst > 25*time.Millisecond || pictures < 90 {
		t.Errorf("%d pictures, of which one was held for %v", pictures, worst)
	}
	t.Logf("%d pictures, held for %v at most", pictures, worst)
}

// Where a stream leaves DTS out though it has B-frames, pictures keep the times
// at which they are shown, and DTS are made for them.
func TestWithoutDTS(t *testing.T) {
	for name, video := range map[string][]string{"H.264": append(x264, "-g", "25", "-bf", "3"), "HEVC": x265} {
		file, data := source{video: video, audio: aac}.make(t)
		for o := 0; o < len(data); o += 188 {
			p := mpegts.Packet(data[o : o+188])
			b := p.Payload()
			if p.PID() != 0x100 || !p.UnitStart() || b[7]&0xC0 != 0xC0 {
				continue
			}
			b[7] &^= 0x40
			b[9] = b[9]&0x0F | 0x20
			copy(b[14:19], []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
		}
		out, d := demux(t, remux.Options{Hold: 500 * time.Millisecond}, data)
		if c := d.Counters(); c.Jumps > 0 || c.Repaired > 0 || len(c.Dropped) > 0 {
			t.Errorf("%s: %+v", name, c)
		}
		var previous int64
		for i, p := range out {
			if p.Track != media.Video {
				continue
			}
			if step := p.DTS - previous; i > 10 && (step > 60*90 || step < 20*90) {
				t.Errorf("%s: DTS rises by %d ms", name, step/90)
			}
			previous = p.DTS
		}
		for i := range out {
			out[i].Arrival = time.Unix(1000, 0).Add(time.Duration(out[i].DTS) * time.Second / 90000)
		}
		after, _ := mux(out)
		again := filepath.Join(t.TempDir(), "out.ts")
		if err := os.WriteFile(again, checkTS(t, after), 0o600); err != nil {
			t.Fatal(err)
		}
		compareFiles(t, file, again, source{video: video, audio: aac})
	}
}

// A source that moves its tracks to other PIDs loses no frame.
func TestNewPIDs(t *testing.T) {
	_, a := source{seconds: 2, video: append(x264, "-g", "25"), audio: aac}.make(t)
	_, b := source{seconds: 2, video: append(x264, "-g", "25"), audio: aac, mux: []string{"-mpegts_start_pid", "0x200", "-output_ts_offset", "2"}}.make(t)
	first, _ := demux(t, remux.Options{}, a)
	second, _ := demux(t, remux.Options{}, b)
	out, d := demux(t, remux.Options{}, append(bytes.Clone(a), b...))
	// Only the last picture, whose end nothing tells, may be missing.
	if n := len(first) + len(second); len(out) < n-1 || len(out) > n || d.Counters().Jumps > 0 {
		t.Errorf("%d messages, want %d; %+v", len(out), n, d.Counters())
	}
}
