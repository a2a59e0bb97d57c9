package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// inspection is what these tests read of what sluicectl input prints for
// programs.
type inspection struct {
	Input      string `json:"input"`
	State      string `json:"state"`
	Carriage   string `json:"carriage"`
	BitrateBps uint64 `json:"bitrate_bps"`
	Note       string `json:"note"`
	Programs   []struct {
		Number  int  `json:"number"`
		Taken   bool `json:"taken"`
		Streams []struct {
			Type       string  `json:"type"`
			Codec      string  `json:"codec"`
			Width      int     `json:"width"`
			Height     int     `json:"height"`
			FrameRate  float64 `json:"frame_rate"`
			SampleRate int     `json:"sample_rate"`
			Channels   int     `json:"channels"`
			BitrateBps uint64  `json:"bitrate_bps"`
			Carried    bool    `json:"carried"`
		} `json:"streams"`
	} `json:"programs"`
}

// An encoder sends the same by SRT and by RTMP, to flows without outputs: what
// sluicectl tells of each source is what the encoder was set to.
func TestInputsShowWhatTheirSourcesBring(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	port, rtmp := udpPort(t), tcpPort(t)
	b.publish(t, "config/desired", fmt.Appendf(nil, `{
  "schema": "sluice.config/v1", "version": 1, "client_token": "inputs",
  "state": {
    "uplinks": [{"name": "lan0", "match": {"interface": "lo"}, "default": true}],
    "flows": [
      {"id": "stage", "name": "From SRT", "inputs": [{"id": "srt", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": 120}}]},
      {"id": "phone", "name": "From RTMP", "inputs": [{"id": "rtmp", "protocol": "RTMP", "rtmp": {"port": %d, "app": "in", "stream_key": %q}}]}
    ]}}`, port, rtmp, rtmpKey), true)
	l.next(t, 0, 10*time.Second, "config/accepted", nil)
	x.AwaitStates(t, 15*time.Second, map[string]string{"srt": "waiting", "rtmp": "waiting"})
	var idle inspection
	if out := x.Ctl(t, "input", "stage", "--json"); json.Unmarshal(out, &idle) != nil || idle.Note != "no media comes in" || len(idle.Programs) > 0 {
		t.Errorf("before there is a source: %s", out)
	}

	harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-g", "25", "-b:v", "400k", "-maxrate", "400k", "-bufsize", "100k", "-nal-hrd", "cbr",
		"-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", "-b:a", "128k", "-flags", "+global_header", "-map", "0", "-map", "1", "-f", "tee",
		fmt.Sprintf("[f=mpegts:bsfs/v=h264_mp4toannexb]srt://127.0.0.1:%d?mode=caller&latency=120000&pkt_size=1316|[f=flv]rtmp://127.0.0.1:%d/in/%s", port, rtmp, rtmpKey),
	}, nil)
	x.AwaitStates(t, 20*time.Second, map[string]string{"srt": "receiving", "rtmp": "receiving"})
	for flow, want := range map[string]struct{ input, carriage, table string }{
		"stage": {"srt", "MPEG-TS", `Input      stage/srt, SRT, MPEG-TS
State      receiving, N kb/s

Programme  1, PMT 4096 (0x1000), taken
PID TYPE CODEC FORMAT BITRATE TO RTMP
256 (0x100) video H.264 320x180 25 fps N kb/s yes
257 (0x101) audio AAC 48 kHz 2 ch N kb/s yes
`},
		"phone": {"rtmp", "RTMP", `Input      phone/rtmp, RTMP
State      receiving, N kb/s

Programme  1, PMT 4096 (0x1000), as MPEG-TS outputs get it
PID TYPE CODEC FORMAT BITRATE TO MPEG-TS
256 (0x100) video H.264 320x180 25 fps N kb/s yes
257 (0x101) audio AAC 48 kHz 2 ch N kb/s yes
`},
	} {
		shown := regexp.MustCompile(`[0-9.]+ [kM]b/s`).ReplaceAllString(string(x.Ctl(t, "input", flow)), "N kb/s")
		lines := strings.Split(shown, "\n")
		for i, line := range lines {
			if i > 3 { // columns are as wide as their cells
				lines[i] = strings.Join(strings.Fields(line), " ")
			}
		}
		if shown = strings.Join(lines, "\n"); shown != want.table {
			t.Errorf("%s:\n%s\nwant:\n%s", flow, shown, want.table)
		}
		var v inspection
		if out := x.Ctl(t, "input", flow+"/"+want.input, "--json"); json.Unmarshal(out, &v) != nil || len(v.Programs) != 1 || len(v.Programs[0].Streams) != 2 {
			t.Errorf("%s: %s", flow, out)
			continue
		}
		if p := v.Programs[0]; v.Input != want.input || v.State != "receiving" || v.Carriage != want.carriage || v.Note != "" || p.Number != 1 || !p.Taken {
			t.Errorf("%s: %+v", flow, v)
		}
		picture, sound := v.Programs[0].Streams[0], v.Programs[0].Streams[1]
		if picture.Type != "video" || picture.Codec != "H.264" || picture.Width != 320 || picture.Height != 180 || math.Abs(picture.FrameRate-25) > 0.05 || !picture.Carried {
			t.Errorf("%s: %+v", flow, picture)
		}
		if sound.Type != "audio" || sound.Codec != "AAC" || sound.SampleRate != 48000 || sound.Channels != 2 || !sound.Carried {
			t.Errorf("%s: %+v", flow, sound)
		}
		// The encoder's rates, with the packets around them, of a machine that
		// may be busy.
		for what, rate := range map[string][3]float64{
			"picture": {float64(picture.BitrateBps), 300_000, 700_000}, "sound": {float64(sound.BitrateBps), 90_000, 240_000},
			"all": {float64(v.BitrateBps), 360_000, 1_000_000},
		} {
			if rate[0] < rate[1] || rate[0] > rate[2] {
				t.Errorf("%s: %s has %.0f b/s: want %.0f to %.0f", flow, what, rate[0], rate[1], rate[2])
			}
		}
	}
}
