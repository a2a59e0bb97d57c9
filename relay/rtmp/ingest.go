package rtmp

import (
	"bytes"
	"errors"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/flv"
	"sluice/relay/media"
)

// ticks is the clock rate of a packet's times, by the millisecond.
const ticks = 90

// What a source's times may do and still be one timeline.
const (
	mostBack  = 5 * time.Second  // audio and video need not be sent in order
	mostAhead = 10 * time.Second // beyond the time that went by
	// rest is how long a track may be without messages and still go on from its
	// own; otherwise it goes by the other.
	rest = time.Minute
)

// mostHeaders bounds what is kept of a source: metadata, and the configurations
// of its tracks.
const mostHeaders = 32

// mostHeaderBytes bounds them together.
const mostHeaderBytes = 1 << 20

// An ingest makes packets of the messages of one session of a source, and
// publishes them: what came by its own time, and headers in a format.
type ingest struct {
	to      *flow.Flow
	ledger  *endpoint.Ledger
	batch   []media.Packet
	headers []header
	size    int           // of the headers
	format  *media.Format // nil: it has to be made anew
	clock   *media.Clock  // nil before the first packet
	video   bool          // there is some
	reach   reach         //  of the track that is ahead
	tracks  [2]reach      // of audio and video
	jumps   int           // of the timeline, close to each other
	jumped  time.Time     // when the last was
	bytes   uint64        // published since the last flush
}

// A header is what a decoder keeps, and what it stands for.
type header struct {
	media.Header
	slot uint32
}

func newIngest(to *flow.Flow, ledger *endpoint.Ledger) *ingest {
	return &ingest{to: to, ledger: ledger}
}

// take takes a message that may be media. It counts what cannot be passed on.
func (g *ingest) take(m message, now time.Time) {
	switch m.kind {
	case rtmpmsg.TypeIDAudioMessage, rtmpmsg.TypeIDVideoMessage:
		g.media(m, now)
	case rtmpmsg.TypeIDDataMessageAMF3:
		// AMF0 behind a byte, as programs send it.
		if len(m.data) < 1 || m.data[0] != 0 {
			g.drop()
			return
		}
		m.data = m.data[1:]
		g.data(m, now)
	case rtmpmsg.TypeIDDataMessageAMF0:
		g.data(m, now)
	case rtmpmsg.TypeIDAggregateMessage:
		g.aggregate(m, now)
	}
}

func (g *ingest) drop() {
	g.ledger.Taken.Add(1)
	g.ledger.Drop(endpoint.DropFormat, 1)
}

// media takes an audio or video message.
func (g *ingest) media(m message, now time.Time) {
	parse, track := flv.ParseAudio, media.Audio
	if m.kind == rtmpmsg.TypeIDVideoMessage {
		parse, track = flv.ParseVideo, media.Video
	}
	tag, err := parse(m.data)
	silence := track == media.Audio && errors.Is(err, flv.ErrEmpty)
	if err != nil && !silence && !errors.Is(err, flv.ErrReserved) {
		g.drop()
		return
	}
	if track == media.Video && !g.video {
		g.video = true
	}
	if tag.Header {
		g.keep(header{media.Header{Track: track, Data: m.data}, tag.Slot})
		return
	}
	dts := g.at(track, m.time, now)
	g.add(media.Packet{
		Track: track, DTS: dts * ticks, PTS: (dts + int64(tag.Composition)) * ticks, Arrival: now, Data: m.data,
		RandomAccess: tag.Key || track == media.Audio && !g.video,
	})
}

// metadata is the name under which a player gets what a stream says of itself,
// and setData what a publisher puts before it.
var (
	metadata = encodeAMF("onMetaData")
	setData  = encodeAMF("@setDataFrame")
)

// ofSession are what servers tell a player of its session, beside the stream.
var ofSession = [][]byte{encodeAMF("|RtmpSampleAccess"), encodeAMF("onStatus")}

// data takes a message of the application: metadata, which players that join
// later get as well, or anything else, which they do not.
func (g *ingest) data(m message, now time.Time) {
	for _, name := range ofSession {
		if bytes.HasPrefix(m.data, name) {
			return
		}
	}
	m.data = bytes.TrimPrefix(m.data, setData)
	if bytes.HasPrefix(m.data, metadata) {
		g.keep(header{media.Header{Track: media.Data, Data: m.data}, media.Data << 16})
		return
	}
	// Its time is often zero: it goes with the media that it came with.
	dts := g.reach.time
	if d := int64(int32(m.time - uint32(g.reach.time))); g.clock != nil && max(d, -d) < mostBack.Milliseconds() {
		dts += d
	}
	g.add(media.Packet{Track: media.Data, DTS: dts * ticks, PTS: dts * ticks, Arrival: now, Data: m.data})
}

// aggregate takes several messages in one (section 7.1.6). Their times count
// from that of the first.
func (g *ingest) aggregate(m message, now time.Time) {
	const tagHeader, backPointer = 11, 4
	b, first := m.data, true
	var base uint32
	for len(b) >= tagHeader {
		kind, n := rtmpmsg.TypeID(b[0]), int(uint24(b[1:]))
		at := uint24(b[4:]) | uint32(b[7])<<24
		if first {
			base, first = at, false
		}
		if n > len(b)-tagHeader {
			g.drop()
			return
		}
		if kind == rtmpmsg.TypeIDAggregateMessage { // one in the other
			g.drop()
		} else {
			g.take(message{kind: kind, time: m.time + at - base, data: b[tagHeader : tagHeader+n : tagHeader+n]}, now)
		}
		if g.full() {
			g.publish()
		}
		b = b[tagHeader+n:]
		b = b[min(backPointer, len(b)):]
	}
}

// keep takes a header in place of the one before it. A format with other
// headers begins with the next packet.
func (g *ingest) keep(h header) {
	g.ledger.Taken.Add(1)
	for i, old := range g.headers {
		if old.slot != h.slot {
			continue
		}
		if grows := len(h.Data) - len(old.Data); g.size+grows > mostHeaderBytes {
			g.ledger.Drop(endpoint.DropFormat, 1)
			return
		} else if !bytes.Equal(old.Data, h.Data) {
			g.size += grows
			g.headers[i] = h
			g.format = nil
		}
		g.sent(len(h.Data))
		return
	}
	if len(g.headers) >= mostHeaders || g.size+len(h.Data) > mostHeaderBytes {
		g.ledger.Drop(endpoint.DropFormat, 1)
		return
	}
	g.size += len(h.Data)
	g.headers = append(g.headers, h)
	g.format = nil
	g.sent(len(h.Data))
}

// A reach is how far a track has come in a timeline.
type reach struct {
	time    int64     // ms, of its newest message
	arrival time.Time // of that; zero: there was none
}

// goesOn tells whether a track's time may go on by so many milliseconds.
func (p reach) goesOn(by int64, now time.Time) bool {
	return by >= -mostBack.Milliseconds() && by <= (now.Sub(p.arrival)+mostAhead).Milliseconds()
}

// at returns the time of a message without a wrap, and begins a new clock where
// it has jumped.
func (g *ingest) at(track int, time uint32, now time.Time) int64 {
	own := &g.tracks[track-media.Audio]
	from := *own
	if now.Sub(from.arrival) > rest { // or there was none
		from = g.reach
	}
	d := time - uint32(from.time)
	step := int64(int32(d))
	if !from.goesOn(step, now) {
		step = int64(int32(d<<1) >> 1) // FLV has 31 bits, and ffmpeg sends no more
	}
	if g.clock == nil || !from.goesOn(step, now) && !(own.arrival.IsZero() && g.apart(now)) {
		g.begin(time, now)
		*own = g.reach
		return g.reach.time
	}
	t := from.time + step
	if own.arrival.IsZero() || t > own.time {
		*own = reach{t, now}
	}
	if t > g.reach.time {
		g.reach = *own
	}
	return t
}

// Sources whose tracks are far apart would begin a clock with every message.
const (
	mostJumps = 3
	jumpsIn   = 2 * time.Second
)

// apart tells whether the timeline has jumped so often of late that it must be
// two tracks that are apart.
func (g *ingest) apart(now time.Time) bool {
	return g.jumps >= mostJumps && now.Sub(g.jumped) < jumpsIn
}

// begin begins a timeline.
func (g *ingest) begin(time uint32, now time.Time) {
	if now.Sub(g.jumped) >= jumpsIn {
		g.jumps = 0
	}
	g.jumps, g.jumped = g.jumps+1, now
	g.clock, g.format = &media.Clock{}, nil
	g.reach = reach{int64(time), now}
	g.tracks = [2]reach{}
}

// add adds a packet to the batch.
func (g *ingest) add(p media.Packet) {
	if g.clock == nil { // data before any media
		g.begin(uint32(g.reach.time), p.Arrival)
	}
	if g.format == nil {
		g.format = &media.Format{Kind: media.FLV, Clock: g.clock}
		for _, h := range g.headers {
			g.format.Headers = append(g.format.Headers, h.Header)
		}
	}
	p.Format = g.format
	g.batch = append(g.batch, p)
}

func (g *ingest) sent(bytes int) {
	g.ledger.Sent.Add(1)
	g.ledger.Bytes.Add(uint64(bytes))
}

// full tells that the batch is as large as it should become.
func (g *ingest) full() bool { return len(g.batch) >= 64 }

// flush publishes the batch, and returns how many bytes of media were published
// since the last flush.
func (g *ingest) flush() (bytes uint64) {
	g.publish()
	bytes, g.bytes = g.bytes, 0
	return bytes
}

func (g *ingest) publish() {
	if len(g.batch) == 0 {
		return
	}
	var bytes uint64
	for _, p := range g.batch {
		bytes += uint64(len(p.Data))
	}
	g.ledger.Taken.Add(uint64(len(g.batch)))
	g.ledger.Sent.Add(uint64(len(g.batch)))
	g.ledger.Bytes.Add(bytes)
	g.to.Publish(g.batch)
	clear(g.batch)
	g.batch = g.batch[:0]
	g.bytes += bytes
}
