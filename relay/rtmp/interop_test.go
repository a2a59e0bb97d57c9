package rtmp

import (
	"path/filepath"
	"strings"
	"testing"

	"sluice/relay/endpoint"
)

// frames returns the checksum of every frame of a file or URL, by stream.
func frames(t *testing.T, path string) map[string][]string {
	t.Helper()
	out := run(t, "ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0", "-c", "copy", "-f", "framemd5", "-")
	all := make(map[string][]string)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), ",")
		all[f[0]] = append(all[f[0]], strings.TrimSpace(f[len(f)-1]))
	}
	return all
}

func TestFFmpegPublishesAndPlays(t *testing.T) {
	r := newRig(t)
	in, out := r.input(r.publishHere()), r.output(r.playHere())
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	file := filepath.Join(t.TempDir(), "played.flv")
	player := start(t, "ffmpeg", "-v", "warning", "-nostdin", "-i", r.out(), "-map", "0", "-c", "copy", "-f", "flv", file)
	out.await(endpoint.Connected)
	source := clip(t, 4)
	publisher := publish(t, source, r.in())
	in.await(endpoint.Connected)
	if err := publisher.wait(); err != nil {
		t.Fatalf("the publisher ended with %v", err)
	}
	in.await(endpoint.Listening)
	out.stop() // which tells the player that it is over
	if err := player.wait(); err != nil {
		t.Errorf("the player ended with %v", err)
	}
	want, got := frames(t, source), frames(t, file)
	for stream := range want {
		if strings.Join(want[stream], " ") != strings.Join(got[stream], " ") {
			t.Errorf("stream %s: %d frames, want the %d of the source unchanged", stream, len(got[stream]), len(want[stream]))
		}
	}
}
