package remux

import (
	"encoding/binary"
	"math"

	"sluice/relay/flv"
	"sluice/relay/media"
)

// metadata is the onMetaData message of a stream (FLV E.5), in AMF0 as it
// stands in a file: servers that are published to are sent it with
// @setDataFrame before it.
func metadata(video, audio *Info) media.Header {
	var o amf
	o.text("onMetaData")
	o.b = append(o.b, 0x08, 0, 0, 0, 0) // ECMA array
	at := len(o.b) - 4
	n := uint32(0)
	number := func(key string, v float64) {
		o.key(key)
		o.number(v)
		n++
	}
	if video != nil {
		if video.Width > 0 && video.Height > 0 {
			number("width", float64(video.Width))
			number("height", float64(video.Height))
		}
		if video.FrameRate > 0 {
			number("framerate", video.FrameRate)
		}
		number("videocodecid", codecID(video.Codec))
	}
	if audio != nil {
		if audio.SampleRate > 0 {
			number("audiosamplerate", float64(audio.SampleRate))
		}
		if audio.Channels > 0 {
			number("audiochannels", float64(audio.Channels))
			o.key("stereo")
			o.boolean(audio.Channels > 1)
			n++
		}
		number("audiocodecid", codecID(audio.Codec))
	}
	binary.BigEndian.PutUint32(o.b[at:], n)
	o.b = append(o.b, 0, 0, 9)
	return media.Header{Track: media.Data, Data: o.b}
}

// codecID is the number of a codec in metadata: that of a classic tag, or the
// FourCC as a number (E-RTMP, "Enhancing onMetaData").
func codecID(codec string) float64 {
	switch codec {
	case flv.AVC:
		return 7
	case flv.AAC:
		return 10
	case flv.MP3:
		return 2
	}
	if len(codec) != 4 {
		return 0
	}
	return float64(binary.BigEndian.Uint32([]byte(codec)))
}

// An amf writes AMF0 (sections 2.2 to 2.4, 2.10).
type amf struct{ b []byte }

func (a *amf) key(s string) {
	a.b = binary.BigEndian.AppendUint16(a.b, uint16(len(s)))
	a.b = append(a.b, s...)
}

func (a *amf) text(s string) {
	a.b = append(a.b, 0x02)
	a.key(s)
}

func (a *amf) number(v float64) {
	a.b = append(a.b, 0x00)
	a.b = binary.BigEndian.AppendUint64(a.b, math.Float64bits(v))
}

func (a *amf) boolean(v bool) {
	a.b = append(a.b, 0x01, 0)
	if v {
		a.b[len(a.b)-1] = 1
	}
}
