package remux

import (
	"bytes"
	"sync/atomic"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// Bounds of what a Demux holds, and for how long.
const (
	// DefaultHold is how long a frame waits for one of the other track that
	// may stand before it.
	DefaultHold = 20 * time.Millisecond
	// maxQueued bounds the frames that wait, in bytes.
	maxQueued = 16 << 20
	// At the start, frames wait for the other track to show what it is: video
	// has its next key frame for that.
	awaitVideo = 5 * time.Second
	awaitAudio = time.Second
	// leadAudio is how much audio before the first picture is passed on.
	leadAudio = 1000 * millisecond
	// aliveTime is how long a track without frames is still waited for.
	aliveTime = time.Second
)

// Options of a Demux.
type Options struct {
	Program uint16        // the programme to take; 0: the first that can be carried
	Hold    time.Duration // 0: DefaultHold
}

// A Demux makes RTMP messages of a transport stream: one video and one audio
// track of one programme, interleaved by DTS as far as Hold allows, with times
// that go on where those of the source jump. A new format of the source is a
// new clock.
//
// It is for one goroutine, but for Counters and Streams.
type Demux struct {
	o        Options
	counters counters
	report   atomic.Pointer[[]Program]
	seen     [pids]atomic.Uint64

	source *media.Format
	now    time.Time
	out    func(media.Packet) // during a call

	pat       mpegts.Assembler
	patCRC    uint32
	listed    bool
	listedAt  time.Time
	programs  []*programme
	chosen    *programme
	unfit     map[uint16]string // PIDs of the chosen programme that turned out so
	roles     [pids]role
	described time.Time

	video, audio           *track
	videoPlace, audioPlace place
	places                 []*place
	times                  timeline
	current                *track // whose units are read
	slab                   media.Slab

	onUnit  func(*mpegts.Unit)
	onFrame func(*frame)
	onDrop  func(Drop, int)

	clock   *media.Clock
	format  *media.Format
	dirty   bool // the format says less than there is
	started bool
	shift   int64 // added to all times, so that the first is 0
	queued  int   // bytes
}

const pids = 0x2000

// A track is the elementary stream that is carried of its kind.
type track struct {
	kind    int
	stream  mpegts.Stream
	pes     mpegts.PES
	counted mpegts.UnitCounts
	reader  reader
	place   *place
	queue   []item
	last    time.Time // when its last frame came
	header  []byte    // as of the format in force
	shown   bool      // it is in the format in force
}

// An item is a message that waits for its turn.
type item struct {
	packet media.Packet
	header []byte
}

// size is the memory that it takes.
func (i *item) size() int { return len(i.packet.Data) + 200 }

// NewDemux returns a Demux that has seen nothing.
func NewDemux(o Options) *Demux {
	if o.Hold == 0 {
		o.Hold = DefaultHold
	}
	d := &Demux{o: o, unfit: map[uint16]string{}}
	d.places = []*place{&d.videoPlace, &d.audioPlace}
	d.onUnit, d.onFrame, d.onDrop = d.unit, d.take, d.counters.drop
	d.reset()
	return d
}

// Counters returns what was counted so far. It may be called from any
// goroutine.
func (d *Demux) Counters() Counters { return d.counters.read() }

// Feed takes the next packet of the source, and calls out for each message
// that may go.
func (d *Demux) Feed(p media.Packet, out func(media.Packet)) {
	if p.Format != d.source {
		d.Flush(out)
		d.reset()
		d.source, d.now = p.Format, p.Arrival
	}
	if p.Format == nil || p.Format.Kind != media.TS {
		return
	}
	d.at(p.Arrival)
	d.out = out
	for b := p.Data; len(b) >= mpegts.PacketSize; {
		tp := mpegts.Packet(b[:mpegts.PacketSize])
		if b = b[mpegts.PacketSize:]; len(b) > 0 && b[0] != mpegts.SyncByte {
			tp = corrupt(tp) // where the next one begins elsewhere, this one is cut
		}
		d.packet(tp)
	}
	d.counters.in.Add(uint64(len(p.Data) / mpegts.PacketSize))
	d.release(out, false)
	if d.now.Sub(d.described) > time.Second {
		d.described = d.now
		if d.chosen == nil {
			d.choose()
		}
		d.describe()
	}
}

// corrupt returns the packet as a demodulator marks one that is damaged.
func corrupt(p mpegts.Packet) mpegts.Packet {
	p = bytes.Clone(p)
	p[1] |= 0x80
	return p
}

// Tick lets go what has waited for long enough. It is to be called every few
// milliseconds while nothing is fed.
func (d *Demux) Tick(now time.Time, out func(media.Packet)) {
	d.at(now)
	d.out = out
	for _, t := range []*track{d.video, d.audio} {
		if t != nil {
			d.current = t
			t.pes.Expire(d.now, d.onUnit)
			d.count(t)
		}
	}
	if d.chosen == nil && d.listed && d.now.Sub(d.described) > patience {
		d.choose()
	}
	d.release(out, false)
}

// at takes the time, which does not go back within a source: packets come with
// the time at which they arrived.
func (d *Demux) at(now time.Time) {
	if now.After(d.now) {
		d.now = now
	}
}

// Flush hands over what is held, at the end of a source.
func (d *Demux) Flush(out func(media.Packet)) {
	for _, t := range []*track{d.video, d.audio} {
		if t != nil {
			d.current = t
			t.pes.Flush(d.onUnit)
			t.reader.end(d.onFrame, d.onDrop)
			d.count(t)
		}
	}
	d.release(out, true)
	d.describe()
}

// reset forgets the source. What follows is on another clock.
func (d *Demux) reset() {
	d.source = nil
	d.pat, d.listed, d.programs, d.chosen = mpegts.Assembler{}, false, nil, nil
	clear(d.unfit)
	d.video, d.audio, d.current = nil, nil, nil
	d.videoPlace, d.audioPlace, d.times = place{}, place{}, timeline{}
	d.clock, d.format, d.started, d.shift, d.queued = &media.Clock{}, nil, false, 0, 0
	d.assign()
}

func (d *Demux) packet(p mpegts.Packet) {
	pid := p.PID()
	d.seen[pid].Add(1)
	if p[0] != mpegts.SyncByte {
		return
	}
	switch r := d.roles[pid]; r {
	case roleVideo:
		d.push(d.video, p)
	case roleAudio:
		d.push(d.audio, p)
	case rolePAT:
		d.pat.Push(p, d.readPAT)
	case rolePMT:
		d.pushPMT(pid, p)
	default:
		if why, ok := r.drop(); ok {
			d.counters.drop(why, 1)
		}
	}
}

func (d *Demux) push(t *track, p mpegts.Packet) {
	d.current = t
	t.pes.Push(p, d.now, d.onUnit)
	d.count(t)
	if why := t.reader.unfit(); why != "" {
		d.unfit[t.stream.PID] = why
		d.assign()
	}
}

// count takes over what a PES has counted.
func (d *Demux) count(t *track) {
	c := t.pes.Counts()
	if c == t.counted {
		return
	}
	d.counters.drop(DropDamaged, int(c.Damaged-t.counted.Damaged+c.Malformed-t.counted.Malformed))
	d.counters.drop(DropOversize, int(c.Oversize-t.counted.Oversize))
	d.counters.drop(DropScrambled, int(c.Scrambled-t.counted.Scrambled))
	t.counted = c
}

// unit takes a unit of the current track.
func (d *Demux) unit(u *mpegts.Unit) {
	if u.Timed {
		u.DTS = d.times.unwrap(u.DTS)
		u.PTS = nearest(u.PTS, u.DTS)
		if late := u.PTS - u.DTS; late < -10_000*millisecond || late > 10_000*millisecond {
			u.Timed = false
		}
	}
	d.current.reader.read(u, d.onFrame, d.onDrop)
}

// take takes a frame of the current track.
func (d *Demux) take(f *frame) {
	t := d.current
	video := t.kind == media.Video
	dts, pts := d.times.put(t.place, d.places, f.dts, f.pts, d.now, video)
	p := media.Packet{
		Track: t.kind, DTS: dts, PTS: pts, Arrival: d.now, RandomAccess: f.key,
		Data: message(&d.slab, f, (pts-dts)/millisecond),
	}
	i := item{p, f.header}
	t.queue = append(t.queue, i)
	t.last = d.now
	d.queued += i.size()
	d.counters.jumps.Store(d.times.jumps)
	d.counters.repaired.Store(d.times.repaired)
}

// retire ends a track in favour of another. What it still holds before the
// stream has begun is given up.
func (d *Demux) retire(old, now *track) {
	if old == now {
		return
	}
	d.dirty = true
	if old != nil {
		for _, i := range old.queue {
			d.queued -= i.size()
		}
		d.counters.drop(DropSecond, len(old.queue))
		old.queue = nil
	}
}

// release hands over messages in the order of DTS: while there is one of each
// track to compare, and what has waited for long enough.
func (d *Demux) release(out func(media.Packet), all bool) {
	if !d.started {
		if !d.ready(all) {
			return
		}
		d.start()
	}
	for {
		t := d.head()
		if t == nil || !(all || d.complete() || d.overdue()) {
			return
		}
		i := t.queue[0]
		t.queue[0] = item{}
		if t.queue = t.queue[1:]; len(t.queue) == 0 {
			t.queue = nil
		}
		d.queued -= i.size()
		d.send(t, i, out)
	}
}

// head returns the track whose first message is the next, nil if there is
// none.
func (d *Demux) head() *track {
	v, a := d.video, d.audio
	switch {
	case a == nil || len(a.queue) == 0:
		if v == nil || len(v.queue) == 0 {
			return nil
		}
		return v
	case v == nil || len(v.queue) == 0:
		return a
	case a.queue[0].packet.DTS < v.queue[0].packet.DTS:
		return a
	}
	return v
}

// complete tells whether no message can come that stands before the next.
func (d *Demux) complete() bool {
	for _, t := range []*track{d.video, d.audio} {
		if t != nil && len(t.queue) == 0 && !t.last.IsZero() && d.now.Sub(t.last) < aliveTime {
			return false
		}
	}
	return true
}

func (d *Demux) overdue() bool {
	return d.queued > maxQueued || d.waited() >= d.o.Hold
}

// waited is how long the oldest message has been there.
func (d *Demux) waited() (w time.Duration) {
	for _, t := range []*track{d.video, d.audio} {
		if t != nil && len(t.queue) > 0 {
			w = max(w, d.now.Sub(t.queue[0].packet.Arrival))
		}
	}
	return w
}

// ready tells whether the stream may begin.
func (d *Demux) ready(all bool) bool {
	if d.head() == nil {
		return false
	}
	w := d.waited()
	switch {
	case all, d.queued > maxQueued:
		return true
	case d.video != nil && len(d.video.queue) == 0:
		return w >= awaitVideo
	case d.audio != nil && len(d.audio.queue) == 0:
		return w >= awaitAudio
	}
	return true
}

// start lets the stream begin, at the time 0.
func (d *Demux) start() {
	if v, a := d.video, d.audio; v != nil && a != nil && len(v.queue) > 0 {
		for len(a.queue) > 0 && a.queue[0].packet.DTS < v.queue[0].packet.DTS-leadAudio {
			d.queued -= a.queue[0].size()
			a.queue = a.queue[1:]
			d.counters.drop(DropBeforeKey, 1)
		}
	}
	d.started = true
	d.shift = -d.head().queue[0].packet.DTS
}

// send gives a message its format.
func (d *Demux) send(t *track, i item, out func(media.Packet)) {
	p := &i.packet
	p.DTS += d.shift
	p.PTS += d.shift
	if p.DTS < 0 {
		d.counters.drop(DropTime, 1)
		return
	}
	if d.format == nil || d.dirty || !t.shown || !bytes.Equal(t.header, i.header) {
		t.header, t.shown = i.header, true
		d.announce()
	}
	p.Format, p.Arrival = d.format, d.now
	if t.kind == media.Audio && (d.video == nil || !d.video.shown) {
		p.RandomAccess = true
	}
	d.counters.frames.Add(1)
	out(*p)
}

// announce makes the format of the headers that are in force.
func (d *Demux) announce() {
	d.dirty = false
	f := &media.Format{Kind: media.FLV, Clock: d.clock}
	var known [2]*Info
	for i, t := range []*track{d.video, d.audio} {
		if t == nil {
			continue
		}
		if !t.shown && len(t.queue) > 0 { // it is about to come
			t.header, t.shown = t.queue[0].header, true
		}
		if t.shown {
			info := t.reader.info()
			known[i] = &info
			if t.header != nil {
				f.Headers = append(f.Headers, media.Header{Track: t.kind, Data: t.header})
			}
		}
	}
	f.Headers = append([]media.Header{metadata(known[0], known[1])}, f.Headers...)
	d.format = f
}
