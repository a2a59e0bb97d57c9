package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// av is what ffprobe says of the times of a stream's packets.
type av struct {
	video, audio []float64 // seconds, in order of decoding
}

// timesOf reads the times of what was recorded.
func timesOf(t *testing.T, path string) (x av) {
	t.Helper()
	p := harness.Start(t, harness.Need(t, "ffprobe", "ffmpeg"), []string{
		"-v", "error", "-show_entries", "packet=codec_type,dts_time", "-of", "json", path,
	}, nil)
	harness.Await(t, 30*time.Second, "ffprobe has read "+path, func() bool { return !p.Running() })
	var r struct {
		Packets []struct {
			Kind string `json:"codec_type"`
			DTS  string `json:"dts_time"`
		} `json:"packets"`
	}
	if err := json.Unmarshal(p.Out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v: %s", path, err, p.Out.Tail(500))
	}
	for _, packet := range r.Packets {
		at, err := strconv.ParseFloat(packet.DTS, 64)
		switch {
		case err != nil:
		case packet.Kind == "video":
			x.video = append(x.video, at)
		case packet.Kind == "audio":
			x.audio = append(x.audio, at)
		}
	}
	return x
}

// steady asserts that the times of each track rise, without a gap.
func (x av) steady(t *testing.T, what string) {
	t.Helper()
	for track, at := range map[string][]float64{"video": x.video, "audio": x.audio} {
		if len(at) < 50 {
			t.Errorf("%s: %d packets of %s", what, len(at), track)
			continue
		}
		for i := 1; i < len(at); i++ {
			if d := at[i] - at[i-1]; d <= 0 || d > 0.1 {
				t.Errorf("%s: %s goes from %v s to %v s", what, track, at[i-1], at[i])
				break
			}
		}
	}
}

// beeps returns how much later than the flash beside it each beep is, in a
// recording of a second's rhythm of both: the median.
func beeps(t *testing.T, path string) time.Duration {
	t.Helper()
	p := harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "info", "-nostdin", "-i", path, "-vf", "blackdetect=d=0.1:pix_th=0.2", "-af", "silencedetect=n=-30dB:d=0.2", "-f", "null", "-",
	}, nil)
	harness.Await(t, 60*time.Second, "ffmpeg has looked at "+path, func() bool { return !p.Running() })
	seen := func(what string) (at []float64) {
		for _, m := range regexp.MustCompile(what+`: ?([0-9.]+)`).FindAllSubmatch(p.Out.Bytes(), -1) {
			f, err := strconv.ParseFloat(string(m[1]), 64)
			if err == nil {
				at = append(at, f)
			}
		}
		return at
	}
	var apart []float64
	for _, flash := range seen("black_end") {
		for _, beep := range seen("silence_end") {
			if math.Abs(beep-flash) < 0.4 {
				apart = append(apart, beep-flash)
			}
		}
	}
	if len(apart) < 2 {
		t.Fatalf("%s: no flashes with beeps: %s", path, p.Out.Tail(2000))
	}
	slices.Sort(apart)
	return time.Duration(apart[len(apart)/2] * float64(time.Second))
}

// record is ffmpeg, which records what it plays until the time is over.
func record(t *testing.T, url, file, seconds string) *harness.Process {
	t.Helper()
	return harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-y", "-i", url, "-t", seconds, "-c", "copy", file,
	}, nil)
}

// An encoder sends MPEG-TS; the box pushes it by RTMP to another flow of its
// own, which sends MPEG-TS again. What arrives at each place plays, and is as
// much in time as it was.
func TestStreamsAreConvertedBothWays(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	srtIn, rtpIn, port, srtOut, rtpOut, backOut := udpPort(t), udpPort(t), tcpPort(t), udpPort(t), udpPort(t), udpPort(t)
	nginx := tcpPort(t)
	serveRTMP(t, nginx)
	server := fmt.Sprintf("rtmp://127.0.0.1:%d/app", nginx)
	document := fmt.Appendf(nil, `{
  "schema": "sluice.config/v1", "version": 1, "client_token": "convert",
  "state": {
    "uplinks": [{"name": "lan0", "match": {"interface": "lo"}, "default": true}],
    "flows": [
      {"id": "ts", "name": "From SRT",
       "inputs": [{"id": "srt", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": %d}}],
       "outputs": [%s, %s, %s]},
      {"id": "rtp", "name": "From RTP",
       "inputs": [{"id": "rtp-in", "protocol": "RTP", "rtp": {"port": %d}}],
       "outputs": [%s, %s]},
      {"id": "back", "name": "From a server",
       "inputs": [{"id": "pull", "protocol": "RTMP_PULL", "rtmp": {"url": %q, "stream_key": "from-rtp"}}],
       "outputs": [%s]},
      {"id": "hub", "name": "From RTMP",
       "inputs": [{"id": "rtmp", "protocol": "RTMP", "rtmp": {"port": %d, "app": "in", "stream_key": "hub"}}],
       "outputs": [%s, %s]}
    ]}}`, srtIn, srtLatency, rtmpPull("players", port, "", ""), rtmpPush("push", fmt.Sprintf("rtmp://127.0.0.1:%d/in", port), "hub"),
		rtmpPush("nginx", server, "from-srt"), rtpIn, rtmpPull("rtp-players", port, "", ""), rtmpPush("rtp-nginx", server, "from-rtp"),
		server, srtListener("back-out", backOut, ""), port, srtListener("srt-out", srtOut, ""), rtpOutput("rtp-out", rtpOut, `, "encapsulation": "udp"`))
	b.publish(t, "config/desired", document, true)
	l.next(t, 0, 10*time.Second, "config/accepted", nil)
	// All begin at once. A push that comes before there is who takes it is
	// refused, and tries again within half a minute.
	x.AwaitStates(t, 45*time.Second, map[string]string{"srt": "waiting", "rtmp": "stalled", "push": "no_source", "players": "waiting"})

	// One encoder for all: H.264 with B-frames, AAC; a flash and a beep a second.
	dir := t.TempDir()
	source := filepath.Join(dir, "source.ts")
	encode := []string{
		"-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "color=black:size=320x180:rate=25,drawbox=color=white:t=fill:enable='lt(mod(t,1),0.08)'",
		"-f", "lavfi", "-i", "aevalsrc='sin(880*2*PI*t)*lt(mod(t,1),0.08)':s=48000",
		"-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-sc_threshold", "0", "-c:a", "aac", "-map", "0", "-map", "1", "-f", "tee",
		fmt.Sprintf("[f=mpegts]srt://127.0.0.1:%d?mode=caller&latency=120000&pkt_size=1316|[f=rtp_mpegts]rtp://127.0.0.1:%d?pkt_size=1316|[f=mpegts]%s", srtIn, rtpIn, source),
	}
	encoder := harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), encode, nil)
	x.AwaitStates(t, 20*time.Second, map[string]string{
		"srt": "receiving", "rtp-in": "receiving", "rtmp": "receiving", "pull": "receiving",
		"push": "connected", "nginx": "connected", "rtp-nginx": "connected", "rtp-out": "sending",
	})
	urls := map[string]string{
		"SRT to RTMP_PULL":           fmt.Sprintf("rtmp://127.0.0.1:%d/live/players", port),
		"RTP to RTMP_PULL":           fmt.Sprintf("rtmp://127.0.0.1:%d/live/rtp-players", port),
		"SRT to RTMP_PUSH to nginx":  server + "/from-srt",
		"RTP to RTMP_PUSH to nginx":  server + "/from-rtp",
		"RTMP_PULL to SRT":           fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=120000", backOut),
		"SRT to RTMP_PUSH to SRT":    fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=120000", srtOut),
		"SRT to RTMP_PUSH to RTP/TS": fmt.Sprintf("udp://127.0.0.1:%d?fifo_size=100000&overrun_nonfatal=1", rtpOut),
	}
	seconds := "6"
	if harness.Long() {
		seconds = "60"
	}
	recorders := make(map[string]*harness.Process)
	file := func(what string) string { return filepath.Join(dir, strings.ReplaceAll(what, "/", "-")+".ts") }
	for what, url := range urls {
		recorders[what] = record(t, url, file(what), seconds)
	}
	x.AwaitStates(t, 20*time.Second, map[string]string{"players": "connected", "rtp-players": "connected", "srt-out": "connected"})
	for what, p := range recorders {
		harness.Await(t, 90*time.Second, what+" is recorded", func() bool { return !p.Running() })
		timesOf(t, file(what)).steady(t, what)
	}
	encoder.Stop()
	want := beeps(t, source)
	for what := range recorders {
		got := beeps(t, file(what))
		t.Logf("%s: beeps come %v after flashes, %v at the source", what, got, want)
		if d := got - want; max(d, -d) > 20*time.Millisecond {
			t.Errorf("%s: sound is %v later than it was", what, d)
		}
	}
}

// serveRTMP is nginx, which takes and gives streams at a port.
func serveRTMP(t *testing.T, port int) {
	t.Helper()
	path, args := harness.RTMPServer(t, fmt.Sprintf("127.0.0.1:%d", port))
	harness.Start(t, path, args, nil)
	harness.Await(t, 10*time.Second, "nginx listens", func() bool { return tcpListening(port) })
}

// A source that is started again and again leaves the push connected, and the
// times that arrive at the server rise.
func TestPushOutlivesItsSource(t *testing.T) {
	t.Parallel()
	restarts := 3
	if harness.Long() {
		restarts = 10
	}
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	port := tcpPort(t)
	serveRTMP(t, port)
	d := document{version: 1, input: udpPort(t), outputs: []string{rtmpPush("push", fmt.Sprintf("rtmp://127.0.0.1:%d/app", port), "stage")}}
	publish(t, b, l, d)
	x.AwaitStates(t, 15*time.Second, map[string]string{"enc": "waiting", "push": "no_source"})
	encode := func() *harness.Process {
		return harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
			"-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000",
			"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-f", "mpegts",
			fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=120000&pkt_size=1316", d.input),
		}, nil)
	}
	source := encode()
	x.AwaitStates(t, 20*time.Second, map[string]string{"push": "connected"})
	player := harness.Start(t, harness.Need(t, "ffprobe", "ffmpeg"), []string{
		"-v", "error", "-show_entries", "packet=codec_type,dts_time", "-of", "csv=p=0", fmt.Sprintf("rtmp://127.0.0.1:%d/app/stage", port),
	}, nil)
	packets := func() int { return bytes.Count(player.Out.Bytes(), []byte("\n")) }
	arrives := func(when string) {
		t.Helper()
		before := packets()
		harness.Await(t, 30*time.Second, when+", the stream arrives", func() bool { return packets() > before+80 })
	}
	arrives("at first")
	for i := range restarts {
		source.Stop()
		x.AwaitStates(t, 20*time.Second, map[string]string{"enc": "waiting"})
		source = encode()
		arrives(fmt.Sprintf("after restart %d", i+1))
	}
	last := make(map[string]float64)
	for line := range strings.Lines(string(player.Out.Bytes())) {
		kind, dts, ok := strings.Cut(strings.TrimRight(line, ",\n"), ",")
		at, err := strconv.ParseFloat(dts, 64)
		if !ok || err != nil {
			continue // being written
		}
		if was, met := last[kind]; met && at <= was {
			t.Errorf("%s goes from %v s to %v s", kind, was, at)
		}
		last[kind] = at
	}
	if len(last) != 2 || last["video"] < float64(restarts) {
		t.Errorf("the last times are %v", last)
	}
	var telemetry struct {
		Flows []struct {
			Outputs []struct {
				Reconnections uint64 `json:"reconnections"`
			} `json:"outputs"`
		} `json:"flows"`
	}
	if err := json.Unmarshal(x.Ctl(t, "get", "telemetry"), &telemetry); err != nil {
		t.Fatal(err)
	}
	if n := telemetry.Flows[0].Outputs[0].Reconnections; n != 0 {
		t.Errorf("the push was connected anew %d times", n)
	}
}
