package rtmp

import (
	"path/filepath"
	"strings"
	"testing"

	"sluice/relay/endpoint"
)

// gst returns what lets GStreamer make a stream of a clip.
func gst(clip string, sink ...string) []string {
	return append([]string{
		"-q", "filesrc", "location=" + clip, "!", "flvdemux", "name=in", "flvmux", "name=out", "streamable=true",
		"in.video", "!", "queue", "!", "out.video", "in.audio", "!", "queue", "!", "out.audio", "out.", "!",
	}, sink...)
}

// A publisher is a program that publishes a clip to a URL.
type publisher struct {
	publish func(t *testing.T, clip, url string) *program
	made    func(t *testing.T, clip string) string // what it makes of a clip; nil: the same
}

var publishers = map[string]publisher{
	"ffmpeg": {publish: func(t *testing.T, clip, url string) *program { return publish(t, clip, url) }},
	"rtmp2sink": {
		publish: func(t *testing.T, clip, url string) *program {
			return start(t, "gst-launch-1.0", gst(clip, "identity", "sync=true", "!", "rtmp2sink", "location="+url)...)
		},
		made: func(t *testing.T, clip string) string { // with times of its own
			file := filepath.Join(t.TempDir(), "made.flv")
			run(t, "gst-launch-1.0", gst(clip, "filesink", "location="+file)...)
			return file
		},
	},
	"librtmp": {publish: func(t *testing.T, clip, url string) *program { // which knows no clock
		return start(t, "gst-launch-1.0", "-q", "filesrc", "location="+clip, "!", "rtmpsink", "location="+url+" live=1")
	}},
}

// players are programs that play from a URL to a file.
var players = map[string]func(t *testing.T, url, file string) *program{
	"ffmpeg": func(t *testing.T, url, file string) *program {
		return start(t, "ffmpeg", "-v", "warning", "-nostdin", "-i", url, "-map", "0", "-c", "copy", "-f", "flv", file)
	},
	"rtmp2src": func(t *testing.T, url, file string) *program {
		return start(t, "gst-launch-1.0", "-q", "rtmp2src", "location="+url, "!", "filesink", "location="+file)
	},
	"rtmpdump": func(t *testing.T, url, file string) *program {
		return start(t, "rtmpdump", "--quiet", "--live", "--rtmp", url, "--flv", file)
	},
}

// TestPublishers lets programs publish to us.
func TestPublishers(t *testing.T) {
	for name, p := range publishers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := clip(t, 3)
			want := framesOf(t, source)
			if p.made != nil {
				want = framesOf(t, p.made(t, source))
			}
			r := newRig(t)
			tap, in, out := r.tap(), r.input(r.publishHere()), r.output(r.playHere())
			in.await(endpoint.Listening)
			out.await(endpoint.Listening)
			player := watch(t, r.out())
			out.await(endpoint.Connected)
			if err := p.publish(t, source, r.in()).wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			tap.whole(t, int64(want.len()), out)
			out.stop()
			player.saw().is(t, want, 0)
		})
	}
}

// TestPlayers lets programs play from us. They come before the stream, and once
// more while it is on.
func TestPlayers(t *testing.T) {
	for name, play := range players {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := clip(t, 3)
			want := framesOf(t, source)
			r := newRig(t)
			out := r.output(r.playHere())
			out.await(endpoint.Listening)
			all, late := filepath.Join(t.TempDir(), "all.flv"), filepath.Join(t.TempDir(), "late.flv")
			first := play(t, r.out(), all)
			out.await(endpoint.Connected)
			f, stream := r.replay(out), messages(t, source)
			half := len(stream) / 2
			f.stream(stream[:half], 0)
			second := play(t, r.out(), late)
			eventually(t, "there are two", func() bool { return len(out.Status().Sessions) == 2 })
			f.peers = append(f.peers, f.key)
			f.stream(stream[half:], 0)
			out.stop()
			for _, p := range []*program{first, second} {
				if err := p.wait(); err != nil {
					t.Errorf("it ended with %v", err)
				}
			}
			framesOf(t, all).is(t, want, 0)
			if decoded(t, all) != decoded(t, source) {
				t.Error("it is decoded to other frames than the source")
			}
			joined := framesOf(t, late)
			joined.is(t, joined.after(t, want), 0)
			if n := len(joined["video"]); n < len(want["video"])/2 {
				t.Errorf("who came late has %d frames of video", n)
			}
		})
	}
}

// decoded returns the checksums of the frames in a file, decoded, with their
// streams.
func decoded(t *testing.T, path string) string {
	t.Helper()
	var sums strings.Builder
	for line := range strings.Lines(run(t, "ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0", "-f", "framemd5", "-")) {
		if stream, rest, ok := strings.Cut(line, ","); ok && !strings.HasPrefix(line, "#") {
			sums.WriteString(stream + rest[strings.LastIndex(rest, ","):])
		}
	}
	if sums.Len() == 0 {
		t.Errorf("%s cannot be decoded", path)
	}
	return sums.String()
}
