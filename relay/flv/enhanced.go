package flv

import "sluice/relay/media"

// The packet types of E-RTMP. Audio and video share the first three and the
// last.
const (
	sequenceStart = 0
	codedFrames   = 1
	sequenceEnd   = 2
	modEx         = 7

	codedFramesX         = 3 // video
	metadata             = 4 // video
	mpeg2TSSequenceStart = 5 // video
	multitrackVideo      = 6

	multichannelConfig = 4 // audio
	multitrackAudio    = 5
)

// AvMultitrackType of E-RTMP.
const (
	oneTrack             = 0
	manyTracks           = 1
	manyTracksManyCodecs = 2
)

// readEnhanced reads an ExVideoTagHeader or ExAudioTagHeader, and the body of
// its first track.
func (t *Tag) readEnhanced(b []byte) error {
	t.Enhanced = true
	t.packet = b[0] & 0x0F
	b = b[1:]
	for t.packet == modEx {
		var ok bool
		if b, ok = t.skipModEx(b); !ok {
			return ErrShort
		}
	}
	if t.Track == media.Video && t.packet != metadata && t.frame == commandFrame {
		t.Payload = b // videoCommand, without a FourCC
		if len(b) == 0 {
			return ErrShort
		}
		return nil
	}
	if t.packet == t.multitrackType() {
		if len(b) == 0 {
			return ErrShort
		}
		t.Multitrack = true
		t.layout, t.packet = b[0]>>4, b[0]&0x0F
		b = b[1:]
		if t.layout > manyTracksManyCodecs || t.packet == t.multitrackType() || t.packet == modEx {
			return ErrReserved
		}
	}
	if t.layout != manyTracksManyCodecs {
		if len(b) < 4 {
			return ErrShort
		}
		t.Codec = fourCC(b)
		b = b[4:]
	}
	return t.readTrack(b)
}

func (t *Tag) multitrackType() byte {
	if t.Track == media.Audio {
		return multitrackAudio
	}
	return multitrackVideo
}

// skipModEx passes over one modifier. TimestampOffsetNano, the only one that
// is defined, refines the time by less than a millisecond: times here are of
// whole ones.
func (t *Tag) skipModEx(b []byte) (rest []byte, ok bool) {
	if len(b) < 1 {
		return nil, false
	}
	size := int(b[0]) + 1
	b = b[1:]
	if size == 256 {
		if len(b) < 2 {
			return nil, false
		}
		size = int(b[0])<<8 + int(b[1]) + 1
		b = b[2:]
	}
	if len(b) <= size {
		return nil, false
	}
	t.packet = b[size] & 0x0F
	return b[size+1:], true
}

// readTrack reads what stands for each track of a message.
func (t *Tag) readTrack(b []byte) error {
	if t.layout == manyTracksManyCodecs {
		if len(b) < 4 {
			return ErrShort
		}
		t.Codec = fourCC(b)
		b = b[4:]
	}
	if t.Multitrack {
		if len(b) < 1 {
			return ErrShort
		}
		t.TrackID = b[0]
		b = b[1:]
	}
	if t.layout != oneTrack {
		if len(b) < 3 {
			return ErrShort
		}
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		b = b[3:]
		if size > len(b) {
			return ErrShort
		}
		b, t.rest = b[:size], b[size:]
	}
	switch {
	case t.packet == sequenceStart:
		return t.sequenceStart(b)
	case t.packet == codedFrames:
		return t.readCoded(b)
	case t.packet == sequenceEnd:
		return nil
	case t.Track == media.Audio && t.packet == multichannelConfig:
		t.Payload = b
		if len(b) < 2 { // channel order, count
			return ErrShort
		}
		t.keep(slotChannels)
		return nil
	case t.Track == media.Audio:
		return ErrReserved
	}
	switch t.packet {
	case codedFramesX:
		t.coded(b)
		return nil
	case metadata:
		t.Payload = b
		t.keep(slotMetadata)
		return nil
	case mpeg2TSSequenceStart: // in place of sequenceStart, never beside it
		return t.sequenceStart(b)
	}
	return ErrReserved
}

// readCoded reads CodedFrames, which begin with the composition time where the
// codec has pictures out of order.
func (t *Tag) readCoded(b []byte) error {
	switch t.Codec {
	case AVC, HEVC, VVC:
		if len(b) < 3 {
			return ErrShort
		}
		t.Composition = signed24(b)
		b = b[3:]
	}
	t.coded(b)
	return nil
}
