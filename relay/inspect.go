package relay

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

const (
	inspectEvery = 100 * time.Millisecond
	// inspectSettle is how long a stage that has only just begun is given to
	// read what the flow held: that comes faster than the source sends.
	inspectSettle = 500 * time.Millisecond
	// inspectSpan is over which rates are measured, at least.
	inspectSpan = 2500 * time.Millisecond
	// inspectPatience bounds how long is waited for tables and frames,
	// inspectKey how long for the key frame that tells of a picture's size:
	// encoders with nothing set make one in ten seconds.
	inspectPatience = 5 * time.Second
	inspectKey      = 11 * time.Second
	// inspectTold is how long after a key frame it is told what it says.
	inspectTold = 1500 * time.Millisecond
)

// An Inspection is what the source of a flow brings.
type Inspection struct {
	Flow     string
	Input    string // the one in use
	Protocol string
	State    State
	Reason   *endpoint.Reason // of the state; nil where that says it all
	// Carriage is what the source sends, Conversion what Carried of a stream
	// is about. Zero where nothing is known.
	Carriage, Conversion media.Kind
	Note                 string        // why there is nothing to tell, or less than there should be
	BitrateBps           uint64        // of all that comes in, over the last 2 s
	Span                 time.Duration // over which the streams were measured
	Programs             []InspectedProgram
}

// An InspectedProgram is a programme of the source; of RTMP messages the one
// that is made of them.
type InspectedProgram struct {
	Number  uint16
	PMT     uint16 // PID of its map
	Chosen  bool   // it is the one that is converted
	Streams []InspectedStream
}

// An InspectedStream is an elementary stream with its rate.
type InspectedStream struct {
	remux.Stream
	BitrateBps uint64 // of whole transport packets
}

// Inspect looks for some seconds at what the input in use of a flow brings, as
// the conversion for outputs of the other carriage sees it. Where none runs,
// one runs for so long. The error is ErrNotFound, or that of ctx.
func (e *Engine) Inspect(ctx context.Context, id string) (Inspection, error) {
	e.mu.Lock()
	s := e.stream(id)
	if s == nil {
		e.mu.Unlock()
		return Inspection{}, fmt.Errorf("flow %q: %w", id, ErrNotFound)
	}
	in, from := inUse(s.config), s.flow
	key := conversionKey{want: media.FLV, program: in.Program}
	if carriage(in.Protocol) == media.FLV {
		key.want = media.TS
	}
	st := s.stages[key]
	e.mu.Unlock()

	v := Inspection{Flow: id, Input: in.ID, Protocol: in.Protocol}
	if time.Since(from.LastArrival()) >= mediaPause {
		e.inspectState(&v)
		v.Note = "no media comes in"
		return v, nil
	}
	// A stage that an output has made and does not use now is left alone: what
	// it held would be old when the output begins.
	var keyed atomic.Bool
	if st != nil && st.join() {
		defer st.release()
		keyed.Store(true) // it had time for that
	} else {
		st = newStage(from, key, flow.Limits{}, e.options.Log.With("flow", id))
		defer st.peek(&keyed)()
	}
	if err := v.watch(ctx, st, &keyed); err != nil {
		return Inspection{}, fmt.Errorf("flow %q: %w", id, err)
	}
	e.inspectState(&v)
	if len(v.Programs) == 0 && time.Since(from.LastArrival()) >= mediaPause {
		v.Note = "no media comes in any more"
	}
	return v, nil
}

// join is hold for a stage that runs already.
func (s *stage) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return false
	}
	s.users++
	return true
}

// peek has a stage read its flow from the live edge on, without waiting for a
// key frame, until stop is called. What it makes is thrown away. keyed is set
// once that has pictures: there was a key frame.
func (s *stage) peek(keyed *atomic.Bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c := newConversion(s.key)
	s.at.Store(c)
	go func() {
		defer close(done)
		s.survive(func() { s.discard(ctx, c, keyed) })
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *stage) discard(ctx context.Context, c *conversion, keyed *atomic.Bool) {
	cursor := s.from.Open()
	defer cursor.Close()
	packets := make([]media.Packet, 64)
	for {
		n, _, err := cursor.Next(ctx, packets)
		if err != nil {
			return
		}
		for _, p := range packets[:n] {
			c.feed(p)
		}
		c.tick(time.Now())
		made := c.take()
		if slices.ContainsFunc(made, func(p media.Packet) bool { return p.Track == media.Video }) {
			keyed.Store(true)
		}
		clear(made)
		clear(packets[:n])
	}
}

// inUse returns the input of f that is used: the first where none can be.
func inUse(f Flow) Input {
	for _, in := range f.Inputs {
		if in.Enabled && InputGap(in) == nil && InputStandby(f, in) == nil {
			return in
		}
	}
	if len(f.Inputs) == 0 {
		return Input{}
	}
	return f.Inputs[0]
}

// inspectState fills in what is reported of the input.
func (e *Engine) inspectState(v *Inspection) {
	for _, f := range e.Report().Flows {
		for _, in := range f.Inputs {
			if f.ID == v.Flow && in.ID == v.Input {
				v.State, v.Reason, v.BitrateBps = in.State, in.Reason, in.BitrateBps
			}
		}
	}
}

// watch looks at a stage until it tells enough, or it is clear that it will
// not. The error is that of ctx.
func (v *Inspection) watch(ctx context.Context, st *stage, keyed *atomic.Bool) error {
	tick := time.NewTicker(inspectEvery)
	defer tick.Stop()
	began := time.Now()
	var at *conversion // that is measured
	var since time.Time
	var before map[uint16]uint64
	var key time.Duration // how long the first key frame was waited for
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now = <-tick.C:
		}
		waited := now.Sub(began)
		if waited < inspectSettle {
			continue
		}
		var programs []remux.Program
		c := st.at.Load()
		if c != nil {
			programs = c.programs()
			if c.alien.Load() {
				v.Carriage, v.Note = media.Datagram, "the source sends datagrams that are not MPEG-TS"
				return nil
			}
		}
		if len(programs) > 0 && c != at { // the first, or one anew after a fault
			at, since, before = c, now, packetsOf(programs)
		}
		if key == 0 && keyed.Load() {
			key = waited
		}
		switch {
		case at == nil && waited >= inspectPatience:
			v.Carriage, v.Conversion = carriages(st.key)
			v.Note = fmt.Sprintf("no programme was found in %v: no PAT came", inspectPatience)
			if v.Carriage == media.FLV {
				v.Note = fmt.Sprintf("no video or audio came in %v", inspectPatience)
			}
			return nil
		case at == nil:
		case waited >= inspectKey+inspectSpan, // whatever is known by then
			c == at && now.Sub(since) >= inspectSpan && waited >= due(programs, before, key):
			v.describe(st.key, programs, before, now.Sub(since))
			return nil
		}
	}
}

// due is how long is waited for what is not yet known of the programmes.
func due(programs []remux.Program, before map[uint16]uint64, key time.Duration) time.Duration {
	for _, p := range programs {
		if !p.Chosen {
			continue
		}
		var wait time.Duration
		for _, s := range p.Streams {
			switch {
			case !s.Carried:
			case s.Track == media.Video && s.Width == 0 && key > 0:
				wait = max(wait, key+inspectTold)
			case s.Track == media.Video && s.Width == 0 && s.Packets > before[s.PID]:
				wait = max(wait, inspectKey)
			case s.Track == media.Video && s.Width == 0, s.Track == media.Audio && s.SampleRate == 0:
				wait = max(wait, inspectPatience)
			}
		}
		return wait
	}
	return inspectPatience // one may yet be
}

// carriages are what a stage reads and what it makes.
func carriages(key conversionKey) (source, conversion media.Kind) {
	if key.want == media.FLV {
		return media.TS, media.FLV
	}
	return media.FLV, media.TS
}

// packetsOf are the packets so far, by PID.
func packetsOf(programs []remux.Program) map[uint16]uint64 {
	m := make(map[uint16]uint64)
	for _, p := range programs {
		for _, s := range p.Streams {
			m[s.PID] = s.Packets
		}
	}
	return m
}

// describe fills in the programmes: those that were there before are measured.
func (v *Inspection) describe(key conversionKey, programs []remux.Program, before map[uint16]uint64, span time.Duration) {
	v.Carriage, v.Conversion = carriages(key)
	v.Span = span
	chosen := false
	for _, p := range programs {
		q := InspectedProgram{Number: p.Number, PMT: p.PMT, Chosen: p.Chosen}
		chosen = chosen || p.Chosen
		for _, s := range p.Streams {
			if !p.Chosen && s.Track != 0 && key.program != 0 {
				s.Reason = fmt.Sprintf("programme %d is asked for", key.program)
			}
			packets := s.Packets - min(before[s.PID], s.Packets)
			bits := float64(packets * mpegts.PacketSize * 8)
			q.Streams = append(q.Streams, InspectedStream{s, uint64(bits / span.Seconds())})
		}
		v.Programs = append(v.Programs, q)
	}
	switch {
	case chosen:
	case key.program != 0:
		v.Note = fmt.Sprintf("programme %d, which the input asks for, is not there or has no video or audio that RTMP can carry", key.program)
	default:
		v.Note = "no programme has video or audio that RTMP can carry"
	}
}

// codecs are the names of codecs for people, by what remux calls them.
var codecs = map[string]string{
	flv.AVC: "H.264", flv.HEVC: "HEVC", flv.VVC: "VVC", flv.AV1: "AV1", flv.VP8: "VP8", flv.VP9: "VP9",
	"mpeg2": "MPEG-2", "mpeg4": "MPEG-4 part 2", "vc1": "VC-1",
	flv.AAC: "AAC", flv.MP3: "MP3", "mp2": "MP2", flv.Opus: "Opus", flv.AC3: "AC-3", flv.EAC3: "E-AC-3", flv.FLAC: "FLAC",
	"s302m": "SMPTE 302M", "dts": "DTS",
	"scte35": "SCTE 35", "klv": "KLV", "dvbsub": "DVB subtitles", "teletext": "teletext",
}

// CodecName is the name of the codec for people, empty where it is not known.
func (s InspectedStream) CodecName() string {
	kind := mpegts.StreamType(s.Type)
	if s.Codec == flv.MP3 && !s.Carried && (kind == mpegts.MPEG1Audio || kind == mpegts.MPEG2Audio) {
		return "MPEG audio" // of layer II or III: nobody has looked at its frames
	}
	if name := codecs[s.Codec]; name != "" {
		return name
	}
	return s.Codec
}
