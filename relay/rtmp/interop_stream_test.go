package rtmp

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flv"
	"sluice/relay/media"
)

// A frame is one packet of a stream, as ffprobe sees it.
type frame struct {
	pts, dts int64 // ms
	hash     string
}

// A stream is what was seen of one, by codec_type.
type stream map[string][]frame

func (s stream) len() (n int) {
	for _, f := range s {
		n += len(f)
	}
	return n
}

// probing lets ffprobe print all packets, and nothing else. Times stay as they
// are in the stream.
var probing = []string{
	"-v", "error", "-show_data_hash", "MD5", "-show_entries", "packet=codec_type,pts,dts,data_hash", "-of", "compact",
}

// parseFrames reads what ffprobe printed.
func parseFrames(t *testing.T, out string) stream {
	t.Helper()
	s := make(stream)
	for line := range strings.Lines(strings.ReplaceAll(out, "\n|", "|")) { // it breaks lines before what it knows no name for
		fields := strings.Split(strings.TrimSpace(line), "|")
		if fields[0] != "packet" {
			continue
		}
		var kind string
		var f frame
		var failed error
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			var err error
			switch key {
			case "codec_type":
				kind = value
			case "pts":
				f.pts, err = strconv.ParseInt(value, 10, 64)
			case "dts":
				f.dts, err = strconv.ParseInt(value, 10, 64)
			case "data_hash":
				f.hash = value
			}
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			t.Fatalf("ffprobe printed %q: %v", line, failed)
		}
		s[kind] = append(s[kind], f)
	}
	return s
}

// A viewer is an ffprobe that plays.
type viewer struct{ *program }

// watch lets ffprobe play a URL, or read a file.
func watch(t *testing.T, url string, options ...string) viewer {
	t.Helper()
	return viewer{start(t, "ffprobe", append(append(probing, options...), url)...)}
}

// saw returns what it has seen when it has ended.
func (v viewer) saw() stream {
	v.t.Helper()
	if err := v.wait(); err != nil {
		v.t.Errorf("%s ended with %v: %s", v.name, err, v.out)
	}
	return parseFrames(v.t, v.out.String())
}

// sources are the clips as ffprobe sees them.
var sources sync.Map

// framesOf returns what is in a file.
func framesOf(t *testing.T, path string) stream {
	t.Helper()
	if s, ok := sources.Load(path); ok {
		return s.(stream)
	}
	s := watch(t, path).saw()
	if len(s["video"]) < 10 || len(s["audio"]) < 10 {
		t.Fatalf("%s has %d frames of video, and %d of audio", path, len(s["video"]), len(s["audio"]))
	}
	sources.Store(path, s)
	return s
}

// is checks that a stream is a source's: every frame in its order, unchanged,
// and moved in time by the same for all of them, give or take.
func (s stream) is(t *testing.T, source stream, within time.Duration) {
	t.Helper()
	if len(s) != len(source) {
		t.Errorf("there are %d streams, want %d", len(s), len(source))
		return
	}
	moved := s["video"]
	if len(moved) == 0 {
		t.Error("there is no video")
		return
	}
	offset := moved[0].dts - source["video"][0].dts
	for kind, want := range source {
		got := s[kind]
		if len(got) != len(want) {
			t.Errorf("%s has %d frames, want %d", kind, len(got), len(want))
		}
		for i := range min(len(got), len(want)) {
			if got[i].hash != want[i].hash {
				t.Errorf("%s frame %d of %d is another one", kind, i, len(got))
				break
			}
			if i > 0 && got[i].dts <= got[i-1].dts && want[i].dts > want[i-1].dts {
				t.Errorf("%s frame %d: DTS goes from %d ms to %d", kind, i, got[i-1].dts, got[i].dts)
				break
			}
			dts, pts := got[i].dts-want[i].dts-offset, got[i].pts-want[i].pts-offset
			if most := within.Milliseconds(); max(dts, -dts) > most || max(pts, -pts) > most {
				t.Errorf("%s frame %d: DTS and PTS are moved by %d and %d ms, the first frame of video by %d", kind, i, dts+offset, pts+offset, offset)
				break
			}
		}
	}
}

// after returns what a source has from the frames on that a stream begins with.
func (s stream) after(t *testing.T, source stream) stream {
	t.Helper()
	rest := make(stream)
	for kind, frames := range source {
		if len(s[kind]) == 0 {
			t.Fatalf("there is no %s", kind)
		}
		for i, f := range frames {
			if f.hash == s[kind][0].hash {
				rest[kind] = frames[i:]
				break
			}
		}
	}
	return rest
}

// A tap counts what a flow carries.
type tap struct{ all, frames atomic.Int64 }

// tap begins to count, from the next packet on.
func (r *rig) tap() *tap {
	p := &tap{}
	cursor := r.flow.Open()
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		batch := make([]media.Packet, 64)
		for {
			n, _, err := cursor.Next(ctx, batch)
			if err != nil {
				return
			}
			for _, packet := range batch[:n] {
				if isFrame(packet) {
					p.frames.Add(1)
				}
			}
			p.all.Add(int64(n))
		}
	})
	r.t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
	return p
}

// isFrame tells whether a packet is one that ffprobe sees as well.
func isFrame(p media.Packet) bool {
	parse := flv.ParseAudio
	switch p.Track {
	case media.Video:
		parse = flv.ParseVideo
	case media.Data:
		return false
	}
	tag, err := parse(p.Data)
	return err == nil && len(tag.Payload) > 0
}

// whole waits until the flow has carried so many frames, and the outputs have
// sent all of them.
func (p *tap) whole(t *testing.T, frames int64, outputs ...outputRun) {
	t.Helper()
	eventually(t, "all frames have come in", func() bool { return p.frames.Load() >= frames })
	for _, out := range outputs {
		eventually(t, "all frames have gone out", func() bool { return out.ledger.Sent.Load() >= uint64(p.all.Load()) })
	}
}

// write writes a file of a test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// messages reads an FLV file (FLV E.2 to E.4.1).
func messages(t *testing.T, path string) (all []message) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const fileHeader, backPointer, tagHeader = 9, 4, 11
	for b = b[fileHeader+backPointer:]; len(b) > tagHeader; {
		n := tagHeader + int(uint24(b[1:]))
		all = append(all, message{
			kind: rtmpmsg.TypeID(b[0]), time: uint24(b[4:]) | uint32(b[7])<<24, data: slices.Clone(b[tagHeader:n]),
		})
		b = b[n+backPointer:]
	}
	return all
}

// A replay is a source that goes as fast as an output.
type replay struct {
	r     *rig
	to    *ingest
	out   outputRun
	began time.Time
	sent  uint64   // packets
	key   uint64   // before the newest key frame
	peers []uint64 // what was sent before each of the output's began
}

// replay returns one for an output that has one peer.
func (r *rig) replay(out outputRun) *replay {
	return &replay{r: r, to: newIngest(r.flow, &endpoint.Ledger{}), out: out, began: time.Now(), peers: []uint64{0}}
}

// send sends a message with a time, as if that had gone by, and waits until it
// has gone out.
func (f *replay) send(m message, at int64) {
	f.r.t.Helper()
	m.time = uint32(at)
	f.to.take(m, f.began.Add(time.Duration(at)*time.Millisecond))
	for _, p := range f.to.batch {
		if p.RandomAccess {
			f.key = f.sent
		}
		f.sent++
	}
	f.to.flush()
	var want uint64
	for _, before := range f.peers {
		want += f.sent - before
	}
	eventually(f.r.t, "it has been sent", func() bool { return f.out.ledger.Sent.Load() == want })
}

// stream sends messages with their times moved.
func (f *replay) stream(all []message, offset int64) {
	f.r.t.Helper()
	for _, m := range all {
		f.send(m, offset+int64(m.time))
	}
}
