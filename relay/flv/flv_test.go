package flv

import (
	"bytes"
	"errors"
	"testing"

	"sluice/relay/media"
)

// body puts a message together of bytes and strings.
func body(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

// same compares what a caller sees.
func same(a, b Tag) bool {
	return a.Track == b.Track && a.Enhanced == b.Enhanced && a.Codec == b.Codec && a.Header == b.Header && a.Key == b.Key &&
		a.Composition == b.Composition && a.Multitrack == b.Multitrack && a.TrackID == b.TrackID && bytes.Equal(a.Payload, b.Payload)
}

func TestParseVideo(t *testing.T) {
	data := []byte("data")
	for _, tt := range []struct {
		name string
		body []byte
		want Tag // without Track and Slot
		err  error
	}{
		{"empty", nil, Tag{}, ErrEmpty},
		{"AVC sequence header", body(0x17, 0, 0, 0, 0, "data"), Tag{Codec: AVC, Header: true, Payload: data}, nil},
		{"AVC sequence header of nothing", body(0x17, 0, 0, 0, 0), Tag{Codec: AVC}, ErrShort},
		{"AVC key frame", body(0x17, 1, 0, 0, 80, "data"), Tag{Codec: AVC, Key: true, Composition: 80, Payload: data}, nil},
		{"AVC key frame of nothing", body(0x17, 1, 0, 0, 80), Tag{Codec: AVC, Composition: 80}, nil},
		{"AVC generated key frame", body(0x47, 1, 0, 0, 0, "data"), Tag{Codec: AVC, Key: true, Payload: data}, nil},
		{"AVC inter frame, before its time", body(0x27, 1, 0xFF, 0xFF, 0xFE, "data"), Tag{Codec: AVC, Composition: -2, Payload: data}, nil},
		{"AVC end of sequence", body(0x17, 2, 0, 0, 0), Tag{Codec: AVC}, nil},
		{"AVC end of sequence, cut", body(0x17, 2), Tag{Codec: AVC}, nil},
		{"AVC packet type 3", body(0x17, 3, 0, 0, 0, 1), Tag{Codec: AVC}, ErrReserved},
		{"AVC, cut in its header", body(0x17, 1, 0, 0), Tag{Codec: AVC}, ErrShort},
		{"AVC, one byte", body(0x17), Tag{Codec: AVC}, ErrShort},
		{"command", body(0x57, 0), Tag{Codec: AVC, Payload: []byte{0}}, nil},
		{"HEVC, before Enhanced RTMP", body(0x1C, 1, 0, 0, 40, "data"), Tag{Codec: HEVC, Key: true, Composition: 40, Payload: data}, nil},
		{"H.263", body(0x22, "data"), Tag{Codec: "h263", Payload: data}, nil},
		{"VP6", body(0x14, "data"), Tag{Codec: "vp6f", Key: true, Payload: data}, nil},
		{"codec 9", body(0x19, "data"), Tag{}, ErrReserved},
		{"frame type 0", body(0x07, "data"), Tag{Codec: AVC}, ErrReserved},
		{"frame type 6", body(0x67, "data"), Tag{Codec: AVC}, ErrReserved},

		{"HEVC sequence start", body(0x90, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Header: true, Payload: data}, nil},
		{"HEVC sequence start of nothing", body(0x90, "hvc1"), Tag{Enhanced: true, Codec: HEVC}, ErrShort},
		{"HEVC key frame", body(0x91, "hvc1", 0, 1, 0, "data"), Tag{Enhanced: true, Codec: HEVC, Key: true, Composition: 256, Payload: data}, nil},
		{"HEVC without composition time", body(0xA3, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Payload: data}, nil},
		{"HEVC key frame without composition time", body(0x93, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Key: true, Payload: data}, nil},
		{"HEVC, cut in its composition time", body(0x91, "hvc1", 0, 0), Tag{Enhanced: true, Codec: HEVC}, ErrShort},
		{"HEVC sequence end", body(0x92, "hvc1"), Tag{Enhanced: true, Codec: HEVC}, nil},
		{"AVC by its FourCC", body(0x91, "avc1", 0xFF, 0xFF, 0xFF, "data"), Tag{Enhanced: true, Codec: AVC, Key: true, Composition: -1, Payload: data}, nil},
		{"AV1 has no composition time", body(0x91, "av01data"), Tag{Enhanced: true, Codec: AV1, Key: true, Payload: data}, nil},
		{"AV1 of a transport stream", body(0x95, "av01data"), Tag{Enhanced: true, Codec: AV1, Header: true, Payload: data}, nil},
		{"VP9", body(0xA1, "vp09data"), Tag{Enhanced: true, Codec: VP9, Payload: data}, nil},
		{"colours, with frame type 1", body(0x94, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Header: true, Payload: data}, nil},
		{"colours, with frame type 5", body(0xD4, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Header: true, Payload: data}, nil},
		{"command, enhanced", body(0xD1, 1), Tag{Enhanced: true, Payload: []byte{1}}, nil},
		{"command without its byte", body(0xD1), Tag{Enhanced: true}, ErrShort},
		{"unknown codec", body(0xA1, "test1"), Tag{Enhanced: true, Codec: "test", Payload: []byte("1")}, nil},
		{"unreadable codec", body(0xA1, 1, 2, 3, 4, "data"), Tag{Enhanced: true, Codec: "0x01020304", Payload: data}, nil},
		{"packet type 8", body(0x98, "hvc1data"), Tag{Enhanced: true, Codec: HEVC}, ErrReserved},
		{"no FourCC", body(0x91, "hvc"), Tag{Enhanced: true}, ErrShort},

		{"nanoseconds", body(0x97, 2, 0, 1, 2, 0x01, "av01data"), Tag{Enhanced: true, Codec: AV1, Key: true, Payload: data}, nil},
		{"two modifiers", body(0x97, 0, 9, 0x17, 0, 9, 0x03, "hvc1data"), Tag{Enhanced: true, Codec: HEVC, Key: true, Payload: data}, nil},
		{"a long modifier", append(body(0x97, 255, 1, 43), append(make([]byte, 300), body(0x03, "hvc1data")...)...), Tag{Enhanced: true, Codec: HEVC, Key: true, Payload: data}, nil},
		{"a modifier, cut", body(0x97, 4, 1, 2, 3, 4, 5), Tag{Enhanced: true}, ErrShort},
		{"a long modifier, cut", body(0x97, 255, 1), Tag{Enhanced: true}, ErrShort},

		{"one track", body(0x96, 0x01, "hvc1", 7, 0, 0, 5, "data"), Tag{Enhanced: true, Codec: HEVC, Key: true, Composition: 5, Multitrack: true, TrackID: 7, Payload: data}, nil},
		{"one track's start", body(0x96, 0x00, "hvc1", 7, "data"), Tag{Enhanced: true, Codec: HEVC, Header: true, Multitrack: true, TrackID: 7, Payload: data}, nil},
		{"tracks", body(0xA6, 0x11, "av01", 0, 0, 0, 4, "data", 1, 0, 0, 2, "xy"), Tag{Enhanced: true, Codec: AV1, Multitrack: true, Payload: data}, nil},
		{"tracks and codecs", body(0x96, 0x21, "av01", 2, 0, 0, 4, "data", "hvc1", 1, 0, 0, 4, 0, 0, 0, "x"), Tag{Enhanced: true, Codec: AV1, Key: true, Multitrack: true, TrackID: 2, Payload: data}, nil},
		{"a track longer than the message", body(0x96, 0x11, "av01", 0, 0, 0, 5, "data"), Tag{Enhanced: true, Codec: AV1, Multitrack: true}, ErrShort},
		{"tracks in tracks", body(0x96, 0x16, "av01", 0, 0, 0, 5, "data"), Tag{Enhanced: true, Multitrack: true}, ErrReserved},
		{"multitrack type 3", body(0x96, 0x31, "av01", 0, 0, 0, 5, "data"), Tag{Enhanced: true, Multitrack: true}, ErrReserved},
		{"multitrack, nothing more", body(0x96), Tag{Enhanced: true}, ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Track = media.Video
			got, err := ParseVideo(tt.body)
			if !errors.Is(err, tt.err) || !same(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseAudio(t *testing.T) {
	data := []byte("data")
	for _, tt := range []struct {
		name string
		body []byte
		want Tag
		err  error
	}{
		{"silence", nil, Tag{}, ErrEmpty},
		{"AAC sequence header", body(0xAF, 0, 0x12, 0x10), Tag{Codec: AAC, Header: true, Payload: []byte{0x12, 0x10}}, nil},
		{"AAC sequence header of nothing", body(0xAF, 0), Tag{Codec: AAC}, ErrShort},
		{"AAC", body(0xAF, 1, "data"), Tag{Codec: AAC, Payload: data}, nil},
		{"AAC, one byte", body(0xAF), Tag{Codec: AAC}, ErrShort},
		{"AAC packet type 2", body(0xAF, 2, "data"), Tag{Codec: AAC}, ErrReserved},
		{"MP3", body(0x2F, "data"), Tag{Codec: MP3, Payload: data}, nil},
		{"MP3 at 8 kHz", body(0xE2, "data"), Tag{Codec: MP3, Payload: data}, nil},
		{"speex", body(0xB2, "data"), Tag{Codec: "speex", Payload: data}, nil},
		{"PCM", body(0x3F, "data"), Tag{Codec: "pcm", Payload: data}, nil},
		{"format 12", body(0xC0, "data"), Tag{}, ErrReserved},

		{"Opus sequence start", body(0x90, "Opusdata"), Tag{Enhanced: true, Codec: Opus, Header: true, Payload: data}, nil},
		{"Opus sequence start of nothing", body(0x90, "Opus"), Tag{Enhanced: true, Codec: Opus, Header: true}, nil},
		{"Opus", body(0x91, "Opusdata"), Tag{Enhanced: true, Codec: Opus, Payload: data}, nil},
		{"AC-3", body(0x91, "ac-3data"), Tag{Enhanced: true, Codec: AC3, Payload: data}, nil},
		{"E-AC-3 sequence end", body(0x92, "ec-3"), Tag{Enhanced: true, Codec: EAC3}, nil},
		{"AAC by its FourCC", body(0x90, "mp4a", 0x12, 0x10), Tag{Enhanced: true, Codec: AAC, Header: true, Payload: []byte{0x12, 0x10}}, nil},
		{"FLAC of nothing", body(0x90, "fLaC"), Tag{Enhanced: true, Codec: FLAC}, ErrShort},
		{"channels", body(0x94, "Opus", 1, 6, 0, 0, 0, 63), Tag{Enhanced: true, Codec: Opus, Header: true, Payload: []byte{1, 6, 0, 0, 0, 63}}, nil},
		{"channels, cut", body(0x94, "Opus", 1), Tag{Enhanced: true, Codec: Opus, Payload: []byte{1}}, ErrShort},
		{"packet type 3", body(0x93, "Opusdata"), Tag{Enhanced: true, Codec: Opus}, ErrReserved},
		{"nanoseconds", body(0x97, 2, 0, 1, 2, 0x01, "Opusdata"), Tag{Enhanced: true, Codec: Opus, Payload: data}, nil},
		{"one track", body(0x95, 0x01, "mp4a", 1, "data"), Tag{Enhanced: true, Codec: AAC, Multitrack: true, TrackID: 1, Payload: data}, nil},
		{"tracks", body(0x95, 0x10, "mp4a", 1, 0, 0, 4, "data", 2, 0, 0, 1, "x"), Tag{Enhanced: true, Codec: AAC, Header: true, Multitrack: true, TrackID: 1, Payload: data}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Track = media.Audio
			got, err := ParseAudio(tt.body)
			if !errors.Is(err, tt.err) || !same(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestNext(t *testing.T) {
	tag, err := ParseVideo(body(0x96, 0x21, "av01", 2, 0, 0, 4, "data", "hvc1", 1, 0, 0, 4, 0, 0, 9, "x"))
	if err != nil {
		t.Fatal(err)
	}
	next, ok, err := tag.Next()
	want := Tag{Track: media.Video, Enhanced: true, Codec: HEVC, Key: true, Composition: 9, Multitrack: true, TrackID: 1, Payload: []byte("x")}
	if !ok || err != nil || !same(next, want) {
		t.Errorf("second track: %+v, %v, %v", next, ok, err)
	}
	if _, ok, err := next.Next(); ok || err != nil {
		t.Errorf("third track: %v, %v", ok, err)
	}
	tag, err = ParseAudio(body(0x95, 0x11, "mp4a", 1, 0, 0, 4, "data", 2, 0, 0, 9, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := tag.Next(); ok || !errors.Is(err, ErrShort) {
		t.Errorf("a second track that is cut: %v, %v", ok, err)
	}
}

// A header replaces the one that does the same for the same track, in whatever
// form it comes, and no other.
func TestSlots(t *testing.T) {
	video := [][][]byte{
		{body(0x17, 0, 0, 0, 0, "a"), body(0x90, "hvc1a"), body(0x95, "av01a"), body(0x96, 0x00, "hvc1", 0, "a"), body(0x97, 0, 0, 0, "hvc1a")},
		{body(0x96, 0x00, "hvc1", 1, "a")},
		{body(0x94, "hvc1a"), body(0x94, "hvc1b")},
		{body(0x96, 0x10, "hvc1", 0, 0, 0, 1, "a", 1, 0, 0, 1, "b")},
	}
	audio := [][][]byte{
		{body(0xAF, 0, 0x12, 0x10), body(0x90, "Opus"), body(0x90, "mp4a", 0x11)},
		{body(0x94, "mp4a", 1, 2)},
		{body(0x95, 0x00, "mp4a", 3, 0x11)},
	}
	seen := map[uint32]string{}
	check := func(parse func([]byte) (Tag, error), groups [][][]byte) {
		for _, group := range groups {
			first, _ := parse(group[0])
			if other, taken := seen[first.Slot]; taken {
				t.Errorf("%x and %s share a slot", group[0], other)
			}
			seen[first.Slot] = string(group[0])
			for _, b := range group {
				if tag, err := parse(b); err != nil || !tag.Header || tag.Slot != first.Slot {
					t.Errorf("%x: %+v, %v: want slot %x", b, tag, err, first.Slot)
				}
			}
		}
	}
	check(ParseVideo, video)
	check(ParseAudio, audio)
}

func TestNoAllocation(t *testing.T) {
	avc, hevc, aac := body(0x17, 1, 0, 0, 0, "data"), body(0x91, "hvc1", 0, 0, 0, "data"), body(0xAF, 1, "data")
	if n := testing.AllocsPerRun(100, func() {
		_, _ = ParseVideo(avc)
		_, _ = ParseVideo(hevc)
		_, _ = ParseAudio(aac)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is read lies inside the message, and never more of it than there is.
func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{
		body(0x17, 1, 0, 0, 80, "data"), body(0x97, 2, 0, 1, 2, 0x01, "av01data"),
		body(0x96, 0x21, "av01", 2, 0, 0, 4, "data", "hvc1", 1, 0, 0, 4, 0, 0, 0, "x"),
		body(0xAF, 0, 0x12, 0x10), body(0x95, 0x10, "mp4a", 1, 0, 0, 4, "data", 2, 0, 0, 1, "x"), body(0x94, "Opus", 1, 6, 0, 0, 0, 63),
	} {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, video bool) {
		parse, track := ParseAudio, media.Audio
		if video {
			parse, track = ParseVideo, media.Video
		}
		tag, err := parse(b)
		total := 0
		for ok := err == nil; ok; {
			total += len(tag.Payload)
			switch {
			case tag.Track != track:
				t.Fatalf("track %d", tag.Track)
			case total > len(b)-1:
				t.Fatalf("%d bytes of payload in %d", total, len(b))
			case len(tag.Payload) > 0 && !bytes.Contains(b, tag.Payload):
				t.Fatal("payload that is not in the message")
			case tag.Key && (tag.Header || track == media.Audio || len(tag.Payload) == 0):
				t.Fatalf("key frame: %+v", tag)
			case tag.Header != (tag.Slot != 0):
				t.Fatalf("slot: %+v", tag)
			case tag.Composition < -1<<23 || tag.Composition >= 1<<23:
				t.Fatalf("composition time: %d", tag.Composition)
			}
			if tag, ok, _ = tag.Next(); ok && !tag.Multitrack {
				t.Fatalf("a next track of %+v", tag)
			}
		}
	})
}
