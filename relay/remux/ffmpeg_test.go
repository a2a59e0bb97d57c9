package remux_test

import (
	"math"
	"path/filepath"
	"testing"

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
			tracks := ""
			if tt.video != nil {
				tracks += "v"
			}
			if tt.audio != nil {
				tracks += "a"
			}
			video, audio := decode(t, file, tracks)
			videoAfter, audioAfter := decode(t, flv, tracks)
			offset := math.NaN()
			if tt.video != nil {
				compare(t, "video", video, videoAfter, &offset, 0.00101)
			}
			if tt.audio != nil {
				compare(t, "audio", audio, audioAfter, &offset, 0.00101)
			}
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
