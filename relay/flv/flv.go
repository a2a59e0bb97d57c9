// Package flv reads what the body of an RTMP audio or video message, which is
// an FLV tag without its header, says of itself: codec, key frame, codec
// configuration, composition time.
//
// Sources: Adobe Flash Video File Format Specification 10.1, annex E.4.2 and
// E.4.3 (FLV below); Enhanced RTMP v2 (veovera), "Enhanced Audio" and "Enhanced
// Video" (E-RTMP below).
package flv

import (
	"errors"
	"fmt"

	"sluice/relay/media"
)

// Why a body cannot be read. The Tag that comes with an error holds what was
// read before it.
var (
	// ErrEmpty is a body without a byte. Of audio it means silence (E-RTMP).
	ErrEmpty = errors.New("flv: empty message")
	ErrShort = errors.New("flv: message is cut short")
	// ErrReserved is a value that no specification gives a meaning: the message
	// may be passed on, but what it holds is not known.
	ErrReserved = errors.New("flv: reserved value")
)

// Codecs, by FourCC. Classic messages get the same names.
const (
	AVC  = "avc1"
	HEVC = "hvc1"
	VVC  = "vvc1"
	AV1  = "av01"
	VP8  = "vp08"
	VP9  = "vp09"
	AAC  = "mp4a"
	MP3  = ".mp3"
	Opus = "Opus"
	AC3  = "ac-3"
	EAC3 = "ec-3"
	FLAC = "fLaC"
)

// A Tag is what a message says of itself.
type Tag struct {
	Track    int    // media.Audio or media.Video
	Enhanced bool   // the message has the header of Enhanced RTMP
	Codec    string // a FourCC, or for older codecs a name; empty of a command
	// Header is set where a decoder must keep the message: sequence starts,
	// colour metadata, channel configuration.
	Header bool
	// Key is set where a decoder may start: coded data of a video key frame.
	Key         bool
	Composition int32 // PTS - DTS in milliseconds
	// Multitrack is set where the message names the track that it is of, or
	// holds several; TrackID is then the (first) one's.
	Multitrack bool
	TrackID    byte
	// Slot says what a Header replaces: the message before it of equal Slot.
	Slot uint32
	// Payload is the codec's data after all headers; of a message that holds
	// several tracks, the first one's.
	Payload []byte

	// What Next goes on with.
	packet, frame byte
	layout        byte // AvMultitrackType
	rest          []byte
}

// Next returns the next track of a message that holds several; ok is false at
// its end.
func (t Tag) Next() (next Tag, ok bool, err error) {
	if len(t.rest) == 0 {
		return Tag{}, false, nil
	}
	next = Tag{
		Track: t.Track, Enhanced: true, Codec: t.Codec, Multitrack: true,
		packet: t.packet, frame: t.frame, layout: t.layout,
	}
	err = next.readTrack(t.rest)
	return next, err == nil, err
}

// Kinds of header, for Slot.
const (
	slotSequence = iota
	slotMetadata
	slotChannels
)

// keep marks t as a header.
func (t *Tag) keep(kind uint32) {
	t.Header = true
	t.Slot = uint32(t.Track)<<16 | kind<<8 | uint32(t.TrackID)
	if t.layout != oneTrack {
		// It stands for more tracks than the first, and does not give way to
		// the header of that alone.
		t.Slot |= 1 << 24
	}
}

// needsConfiguration tells whether a sequence start of the codec is worthless
// without a body. That of Opus may be empty, MP3 and AC-3 have none (E-RTMP).
func needsConfiguration(codec string) bool {
	switch codec {
	case AVC, HEVC, VVC, AV1, VP8, VP9, AAC, FLAC:
		return true
	}
	return false
}

// sequenceStart takes the codec's configuration.
func (t *Tag) sequenceStart(b []byte) error {
	t.Payload = b
	if len(b) == 0 && needsConfiguration(t.Codec) {
		return ErrShort
	}
	t.keep(slotSequence)
	return nil
}

// signed24 reads an SI24.
func signed24(b []byte) int32 {
	return int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8
}

// fourCC returns a constant for the codecs that are known, so that no memory
// is taken for them.
func fourCC(b []byte) string {
	switch string(b[:4]) {
	case AVC:
		return AVC
	case HEVC:
		return HEVC
	case VVC:
		return VVC
	case AV1:
		return AV1
	case VP8:
		return VP8
	case VP9:
		return VP9
	case AAC:
		return AAC
	case MP3:
		return MP3
	case Opus:
		return Opus
	case AC3:
		return AC3
	case EAC3:
		return EAC3
	case FLAC:
		return FLAC
	}
	for _, c := range b[:4] {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("0x%x", b[:4])
		}
	}
	return string(b[:4])
}

// The frame types of video (FLV E.4.3.1).
const (
	keyFrame          = 1
	generatedKeyFrame = 4
	commandFrame      = 5
)

// coded takes a video frame's data.
func (t *Tag) coded(b []byte) {
	t.Payload = b
	t.Key = t.Track == media.Video && len(b) > 0 && (t.frame == keyFrame || t.frame == generatedKeyFrame)
}
