package remux_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: see scripts/deps", name)
	}
	var faults bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, faults.String())
	}
	return string(out)
}

// A source is what ffmpeg makes a transport stream of.
type source struct {
	rate    string // frames per second
	seconds int
	sound   int // Hz
	video   []string
	audio   []string
	mux     []string
	format  string // of the file; MPEG-TS by default
}

func (s source) make(t *testing.T) (file string, data []byte) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "source.ts")
	args := []string{"-v", "error", "-nostdin", "-y"}
	if s.seconds == 0 {
		s.seconds = 3
	}
	if s.rate == "" {
		s.rate = "25"
	}
	if s.sound == 0 {
		s.sound = 48000
	}
	if s.video != nil {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x180:rate=%s:duration=%d", s.rate, s.seconds))
	}
	if s.audio != nil { // no two frames are alike
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("aevalsrc=0.3*random(0)|0.3*random(1)+0.2*sin(440*2*PI*t):s=%d:d=%d", s.sound, s.seconds))
	}
	args = append(append(args, s.video...), s.audio...)
	if s.format == "" {
		s.format = "mpegts"
	}
	run(t, "ffmpeg", append(append(args, s.mux...), "-f", s.format, file)...)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, data
}

var (
	x264 = []string{"-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-pix_fmt", "yuv420p"}
	aac  = []string{"-c:a", "aac", "-b:a", "128k"}
)

// A pacer feeds a transport stream as a network would: in datagrams, spread
// evenly over its time.
type pacer struct {
	format *media.Format
	now    time.Time
	size   int // packets in a datagram
}

func newPacer() *pacer {
	return &pacer{format: &media.Format{Kind: media.TS}, now: time.Unix(1000, 0), size: 7}
}

func (p *pacer) feed(d *remux.Demux, data []byte, length time.Duration, out func(media.Packet)) {
	step := p.size * 188
	each := length * time.Duration(step) / time.Duration(max(len(data), 1))
	for n := 0; n < len(data); n += step {
		d.Feed(media.Packet{Format: p.format, Arrival: p.now, Data: data[n:min(n+step, len(data))]}, out)
		p.now = p.now.Add(each)
	}
}

// demux takes a whole stream.
func demux(t *testing.T, o remux.Options, data []byte) ([]media.Packet, *remux.Demux) {
	t.Helper()
	d := remux.NewDemux(o)
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	newPacer().feed(d, data, 3*time.Second, add)
	d.Flush(add)
	checkOrder(t, out)
	return out, d
}

// checkOrder holds messages to what a Demux promises.
func checkOrder(t *testing.T, out []media.Packet) {
	t.Helper()
	last := map[int]int64{}
	for i, p := range out {
		switch {
		case p.Format == nil || p.Format.Kind != media.FLV || p.Format.Clock == nil:
			t.Fatalf("message %d has the format %+v", i, p.Format)
		case p.DTS%90 != 0 || p.PTS%90 != 0:
			t.Fatalf("message %d is not at whole milliseconds: %d, %d", i, p.DTS, p.PTS)
		case p.PTS < p.DTS:
			t.Fatalf("message %d: PTS %d before DTS %d", i, p.PTS, p.DTS)
		case p.DTS < 0:
			t.Fatalf("message %d: DTS %d", i, p.DTS)
		}
		before, ok := last[p.Track]
		if ok && (p.DTS < before || p.Track == media.Video && p.DTS == before) {
			t.Fatalf("message %d of track %d: DTS %d after %d", i, p.Track, p.DTS, before)
		}
		last[p.Track] = p.DTS
	}
}

// writeFLV makes a file of messages (FLV E.2 to E.4.1).
func writeFLV(t *testing.T, file string, packets []media.Packet) {
	t.Helper()
	b := []byte{'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0}
	tag := func(track int, dts int64, data []byte) {
		ms := uint32(dts / 90)
		b = append(b, byte(track), byte(len(data)>>16), byte(len(data)>>8), byte(len(data)), byte(ms>>16), byte(ms>>8), byte(ms), byte(ms>>24), 0, 0, 0)
		b = append(b, data...)
		b = binary.BigEndian.AppendUint32(b, uint32(11+len(data)))
	}
	var format *media.Format
	for _, p := range packets {
		if p.Format != format {
			format = p.Format
			for _, h := range format.Headers {
				tag(h.Track, p.DTS, h.Data)
			}
		}
		tag(p.Track, p.DTS, p.Data)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A decoded is a frame that came out of a decoder.
type decoded struct {
	pts float64 // seconds
	md5 string
}

// decode returns the frames of the first video and audio track, as ffmpeg
// decodes them.
func decode(t *testing.T, file string, tracks string) (video, audio []decoded) {
	t.Helper()
	for _, kind := range tracks {
		args := []string{"-v", "error", "-nostdin", "-copyts", "-i", file, "-map", "0:" + string(kind) + ":0"}
		if kind == 'v' {
			args = append(args, "-vsync", "passthrough", "-enc_time_base", "1:90000")
		}
		frames := parseMD5(t, run(t, "ffmpeg", append(args, "-f", "framemd5", "-")...))
		if kind == 'v' {
			video = frames
		} else {
			audio = frames
		}
	}
	return video, audio
}

func parseMD5(t *testing.T, text string) (frames []decoded) {
	t.Helper()
	base := 1.0
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "#tb 0: "); ok {
			num, den, _ := strings.Cut(rest, "/")
			n, _ := strconv.ParseFloat(num, 64)
			d, _ := strconv.ParseFloat(den, 64)
			base = n / d
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, ",")
		pts, err := strconv.ParseInt(strings.TrimSpace(f[2]), 10, 64)
		if err != nil || len(f) < 6 {
			t.Fatalf("framemd5 says %q", line)
		}
		frames = append(frames, decoded{float64(pts) * base, strings.TrimSpace(f[5])})
	}
	return frames
}

// compare holds frames after conversion against those before it: each exactly
// once, unchanged, and its time within a millisecond. offset is what one
// timeline is ahead of the other; it is that of the first frame where it is NaN.
func compare(t *testing.T, name string, before, after []decoded, offset *float64, tolerance float64) {
	t.Helper()
	if len(before) != len(after) || len(before) == 0 {
		t.Errorf("%s: %d frames before, %d after", name, len(before), len(after))
	}
	worst := 0.0
	for i := range min(len(before), len(after)) {
		if before[i].md5 != after[i].md5 {
			t.Errorf("%s: frame %d has changed", name, i)
			return
		}
		if *offset != *offset { // NaN
			*offset = after[i].pts - before[i].pts
		}
		worst = max(worst, after[i].pts-before[i].pts-*offset, before[i].pts-after[i].pts+*offset)
	}
	if worst > tolerance {
		t.Errorf("%s: a time is %.3f ms away from its place", name, 1000*worst)
	}
	t.Logf("%s: %d frames, times within %.3f ms", name, len(after), 1000*worst)
}

// readFLV returns the messages of a file as an RTMP input would publish them.
func readFLV(t *testing.T, file string) (packets []media.Packet) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	format := &media.Format{Kind: media.FLV, Clock: &media.Clock{}}
	begin := time.Unix(1000, 0)
	for b = b[13:]; len(b) >= 15; {
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		ms := int64(b[7])<<24 | int64(b[4])<<16 | int64(b[5])<<8 | int64(b[6])
		p := media.Packet{Track: int(b[0]), DTS: ms * 90, PTS: ms * 90, Arrival: begin.Add(time.Duration(ms) * time.Millisecond), Data: b[11 : 11+size]}
		b = b[11+size+4:]
		var tag flv.Tag
		switch p.Track {
		case media.Video:
			tag, err = flv.ParseVideo(p.Data)
		case media.Audio:
			tag, err = flv.ParseAudio(p.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
		if tag.Header || p.Track == media.Data {
			format = &media.Format{Kind: media.FLV, Clock: format.Clock, Headers: append(format.Headers[:len(format.Headers):len(format.Headers)], media.Header{Track: p.Track, Data: p.Data})}
			continue
		}
		p.PTS += int64(tag.Composition) * 90
		p.RandomAccess = tag.Key
		p.Format = format
		packets = append(packets, p)
	}
	for i := range packets {
		packets[i].Format = format
	}
	return packets
}

// mux makes a stream of messages, with a tick every 5 ms as in life.
func mux(packets []media.Packet) (out []media.Packet, m *remux.Mux) {
	m = remux.NewMux()
	add := func(p media.Packet) { out = append(out, p) }
	var now time.Time
	for _, p := range packets {
		for !now.IsZero() && p.Arrival.Sub(now) > 5*time.Millisecond {
			now = now.Add(5 * time.Millisecond)
			m.Tick(now, add)
		}
		now = p.Arrival
		m.Feed(p, add)
	}
	m.Flush(add)
	return out, m
}

// checkTS holds a stream to what a Mux promises (ISO/IEC 13818-1, TR 101 290),
// and returns it whole.
func checkTS(t *testing.T, out []media.Packet) []byte {
	t.Helper()
	var all []byte
	var continuity mpegts.Continuity
	var clock, tables int64 = -1, -1
	var units int
	var pes [2]mpegts.PES
	each := func(u *mpegts.Unit) {
		units++
		if u.DTS*300 < clock {
			t.Errorf("a frame of DTS %d comes when the clock shows %d", u.DTS, clock/300)
		}
		if u.PTS < u.DTS || u.Damaged {
			t.Errorf("%+v", u)
		}
	}
	for n, d := range out {
		if len(d.Data)%188 != 0 || len(d.Data) > 1316 || d.Format.Kind != media.TS {
			t.Fatalf("datagram %d: %d bytes", n, len(d.Data))
		}
		all = append(all, d.Data...)
		for o := 0; o < len(d.Data); o += 188 {
			p := mpegts.Packet(d.Data[o : o+188])
			if !continuity.Check(p) {
				t.Errorf("datagram %d: PID %d: the counter jumps", n, p.PID())
			}
			if d.RandomAccess && o == 0 && p.PID() != mpegts.PIDPAT {
				t.Errorf("datagram %d: random access without tables", n)
			}
			if p.RandomAccess() && p.PID() == 0x100 && !d.RandomAccess {
				t.Errorf("datagram %d has a key frame that it does not tell", n)
			}
			if c, ok := p.PCR(); ok {
				if clock >= 0 && (c < clock || c-clock > 40*27000) {
					t.Errorf("datagram %d: the clock goes from %d to %d ms", n, clock/27000, c/27000)
				}
				clock = c
			}
			if p.PID() == mpegts.PIDPAT {
				if tables >= 0 && clock-tables > 100*27000 {
					t.Errorf("datagram %d: tables %d ms after those before", n, (clock-tables)/27000)
				}
				tables = clock
			}
			if i := int(p.PID()) - 0x100; i == 0 || i == 1 {
				pes[i].Push(p, d.Arrival, each)
			}
		}
	}
	if units == 0 {
		t.Error("no units")
	}
	return all
}
