package remux

import (
	"bytes"
	"errors"
	"sync/atomic"
	"time"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// What a Mux keeps to.
const (
	// MuxDelay is how far the clock of the stream runs behind DTS: a receiver
	// that goes by the clock holds every frame for so long. It is more by what
	// audio comes later than video, up to maxSkew.
	MuxDelay = 100 * time.Millisecond

	muxDelay = 100 * millisecond
	maxSkew  = 1000 * millisecond
	// muxBase is the DTS that 0 becomes, so that the clock begins above 0.
	muxBase = 1400 * millisecond
	// clockEvery is how far two PCR are apart at most: 40 ms, less rounding.
	clockEvery = 38 * millisecond
	// tablesEvery is after how long PAT and PMT come before the next frame. They
	// are at most 100 ms apart where frames are at most 40 ms apart.
	tablesEvery = 60 * millisecond
	// jumpTime is how far the clock may step without being marked.
	jumpTime = 2000 * millisecond

	// At the start, frames wait for the other track to show what it is.
	startTime  = 300 * time.Millisecond
	startSpan  = 500 * millisecond
	maxPending = 8 << 20
)

// A Mux makes a transport stream of RTMP messages: one programme with at most
// one video and one audio track, each message in a PES packet of its own, which
// leaves at once. A new clock of the source is a new format of the stream, in
// which counters go on.
//
// It is for one goroutine, but for Counters and Streams.
type Mux struct {
	counters counters
	report   atomic.Pointer[[]Program]
	bytes    [2]atomic.Uint64 // of video and audio, in packets

	source    *media.Format
	now       time.Time
	described time.Time

	pending []media.Packet // while it is not known which tracks there are
	held    int            // bytes in pending
	started bool

	video, audio *content
	headers      [2][]byte // the header messages in force
	entered      bool      // a key frame has been seen
	w            packetizer

	version byte
	tables  [2][]byte // PAT, PMT
	pid     uint16    // of the clock

	clocked  bool
	pcr      int64 // last written, 90 kHz
	pcrAt    time.Time
	limit    int64 // what it may show before another frame comes, less half of muxDelay
	lastDTS  int64 // of the frames that drive the clock
	otherDTS int64 // of those that do not
	psi      int64 // the clock at the last tables
	skew     int64 // what one track comes later than the other, beyond half of muxDelay
}

// NewMux returns a Mux that has seen nothing.
func NewMux() *Mux {
	m := &Mux{}
	m.w.counters = map[uint16]byte{}
	m.tables[0] = pat()
	return m
}

// Counters returns what was counted so far. It may be called from any
// goroutine.
func (m *Mux) Counters() Counters { return m.counters.read() }

// Streams returns what the stream is made of. It may be called from any
// goroutine.
func (m *Mux) Streams() []Program {
	r := m.report.Load()
	if r == nil {
		return nil
	}
	p := (*r)[0]
	p.Streams = append([]Stream(nil), p.Streams...)
	for i := range p.Streams {
		p.Streams[i].Packets = m.bytes[p.Streams[i].PID-pidVideo].Load() / (mpegts.PacketSize - 4)
	}
	return []Program{p}
}

// Feed takes the next message of the source, and calls out for each datagram.
func (m *Mux) Feed(p media.Packet, out func(media.Packet)) {
	if p.Format == nil || p.Format.Kind != media.FLV {
		return
	}
	m.at(p.Arrival)
	m.w.out = out
	m.counters.in.Add(1)
	if p.Format != m.source {
		m.open(p.Format)
	}
	if m.started {
		m.message(p)
		m.w.flush()
		return
	}
	m.pending = append(m.pending, p)
	m.held += len(p.Data)
	if m.ready() {
		m.start()
	}
}

// Tick keeps clock and tables coming where frames are far apart. It is to be
// called every few milliseconds while nothing is fed.
func (m *Mux) Tick(now time.Time, out func(media.Packet)) {
	m.at(now)
	m.w.out = out
	if !m.started {
		if len(m.pending) > 0 && m.ready() {
			m.start()
		}
		return
	}
	if !m.clocked {
		return
	}
	if m.between() && m.pcr-m.psi >= tablesEvery {
		m.writeTables()
	}
	m.w.flush()
}

// at takes the time, which does not go back.
func (m *Mux) at(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
	m.w.arrival = m.now
}

// Flush hands over what is held, at the end of a source.
func (m *Mux) Flush(out func(media.Packet)) {
	m.w.out = out
	if !m.started && len(m.pending) > 0 {
		m.start()
	}
}

// open takes the next format of the source.
func (m *Mux) open(f *media.Format) {
	if m.source == nil || m.source.Clock != f.Clock || f.Clock == nil {
		if m.source != nil && !m.started && len(m.pending) > 0 {
			m.start()
		}
		m.w.format = &media.Format{Kind: media.TS}
		m.video, m.audio, m.headers = nil, nil, [2][]byte{}
		m.started, m.entered, m.skew, m.otherDTS = false, false, 0, 0
	}
	m.source = f
	for _, h := range f.Headers {
		m.header(h.Track, h.Data)
	}
}

// header takes a header message of the format.
func (m *Mux) header(track int, b []byte) {
	var tag flv.Tag
	var err error
	switch track {
	case media.Video:
		tag, err = flv.ParseVideo(b)
	case media.Audio:
		tag, err = flv.ParseAudio(b)
	default:
		return
	}
	for ok := true; ok && err == nil; tag, ok, err = tag.Next() {
		if tag.TrackID == 0 {
			m.configure(tag)
		}
	}
}

// configure takes the configuration of a track, from its header, or from a
// frame of a codec that has none.
func (m *Mux) configure(tag flv.Tag) {
	i, now := 0, &m.video
	if tag.Track == media.Audio {
		i, now = 1, &m.audio
	}
	if tag.Header && tag.Slot&0xFF00 != 0 {
		return // colours, channels: the codec's own data says that too
	}
	if *now != nil && (*now).codec == tag.Codec && bytes.Equal(m.headers[i], tag.Payload) {
		return
	}
	c := newContent(tag.Codec, tag.Track == media.Video, tag.Payload)
	if c == nil {
		m.counters.drop(DropDamaged, 1)
		return
	}
	old := *now
	*now = c
	m.headers[i] = bytes.Clone(tag.Payload)
	if m.started && (old == nil || old.stream.Type != c.stream.Type || !bytes.Equal(old.stream.Descriptors, c.stream.Descriptors) || old.why != c.why) {
		m.layout()
	}
	m.describe()
}

// ready tells whether it is known which tracks there are.
func (m *Mux) ready() bool {
	video, audio := m.video != nil, m.audio != nil
	for _, p := range m.pending {
		video = video || p.Track == media.Video
		audio = audio || p.Track == media.Audio
	}
	first, last := m.pending[0], m.pending[len(m.pending)-1]
	return video && audio || m.held > maxPending || m.now.Sub(first.Arrival) >= startTime || last.DTS-first.DTS >= startSpan
}

// start makes the tables, and writes what has waited.
func (m *Mux) start() {
	m.started = true
	pending := m.pending
	m.pending, m.held = nil, 0
	for _, p := range pending { // codecs without a header
		m.peek(p)
	}
	m.layout()
	for _, p := range pending {
		m.message(p)
	}
	m.w.flush()
}

// peek lets a message that waits say what its track is.
func (m *Mux) peek(p media.Packet) {
	switch p.Track {
	case media.Video:
		if tag, err := flv.ParseVideo(p.Data); err == nil && tag.TrackID == 0 && tag.Header {
			m.configure(tag)
		}
	case media.Audio:
		if tag, err := flv.ParseAudio(p.Data); err == nil && tag.TrackID == 0 && (tag.Header || m.audio == nil && headerless(tag)) {
			m.configure(tag)
		}
	}
}

// headerless tells whether a frame tells all that is to be known of its codec.
func headerless(tag flv.Tag) bool {
	if tag.Header || len(tag.Payload) == 0 {
		return false
	}
	switch tag.Codec {
	case flv.AVC, flv.HEVC, flv.AV1, flv.AAC:
		return false
	}
	return true
}

// layout makes the tables of the tracks that there are.
func (m *Mux) layout() {
	var streams []mpegts.Stream
	m.pid = mpegts.PIDNull
	for _, c := range []*content{m.audio, m.video} {
		if c != nil && c.why == "" {
			m.pid = c.stream.PID
			streams = append([]mpegts.Stream{c.stream}, streams...)
		}
	}
	made := pmt(m.version, m.pid, streams...)
	if m.tables[1] != nil && !bytes.Equal(made, m.tables[1]) {
		m.version = (m.version + 1) & 31
		made = pmt(m.version, m.pid, streams...)
	}
	m.tables[1] = made
	m.psi = -1 << 62 // at once
	m.describe()
}

// message writes a message.
func (m *Mux) message(p media.Packet) {
	var tag flv.Tag
	var err error
	switch p.Track {
	case media.Video:
		tag, err = flv.ParseVideo(p.Data)
	case media.Audio:
		tag, err = flv.ParseAudio(p.Data)
	default:
		m.counters.drop(DropData, 1)
		return
	}
	if errors.Is(err, flv.ErrEmpty) {
		return // silence
	}
	for ok := true; ok && err == nil; tag, ok, err = tag.Next() {
		if tag.TrackID != 0 {
			m.counters.drop(DropSecond, 1)
			continue
		}
		m.frame(p, tag)
	}
	if err != nil {
		m.counters.drop(DropDamaged, 1)
	}
}

// frame writes what a message holds of a track.
func (m *Mux) frame(p media.Packet, tag flv.Tag) {
	if tag.Header {
		m.configure(tag)
		return
	}
	if len(tag.Payload) == 0 || tag.Codec == "" {
		return // an end of sequence, a command
	}
	c := m.video
	if tag.Track == media.Audio {
		c = m.audio
	}
	if c == nil || c.codec != tag.Codec {
		if headerless(tag) {
			m.configure(tag)
		}
		if c = m.video; tag.Track == media.Audio {
			c = m.audio
		}
	}
	video := tag.Track == media.Video
	switch {
	case c == nil || c.codec != tag.Codec, video && !tag.Key && !m.entered:
		m.counters.drop(DropBeforeKey, 1)
		return
	case c.why != "":
		m.counters.drop(DropCodec, 1)
		return
	}
	data, ok := c.elementary(tag.Payload, tag.Key)
	if !ok {
		m.counters.drop(DropDamaged, 1)
		return
	}
	if video {
		m.entered = true
		c.meter.add(p.DTS)
		m.bytes[0].Add(uint64(len(data)))
	} else {
		m.bytes[1].Add(uint64(len(data)))
	}
	m.write(c, p.DTS+muxBase, max(p.PTS, p.DTS)+muxBase, tag.Key, data)
	m.counters.frames.Add(1)
}

// write puts a frame into packets, with the clock and the tables that are due.
func (m *Mux) write(c *content, dts, pts int64, key bool, data []byte) {
	s := stamp{pcr: -1, entry: key}
	switch {
	case c.stream.PID == m.pid:
		s.discontinuity = m.advance(dts)
		s.pcr = m.pcr * 300
	default:
		if m.clocked {
			m.lag(m.lastDTS - dts)
			m.otherDTS = dts
			target := dts - muxDelay - m.skew
			if target < m.limit+jumpTime {
				m.limit = max(m.limit, target)
			}
			m.between()
		}
	}
	switch {
	case key:
		m.w.flush() // so that a reader that begins here begins with the tables
		m.writeTables()
	case m.pcr-m.psi >= tablesEvery:
		m.writeTables()
	}
	m.w.unit(c.stream.PID, c.id, pts, dts, s, data)
}

// advance moves the clock to what it shows at a frame. It writes the clock in
// between where that is too far. It tells whether the clock jumps.
func (m *Mux) advance(dts int64) (jump bool) {
	m.lag(m.otherDTS - dts)
	target := dts - muxDelay - m.skew
	if m.clocked {
		step := target - m.pcr
		if beyond := step - ticks(m.now.Sub(m.pcrAt)); step < -jumpTime || step > jumpTime && beyond > jumpTime {
			jump = true
			m.counters.jumps.Add(1)
		}
		if !jump {
			target = max(target, m.pcr)
			if step <= jumpTime {
				parts := (step + clockEvery - 1) / clockEvery
				for before, i := m.pcr, int64(1); i < parts; i++ {
					m.pcr = before + step*i/parts
					m.w.clock(m.pid, stamp{pcr: m.pcr * 300})
					if m.pcr-m.psi >= tablesEvery {
						m.writeTables()
					}
				}
			}
		}
	}
	limit := target
	if m.clocked && !jump { // no frame comes before its time
		limit += min(max(dts-m.lastDTS, 0), jumpTime)
		m.limit = max(m.limit, limit)
	} else {
		m.limit = limit
	}
	m.clocked, m.lastDTS = true, dts
	m.pcr, m.pcrAt = target, m.now
	if jump {
		m.psi = -1 << 62
	}
	return jump
}

// lag takes what a frame is behind one of the other track that has come before
// it, and keeps the clock as much further behind.
func (m *Mux) lag(by int64) {
	if by -= muxDelay / 2; by > m.skew && by < jumpTime {
		by = min(by, maxSkew)
		m.limit -= by - m.skew
		m.skew = by
	}
}

// between writes the clock between two frames that drive it, as it goes on with
// the time: never so far that the next frame could be late. It tells whether
// it did.
func (m *Mux) between() bool {
	if !m.clocked {
		return false
	}
	passed := ticks(m.now.Sub(m.pcrAt))
	if passed < clockEvery/2 || m.pcr+passed > m.limit+muxDelay/2 {
		return false
	}
	m.pcr, m.pcrAt = m.pcr+passed, m.now
	m.w.clock(m.pid, stamp{pcr: m.pcr * 300})
	return true
}

func (m *Mux) writeTables() {
	m.w.section(mpegts.PIDPAT, m.tables[0])
	m.w.section(pidMap, m.tables[1])
	m.psi = m.pcr
	if m.now.Sub(m.described) > time.Second {
		m.describe()
	}
}

// describe brings the report up to date.
func (m *Mux) describe() {
	m.described = m.now
	p := Program{Number: muxProgram, PMT: pidMap, Chosen: true}
	for i, c := range []*content{m.video, m.audio} {
		if c == nil {
			continue
		}
		s := Stream{PID: c.stream.PID, Type: uint8(c.stream.Type), Track: []int{media.Video, media.Audio}[i], Info: c.in, Carried: c.why == "", Reason: c.why}
		if rate := c.meter.rate(); rate > 0 {
			s.FrameRate = rate
		}
		p.Streams = append(p.Streams, s)
	}
	m.report.Store(&[]Program{p})
}
