package flv

import "sluice/relay/media"

// The codecs of FLV E.4.3.1 (CodecID). HEVC has no number there; 12 is what
// encoders and servers used before Enhanced RTMP, with the layout of AVC.
var videoCodecs = [16]string{2: "h263", 3: "screen", 4: "vp6f", 5: "vp6a", 6: "screen2", 7: AVC, 12: HEVC}

// The codecs of FLV E.4.2.1 (SoundFormat).
var audioCodecs = [16]string{
	0: "pcm", 1: "adpcm", 2: MP3, 3: "pcm", 4: "nellymoser", 5: "nellymoser", 6: "nellymoser",
	7: "alaw", 8: "ulaw", 10: AAC, 11: "speex", 14: MP3, 15: "native",
}

// ParseVideo reads the body of a video message. It keeps no reference to b but
// in the Tag.
func ParseVideo(b []byte) (Tag, error) {
	t := Tag{Track: media.Video}
	if len(b) == 0 {
		return t, ErrEmpty
	}
	if b[0]&0x80 != 0 { // isExVideoHeader
		t.frame = b[0] >> 4 & 7
		return t, t.readEnhanced(b)
	}
	t.frame = b[0] >> 4
	t.Codec = videoCodecs[b[0]&0x0F]
	switch {
	case t.Codec == "", t.frame == 0, t.frame > commandFrame:
		return t, ErrReserved
	case len(b) < 2:
		return t, ErrShort
	case t.frame == commandFrame:
		t.Payload = b[1:]
		return t, nil
	case t.Codec != AVC && t.Codec != HEVC:
		t.coded(b[1:])
		return t, nil
	}
	// AVCVIDEOPACKET (FLV E.4.3.2).
	switch packet := b[1]; {
	case packet == 2: // end of sequence: what follows does not count
		return t, nil
	case packet > 2:
		return t, ErrReserved
	case len(b) < 5:
		return t, ErrShort
	case packet == 0:
		return t, t.sequenceStart(b[5:])
	}
	t.Composition = signed24(b[2:])
	t.coded(b[5:])
	return t, nil
}

// ParseAudio reads the body of an audio message. It keeps no reference to b
// but in the Tag.
func ParseAudio(b []byte) (Tag, error) {
	t := Tag{Track: media.Audio}
	if len(b) == 0 {
		return t, ErrEmpty
	}
	format := b[0] >> 4
	if format == 9 { // ExHeader
		return t, t.readEnhanced(b)
	}
	t.Codec = audioCodecs[format]
	switch {
	case t.Codec == "":
		return t, ErrReserved
	case len(b) < 2:
		return t, ErrShort
	case t.Codec != AAC:
		t.Payload = b[1:]
		return t, nil
	}
	// AACAUDIODATA (FLV E.4.2.2).
	switch b[1] {
	case 0:
		return t, t.sequenceStart(b[2:])
	case 1:
		t.Payload = b[2:]
		return t, nil
	}
	return t, ErrReserved
}
