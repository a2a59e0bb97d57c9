package remux

import (
	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// A frame is what a decoder takes at a time.
type frame struct {
	dts, pts int64 // 90 kHz, on the source's clock, unwrapped
	key      bool
	codec    string
	data     []byte   // what the codec made, or
	units    [][]byte // NAL units, of which a message has the lengths
	header   []byte   // the header message in force, nil if the codec needs none
}

// Info is what is known of an elementary stream from within it.
type Info struct {
	Codec         string // FourCC
	Width, Height int
	FrameRate     float64 // as measured, or as the stream says before that
	SampleRate    int
	Channels      int
}

// shows takes what an SPS says of its pictures, where that can be: one may say
// anything, and its rate be no number.
func (i *Info) shows(width, height int, rate float64) {
	const most = 1 << 16
	if width <= 0 || height <= 0 || width > most || height > most {
		width, height = 0, 0
	}
	if !(rate > 0 && rate <= 1000) {
		rate = 0
	}
	i.Width, i.Height, i.FrameRate = width, height, rate
}

// A reader makes frames of the units of one elementary stream. Its counts are
// in Demux: it tells what it drops.
type reader interface {
	// read takes a unit, with its times unwrapped. It calls emit for each
	// frame, which is valid during the call.
	read(u *mpegts.Unit, emit func(*frame), drop func(Drop, int))
	// end hands over what was kept for what might come, at the end.
	end(emit func(*frame), drop func(Drop, int))
	info() Info
	// unfit says why no message can carry what was found in the stream, empty
	// while one can.
	unfit() string
}

// composition is where the composition time of a video message stands, 0 for
// a codec that has none.
func composition(codec string) int {
	switch codec {
	case flv.AVC:
		return 2
	case flv.HEVC:
		return 5
	}
	return 0
}

// message makes the message of a frame. offset is its PTS - DTS in
// milliseconds.
func message(slab *media.Slab, f *frame, offset int64) []byte {
	var head [8]byte
	h := head[:0]
	kind := byte(2) // inter frame
	if f.key {
		kind = 1
	}
	switch f.codec {
	case flv.AVC: // FLV E.4.3.1
		h = append(h, kind<<4|7, 1, 0, 0, 0)
	case flv.HEVC: // CodedFrames, with a composition time
		h = append(append(h, 0x80|kind<<4|1), f.codec...)
		h = append(h, 0, 0, 0)
	case flv.AV1:
		h = append(append(h, 0x80|kind<<4|1), f.codec...)
	case flv.AAC: // FLV E.4.2.1
		h = append(h, 0xAF, 1)
	case flv.MP3:
		h = append(h, mp3Tag(f.data))
	default: // audio, CodedFrames
		h = append(append(h, 0x91), f.codec...)
	}
	if at := composition(f.codec); at > 0 {
		offset = min(offset, 1<<23-1)
		h[at], h[at+1], h[at+2] = byte(offset>>16), byte(offset>>8), byte(offset)
	}
	size := len(h) + len(f.data)
	for _, u := range f.units {
		size += 4 + len(u)
	}
	b := slab.Alloc(size)
	n := copy(b, h)
	n += copy(b[n:], f.data)
	for _, u := range f.units { // 14496-15, 4.3.3: the length of each before it
		b[n], b[n+1], b[n+2], b[n+3] = byte(len(u)>>24), byte(len(u)>>16), byte(len(u)>>8), byte(len(u))
		n += 4 + copy(b[n+4:], u)
	}
	return b
}

// sequenceHeader makes the header message of a configuration.
func sequenceHeader(codec string, configuration []byte) []byte {
	switch codec {
	case flv.AVC:
		return append([]byte{0x17, 0, 0, 0, 0}, configuration...)
	case flv.AAC:
		return append([]byte{0xAF, 0}, configuration...)
	}
	// SequenceStart is 0; of video the frame type stands above it, 1 with the
	// bit of Enhanced RTMP, of audio the sound format 9.
	return append(append([]byte{0x90}, codec...), configuration...)
}
