package rtp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/relaytest"
)

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: install the package ffmpeg", name)
	}
	return path
}

// start runs a program, until the end of the test or for 30 s at most, and
// returns a function that waits for it.
func start(t *testing.T, name string, args ...string) (wait func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	var output bytes.Buffer
	cmd.Stderr = &output
	must(t, cmd.Start())
	var once sync.Once
	var err error
	wait = func() error {
		once.Do(func() { err = cmd.Wait() })
		return err
	}
	t.Cleanup(func() {
		cancel()
		_ = wait()
		if t.Failed() {
			t.Logf("%s %s\n%s", name, strings.Join(args, " "), output.String())
		}
	})
	return wait
}

// testPicture are the arguments of a moving picture with a tone, as fast as it
// is watched.
func testPicture(seconds int) []string {
	return []string{
		"-hide_banner", "-nostdin", "-loglevel", "warning",
		"-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440",
		"-t", fmt.Sprint(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-b:v", "1M", "-c:a", "aac",
	}
}

// ffmpeg sends RTP or UDP to an input; another ffmpeg receives what an output
// makes of it. Nothing is missing in the flow, nor in what is received from
// the output.
func TestFFmpegSendsAndReceives(t *testing.T) {
	for _, encapsulation := range []string{EncapsulationRTP, EncapsulationUDP} {
		t.Run(encapsulation, func(t *testing.T) {
			t.Parallel()
			relaytest.StartsPrograms(t)
			port, back := relaytest.FreePort(t), relaytest.FreePort(t)
			ein, eout := env("lo"), env("lo")
			in, f := startInput(t, InputConfig{Port: port, Encapsulation: encapsulation}, nil, ein)
			_, stop := startOutput(t, OutputConfig{Destinations: []Destination{{Host: "127.0.0.1", Port: back}}, Encapsulation: encapsulation}, f, eout, 1)
			cursor := f.Open()

			dir := t.TempDir()
			recording := filepath.Join(dir, "received.ts")
			from := fmt.Sprintf("udp://127.0.0.1:%d?fifo_size=100000", back)
			receive := []string{"-hide_banner", "-nostdin", "-loglevel", "warning", "-y"}
			if encapsulation == EncapsulationRTP {
				sdp := filepath.Join(dir, "stream.sdp")
				must(t, os.WriteFile(sdp, fmt.Appendf(nil, "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video %d RTP/AVP 33\n", back), 0o600))
				receive, from = append(receive, "-protocol_whitelist", "file,udp,rtp"), sdp
			}
			received := start(t, "ffmpeg", append(receive, "-i", from, "-map", "0", "-t", "2.5", "-c", "copy", "-f", "mpegts", recording)...)
			to, format := fmt.Sprintf("udp://127.0.0.1:%d?pkt_size=1316", port), "mpegts"
			if encapsulation == EncapsulationRTP {
				to, format = fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1328", port), "rtp_mpegts"
			}
			sent := start(t, "ffmpeg", append(testPicture(6), "-f", format, to)...)
			if err := sent(); err != nil {
				t.Fatalf("the sender: %v", err)
			}

			var continuity mpegts.Continuity
			packets, entries := 0, 0
			dst := make([]media.Packet, 64)
			for {
				n, _ := cursor.Poll(dst)
				if n == 0 {
					break
				}
				for _, p := range dst[:n] {
					if p.Format.Kind != media.TS || len(p.Data)%188 != 0 {
						t.Fatalf("%d bytes of %v", len(p.Data), p.Format.Kind)
					}
					if p.RandomAccess {
						entries++
					}
					for b := p.Data; len(b) > 0; b = b[188:] {
						packets++
						if !continuity.Check(mpegts.Packet(b[:188])) {
							t.Errorf("packet %d is not continuous", packets)
						}
					}
				}
			}
			if packets < 2000 || entries < 5 || entries > 7 || ein.Ledger.Lost.Load() != 0 {
				t.Errorf("%d packets, %d random-access points in 6 s, %d lost", packets, entries, ein.Ledger.Lost.Load())
			}
			if in.Status().Phase != endpoint.Connected {
				t.Errorf("%+v", in.Status())
			}
			_ = stop()
			checkLedger(t, "output", eout.Ledger)

			if err := received(); err != nil {
				t.Fatalf("the receiver: %v", err)
			}
			for _, kind := range []string{"v", "a"} {
				out, err := exec.Command(program(t, "ffprobe"), "-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time", "-of", "csv=p=0", recording).Output()
				must(t, err)
				checkTimes(t, kind, strings.Fields(string(out)))
			}
		})
	}
}

// checkTimes holds that there are seconds of media without a hole.
func checkTimes(t *testing.T, kind string, times []string) {
	t.Helper()
	first, last := -1.0, -1.0
	for _, s := range times {
		var at float64
		if _, err := fmt.Sscanf(s, "%f", &at); err != nil {
			t.Fatalf("time %q: %v", s, err)
		}
		if first < 0 {
			first = at
		} else if at-last > 0.1 {
			t.Errorf("stream %s has a hole from %.3f to %.3f s", kind, last, at)
		}
		last = at
	}
	if last-first < 1 { // from the first random-access point on
		t.Errorf("stream %s: only %.1f s of 2.5 were received", kind, last-first)
	}
}

// A receiver that went away does not disturb: the output goes on, also where
// the kernel answers that nobody is there.
func TestNobodyListens(t *testing.T) {
	f, publish := generate(t, 1)
	e := env("lo")
	out, stop := startOutput(t, OutputConfig{Destinations: []Destination{{Host: "127.0.0.1", Port: relaytest.FreePort(t)}}}, f, e, 1)
	publish(100)
	eventually(t, "all datagrams left", func() bool { return e.Ledger.Sent.Load() == 100 })
	if s := out.Status(); s.Phase != endpoint.Connected || time.Since(s.Sent) > time.Minute {
		t.Errorf("%+v", s)
	}
	_ = stop()
	checkLedger(t, "output", e.Ledger)
}
