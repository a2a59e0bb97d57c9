package mpegts_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/relay/mpegts"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: install the package ffmpeg", name)
	}
	var faults bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, faults.String())
	}
	return string(out)
}

// What ffmpeg muxes passes byte for byte, without a jump, and random access is
// found at the very packets where ffprobe finds key frames: by the indicator,
// and where it is taken away, by the pictures.
func TestFFmpegStreams(t *testing.T) {
	for codec, encoder := range map[string][]string{
		"H.264":  {"-c:v", "libx264", "-preset", "ultrafast", "-g", "12"},
		"HEVC":   {"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=12:log-level=error"},
		"MPEG-2": {"-c:v", "mpeg2video", "-g", "12"},
	} {
		t.Run(codec, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "test.ts")
			args := append([]string{"-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4", "-f", "lavfi", "-i", "sine=duration=4"}, encoder...)
			run(t, "ffmpeg", append(args, "-c:a", "mp2", "-f", "mpegts", file)...)
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := map[int]bool{} // packets at which a key frame begins
			for _, line := range strings.Fields(run(t, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pos,flags", "-of", "csv=p=0", file)) {
				var pos int
				var flags string
				if _, err := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "%d %s", &pos, &flags); err != nil {
					t.Fatalf("ffprobe says %q: %v", line, err)
				}
				if strings.HasPrefix(flags, "K") {
					want[pos/188] = true
				}
			}
			if len(want) < 3 {
				t.Fatalf("ffprobe finds %d key frames", len(want))
			}
			for _, indicated := range []bool{true, false} {
				in := bytes.Clone(whole)
				for o := 0; !indicated && o < len(in); o += 188 {
					if p := mpegts.Packet(in[o : o+188]); p.RandomAccess() {
						p[5] &^= 0x40
					}
				}
				i := mpegts.NewIngest()
				out := push(i, cut(in, func() int { return 188 })...)
				if !bytes.Equal(join(out), in) {
					t.Fatal("bytes were changed or lost")
				}
				for n, p := range out {
					if p.RandomAccess != want[n] {
						t.Errorf("indicated %v: packet %d: random access is %v", indicated, n, p.RandomAccess)
					}
				}
				if s := i.Stats(); s.Continuity != 0 || s.PCR == 0 || s.Skipped != 0 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}
