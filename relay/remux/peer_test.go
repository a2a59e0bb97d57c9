package remux_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/bluenviron/gortmplib/pkg/bytecounter"
	"github.com/bluenviron/gortmplib/pkg/message"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/remux"
)

// chunks puts messages into an RTMP chunk stream, each in one chunk.
func chunks(packets []media.Packet) []byte {
	b := []byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF} // Set Chunk Size
	add := func(track int, dts int64, data []byte) {
		ms := uint32(dts / 90)
		b = append(b, byte(track), byte(ms>>16), byte(ms>>8), byte(ms), byte(len(data)>>16), byte(len(data)>>8), byte(len(data)), byte(track))
		b = append(binary.LittleEndian.AppendUint32(b, 1), data...)
	}
	var format *media.Format
	for _, p := range packets {
		if p.Format != format {
			format = p.Format
			for _, h := range format.Headers {
				add(h.Track, p.DTS, h.Data)
			}
		}
		add(p.Track, p.DTS, p.Data)
	}
	return b
}

// What is not in FLV 10.1 is read by another implementation of Enhanced RTMP:
// every configuration parses there, and every frame is what it is here.
func TestEnhancedPeer(t *testing.T) {
	for _, tt := range []struct {
		name         string
		video, audio []string
		fourCC       [2]message.FourCC
	}{
		{"HEVC, AC-3", x265, []string{"-c:a", "ac3"}, [2]message.FourCC{message.FourCCHEVC, message.FourCCAC3}},
		{"HEVC, Opus", x265, []string{"-c:a", "libopus"}, [2]message.FourCC{message.FourCCHEVC, message.FourCCOpus}},
		{"H.264, AAC", append(x264, "-bf", "2"), aac, [2]message.FourCC{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, data := source{video: tt.video, audio: tt.audio}.make(t)
			out, _ := demux(t, remux.Options{}, data)
			b := bytes.NewReader(chunks(out))
			r := message.NewReader(b, bytecounter.NewReader(b), func(uint32) error { return nil })
			var headers, frames [2]int
			next := 0
			frame := func(track int, payload []byte, offset int64) {
				p := out[next]
				next++
				tag, err := flv.ParseVideo(p.Data)
				if track == media.Audio {
					tag, err = flv.ParseAudio(p.Data)
				}
				if err != nil || p.Track != track || !bytes.Equal(payload, tag.Payload) || offset != int64(tag.Composition) {
					t.Fatalf("message %d of track %d: %d ms, %d bytes: %d ms, %d bytes here; %v", next-1, track, offset, len(payload), tag.Composition, len(tag.Payload), err)
				}
				frames[track-media.Audio]++
			}
			for b.Len() > 0 || next < len(out) {
				m, err := r.Read()
				if err != nil {
					t.Fatalf("after %d messages: %v", next, err)
				}
				switch m := m.(type) {
				case *message.SetChunkSize:
				case *message.DataAMF0:
					text := fmt.Sprintf("%+v", m.Payload)
					for _, want := range []string{
						"onMetaData", "{Key:width Value:320}", "{Key:height Value:180}", "{Key:framerate Value:25}", "Key:videocodecid",
						"{Key:audiosamplerate Value:48000}", "{Key:audiochannels Value:2}", "Key:audiocodecid",
					} {
						if !strings.Contains(text, want) {
							t.Errorf("metadata %s: no %s", text, want)
						}
					}
				case *message.VideoExSequenceStart:
					headers[1]++
					if m.FourCC != tt.fourCC[0] || len(m.HEVCConfig.NaluArrays) != 3 || m.HEVCConfig.GeneralProfileIdc != 1 {
						t.Errorf("%+v", m)
					}
				case *message.AudioExSequenceStart:
					headers[0]++
					if m.FourCC != tt.fourCC[1] || m.FourCC == message.FourCCOpus && m.OpusConfig.ChannelCount != 2 {
						t.Errorf("%+v", m)
					}
				case *message.VideoExCodedFrames:
					frame(media.Video, m.Payload, m.PTSDelta.Milliseconds())
				case *message.AudioExCodedFrames:
					frame(media.Audio, m.Payload, 0)
				case *message.Video:
					if m.Type == message.VideoTypeConfig {
						headers[1]++
						continue
					}
					frame(media.Video, m.AU, m.PTSDelta.Milliseconds())
				case *message.Audio:
					if m.AACType == message.AudioAACTypeConfig {
						headers[0]++
						continue
					}
					frame(media.Audio, m.AU, 0)
				default:
					t.Fatalf("%T", m)
				}
			}
			if headers != [2]int{1, 1} || frames[0] < 90 || frames[1] != 75 {
				t.Errorf("%v headers, %v frames", headers, frames)
			}
		})
	}
}
