package remux_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/remux"
)

// What can be written to an FLV file is decoded from there to the same frames,
// at the same times, as from the transport stream.
func TestToFLV(t *testing.T) {
	for _, tt := range []struct {
		name string
		source
	}{
		{"B-frames, AAC", source{video: append(x264, "-g", "25", "-bf", "3"), audio: aac}},
		{"open GOP, 29.97, 44.1 kHz", source{rate: "30000/1001", sound: 44100, video: append(x264, "-g", "15", "-bf", "2", "-x264-params", "open-gop=1:keyint=15:scenecut=0"), audio: aac}},
		{"59.94, zerolatency, MP3", source{rate: "60000/1001", sound: 44100, video: append(x264, "-g", "60", "-tune", "zerolatency"), audio: []string{"-c:a", "libmp3lame"}}},
		{"LATM", source{video: append(x264, "-g", "25"), audio: aac, mux: []string{"-mpegts_flags", "latm"}}},
		{"MP3 at 48 kHz", source{video: append(x264, "-g", "25"), audio: []string{"-c:a", "libmp3lame"}}},
		{"one frame in a PES packet", source{video: append(x264, "-g", "25"), audio: aac, mux: []string{"-pes_payload_size", "0"}}},
		{"PTS below 2^33", source{video: append(x264, "-g", "25"), audio: aac, mux: []string{"-output_ts_offset", "95442.3", "-mpegts_copyts", "1"}}},
		{"interlaced, MBAFF", source{video: append(x264, "-g", "25", "-bf", "3", "-flags", "+ilme+ildct", "-x264opts", "tff=1"), audio: aac}},
		{"video only", source{video: append(x264, "-g", "25")}},
		{"audio only", source{audio: aac}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, data := tt.make(t)
			out, d := demux(t, remux.Options{}, data)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			flv := filepath.Join(t.TempDir(), "out.flv")
			writeFLV(t, flv, out)
			compareFiles(t, file, flv, tt.source)
			for _, p := range d.Streams() {
				t.Logf("%+v", p)
			}
			formats := map[*media.Format]bool{}
			for _, p := range out {
				formats[p.Format] = true
			}
			if len(formats) != 1 {
				t.Errorf("%d formats", len(formats))
			}
		})
	}
}

// A transport stream that went through messages is decoded to the same frames
// at the same times.
func TestThroughMessages(t *testing.T) {
	for _, tt := range []struct {
		name string
		source
	}{
		{"B-frames, AAC", source{video: append(x264, "-g", "25", "-bf", "3"), audio: aac}},
		{"24 fps, E-AC-3", source{rate: "24", video: append(x264, "-g", "24"), audio: []string{"-c:a", "eac3"}}},
		{"HEVC, AC-3", source{video: x265, audio: []string{"-c:a", "ac3"}}},
		{"59.94, Opus", source{rate: "60000/1001", video: append(x264, "-g", "60", "-tune", "zerolatency"), audio: []string{"-c:a", "libopus"}}},
		{"5 fps, MP3, 22.05 kHz", source{rate: "5", sound: 22050, video: append(x264, "-g", "5"), audio: []string{"-c:a", "libmp3lame"}}},
		{"audio only", source{sound: 44100, audio: aac}},
		{"video only", source{rate: "30000/1001", video: append(x264, "-g", "30", "-bf", "2")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, data := tt.make(t)
			// Well interleaved, as encoders send messages.
			messages, d := demux(t, remux.Options{Hold: 500 * time.Millisecond}, data)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			for i := range messages { // and at the time when they do
				messages[i].Arrival = time.Unix(1000, 0).Add(time.Duration(messages[i].DTS) * time.Second / 90000)
			}
			out, m := mux(messages)
			after := filepath.Join(t.TempDir(), "out.ts")
			if err := os.WriteFile(after, checkTS(t, out), 0o600); err != nil {
				t.Fatal(err)
			}
			if c := m.Counters(); len(c.Dropped) > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			compareFiles(t, file, after, tt.source)
			t.Logf("%+v", m.Streams())
		})
	}
}

func compareFiles(t *testing.T, before, after string, s source) {
	t.Helper()
	tracks := ""
	if s.video != nil {
		tracks += "v"
	}
	if s.audio != nil {
		tracks += "a"
	}
	video, audio := decode(t, before, tracks)
	videoAfter, audioAfter := decode(t, after, tracks)
	offset := math.NaN()
	if s.video != nil {
		compare(t, "video", video, videoAfter, &offset, 0.00101)
	}
	if s.audio != nil {
		compare(t, "audio", audio, audioAfter, &offset, 0.00101)
	}
}

var x265 = []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=25:bframes=2:log-level=error:pools=1:frame-threads=1"}

// What ffmpeg writes for an RTMP server is decoded from a transport stream to
// the same frames at the same times.
func TestFromFLV(t *testing.T) {
	for _, tt := range []struct {
		name string
		source
	}{
		{"B-frames, AAC", source{sound: 44100, video: append(x264, "-g", "25", "-bf", "3"), audio: aac}},
		{"open GOP, MP3", source{rate: "30000/1001", sound: 44100, video: append(x264, "-g", "15", "-x264-params", "open-gop=1:keyint=15"), audio: []string{"-c:a", "libmp3lame"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.format = "flv"
			file, _ := tt.make(t)
			out, m := mux(readFLV(t, file))
			if c := m.Counters(); c.Dropped["before_key"] > 0 || c.Dropped["damaged"] > 0 {
				t.Errorf("%+v", c)
			}
			after := filepath.Join(t.TempDir(), "out.ts")
			if err := os.WriteFile(after, checkTS(t, out), 0o600); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, file, after, tt.source)
		})
	}
}

// What GStreamer muxes comes through as well.
func TestThroughMessagesFromGStreamer(t *testing.T) {
	for _, tt := range []struct {
		name         string
		video, audio []string
	}{
		{"H.264, AAC", []string{"openh264enc", "gop-size=25", "bitrate=400000"}, []string{"voaacenc", "!", "aacparse"}},
		{"HEVC, Opus", []string{"x265enc", "key-int-max=25", "speed-preset=ultrafast", "option-string=pools=1:frame-threads=1"}, []string{"opusenc"}},
		{"H.264, MP3", []string{"openh264enc", "gop-size=25", "bitrate=400000"}, []string{"lamemp3enc", "!", "mpegaudioparse"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "source.ts")
			line := append([]string{"-q", "videotestsrc", "num-buffers=75", "pattern=smpte", "!", "video/x-raw,format=I420,width=320,height=180,framerate=25/1", "!"}, tt.video...)
			line = append(line, "!", "mux.", "audiotestsrc", "wave=white-noise", "volume=0.3", "num-buffers=140", "samplesperbuffer=1024", "!", "audio/x-raw,rate=48000,channels=2", "!")
			line = append(append(line, tt.audio...), "!", "mux.", "mpegtsmux", "name=mux", "!", "filesink", "location="+file)
			run(t, "gst-launch-1.0", line...)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			messages, d := demux(t, remux.Options{Hold: 500 * time.Millisecond}, data)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			for i := range messages {
				messages[i].Arrival = time.Unix(1000, 0).Add(time.Duration(messages[i].DTS) * time.Second / 90000)
			}
			out, _ := mux(messages)
			after := filepath.Join(t.TempDir(), "out.ts")
			if err := os.WriteFile(after, checkTS(t, out), 0o600); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, file, after, source{video: x264, audio: aac})
		})
	}
}
