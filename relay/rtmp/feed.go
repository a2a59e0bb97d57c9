package rtmp

import (
	"slices"
	"sync/atomic"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/flv"
	"sluice/relay/media"
)

// How far a peer may be too slow: it loses what the flow no longer holds, and
// goes on at the newest key frame; the third time within a minute it is not
// worth its while.
const (
	mostOverruns = 3
	overrunsIn   = time.Minute
)

// mostPackets is how many packets are taken from a flow together.
const mostPackets = 16

// A feed makes what is sent to one peer: a flow from the newest key frame on,
// as messages that are cut into chunks. It is for one goroutine at a time.
type feed struct {
	cursor *flow.Cursor
	ledger *endpoint.Ledger
	stream uint32  // message stream
	size   int     // of chunks
	shared *shared // messages that are cut for others as well; nil: they are not
	// publishing lets times begin at zero, and metadata be what a publisher sends.
	publishing bool
	// takes tells whether the peer takes a codec of Enhanced RTMP; nil: any.
	takes func(codec string) bool

	format   *media.Format    // that the peer knows
	lack     *endpoint.Reason // what of that it is not sent
	base     int64            // DTS that is sent as zero
	arena    []byte           // what was cut for this peer alone
	overruns []time.Time
}

// A load is what a feed has made, and what it is made of. It is good until the
// next one.
type load struct {
	chunks  [][]byte
	packets uint64
	bytes   uint64 // of media
}

// next appends to l what the flow has now, which may be nothing. packets is
// scratch memory. After an error there is no more, and what was appended counts.
func (f *feed) next(l *load, packets []media.Packet, now time.Time) error {
	n, lost := f.cursor.Poll(packets)
	defer clear(packets[:n])
	f.ledger.Taken.Add(uint64(n) + lost)
	f.ledger.Drop(endpoint.DropOverrun, lost)
	if lost > 0 && f.tooSlow(now) {
		f.ledger.Drop(endpoint.DropOverrun, uint64(n))
		return errPeerSlow
	}
	f.arena = f.arena[:0]
	first := f.cursor.Position() - uint64(n)
	for i := range packets[:n] {
		p := &packets[i]
		if p.Format.Kind != media.FLV {
			f.ledger.Drop(endpoint.DropFormat, 1)
			continue
		}
		if codec := f.unfit(p.Track, p.Data); codec != "" {
			why := f.leftOut(p.Track, codec)
			if p.Track == media.Video {
				f.ledger.Drop(endpoint.DropFormat, uint64(n-i))
				return &endpoint.Error{Phase: endpoint.Unworkable, Reason: *why}
			}
			f.ledger.Drop(endpoint.DropFormat, 1)
			f.lack = why
			continue
		}
		f.follow(l, p)
		l.chunks = append(l.chunks, f.chunks(first+uint64(i), p))
		l.packets++
		l.bytes += uint64(len(p.Data))
	}
	return nil
}

// tooSlow books that packets were lost.
func (f *feed) tooSlow(now time.Time) bool {
	f.overruns = slices.DeleteFunc(f.overruns, func(at time.Time) bool { return now.Sub(at) > overrunsIn })
	f.overruns = append(f.overruns, now)
	return len(f.overruns) >= mostOverruns
}

// unfit returns the codec of a message that the peer does not take, or "".
func (f *feed) unfit(track int, data []byte) string {
	if f.takes == nil || track == media.Data {
		return ""
	}
	parse := flv.ParseAudio
	if track == media.Video {
		parse = flv.ParseVideo
	}
	if tag, _ := parse(data); tag.Enhanced && tag.Codec != "" && !f.takes(tag.Codec) {
		return tag.Codec
	}
	return ""
}

// leftOut says that a codec is not sent.
func (f *feed) leftOut(track int, codec string) *endpoint.Reason {
	const mend = "send another, or set enhanced to force"
	if track == media.Video {
		return endpoint.Because("codec", "video codec %s is not among those of Enhanced RTMP that the server lists: %s", codec, mend)
	}
	return endpoint.Because("codec", "audio codec %s is not among those of Enhanced RTMP that the server lists: video only; %s", codec, mend)
}

// follow appends the headers that the peer does not have yet.
func (f *feed) follow(l *load, p *media.Packet) {
	if p.Format == f.format {
		return
	}
	if f.format == nil && f.publishing {
		f.base = p.DTS
	}
	for _, h := range p.Format.Headers {
		if !f.knows(h) && f.unfit(h.Track, h.Data) == "" {
			l.chunks = append(l.chunks, f.cut(f.header(h, p)))
		}
	}
	f.format, f.lack = p.Format, nil
}

// knows tells whether the peer has a header. Those of one source that did not
// change are the same memory.
func (f *feed) knows(h media.Header) bool {
	if f.format == nil || len(h.Data) == 0 {
		return false
	}
	for _, old := range f.format.Headers {
		if old.Track == h.Track && len(old.Data) == len(h.Data) && &old.Data[0] == &h.Data[0] {
			return true
		}
	}
	return false
}

// header makes the message of a header that goes before a packet.
func (f *feed) header(h media.Header, before *media.Packet) message {
	m := message{kind: rtmpmsg.TypeID(h.Track), stream: f.stream, time: f.time(before), data: h.Data}
	switch {
	case h.Track != media.Data:
	case f.publishing:
		m.data = append(slices.Clip(setData), h.Data...)
	default:
		m.time = 0 // ffmpeg takes metadata of another time for subtitles
	}
	return m
}

// chunks returns the message of a packet, cut.
func (f *feed) chunks(position uint64, p *media.Packet) []byte {
	m := message{kind: rtmpmsg.TypeID(p.Track), stream: f.stream, time: f.time(p), data: p.Data}
	if f.shared != nil {
		return f.shared.cut(position, m)
	}
	return f.cut(m)
}

// cut cuts a message for this peer alone.
func (f *feed) cut(m message) []byte {
	begin := len(f.arena)
	f.arena = appendMessage(f.arena, f.size, m)
	return f.arena[begin:]
}

// time returns a packet's time as messages carry it, in milliseconds: it wraps.
// Audio that is a little before the key frame that began is put beside it.
func (f *feed) time(p *media.Packet) uint32 { return uint32(max(p.DTS-f.base, 0) / ticks) }

// shared keeps messages cut into chunks, so that one is cut once for all
// players. What a slow player asks for later is cut anew.
type shared struct {
	slots [64]atomic.Pointer[cutMessage]
}

// A cutMessage is the message at a position of the flow.
type cutMessage struct {
	position uint64
	chunks   []byte
}

func (c *shared) cut(position uint64, m message) []byte {
	slot := &c.slots[position%uint64(len(c.slots))]
	if cut := slot.Load(); cut != nil && cut.position == position {
		return cut.chunks
	}
	cut := &cutMessage{position, appendMessage(make([]byte, 0, chunked(len(m.data), playChunkSize, m.time)), playChunkSize, m)}
	slot.Store(cut)
	return cut.chunks
}
