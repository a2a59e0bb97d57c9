package relay

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/remux"
)

// ReasonLeftOut is the code of a reason that names what of a stream an output
// does not carry.
const ReasonLeftOut = "left_out"

const (
	// tickEvery is how often a stage is let go what it holds while nothing comes.
	tickEvery = 10 * time.Millisecond
	// barren is how long a stage is fed in vain before that is said.
	barren = 3 * time.Second
)

// A stage converts what a flow carries for the outputs of another carriage. It
// is made once for each flow and need, shared by all of them, and runs only
// while one does:
//
//	flow -> remux.Demux or remux.Mux -> flow -> outputs
//
// What has the carriage already passes as it is. It is a flow.Source.
type stage struct {
	from, to *flow.Flow
	key      conversionKey
	log      *slog.Logger

	mu    sync.Mutex
	users int
	stop  func() // ends what runs, and waits for it; nil: nothing runs

	at atomic.Pointer[conversion] // that is on, or was last
}

func newStage(from *flow.Flow, key conversionKey, l flow.Limits, log *slog.Logger) *stage {
	return &stage{from: from, to: flow.New(l), key: key, log: log.With("to", key.want.String())}
}

// Open implements flow.Source.
func (s *stage) Open() *flow.Cursor { return s.to.Open() }

// hold has the stage run until release. Both are called as often.
func (s *stage) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.users > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	s.stop = func() {
		cancel()
		<-done
	}
}

func (s *stage) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.stop()
	}
}

// run converts until ctx is done.
func (s *stage) run(ctx context.Context) {
	for ctx.Err() == nil {
		c := newConversion(s.key)
		s.at.Store(c)
		if s.survive(func() { s.convert(ctx, c) }) {
			return
		}
		select { // it begins anew
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// survive reports whether f came to its end without a panic.
func (s *stage) survive(f func()) (whole bool) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("conversion panicked", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

func (s *stage) convert(ctx context.Context, c *conversion) {
	cursor := s.from.Open()
	defer cursor.Close()
	cursor.Rewind()
	packets := make([]media.Packet, 64)
	tick := time.NewTimer(tickEvery)
	defer tick.Stop()
	for {
		news := cursor.News()
		n, _ := cursor.Poll(packets)
		for _, p := range packets[:n] {
			c.feed(p)
		}
		if n < len(packets) {
			c.tick(time.Now())
		}
		s.to.Publish(c.take())
		clear(packets[:n])
		if n == len(packets) {
			continue
		}
		tick.Reset(tickEvery)
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

// A conversion is one stage at work, from when it began.
type conversion struct {
	want  media.Kind
	demux *remux.Demux // nil unless messages are wanted
	mux   *remux.Mux   // nil unless transport packets are wanted
	made  []media.Packet
	out   func(media.Packet)

	fed   atomic.Int64 // since when it is fed, in nanoseconds since 1970; 0: it is not
	gave  atomic.Bool  // it has made something
	alien atomic.Bool  // it was fed what is not media
}

func newConversion(key conversionKey) *conversion {
	c := &conversion{want: key.want}
	if key.want == media.FLV {
		c.demux = remux.NewDemux(remux.Options{Program: uint16(key.program)})
	} else {
		c.mux = remux.NewMux()
	}
	c.out = func(p media.Packet) { c.made = append(c.made, p) }
	return c
}

func (c *conversion) feed(p media.Packet) {
	c.fed.CompareAndSwap(0, time.Now().UnixNano())
	switch {
	case p.Format.Kind == c.want:
		c.out(p)
	case p.Format.Kind == media.Datagram:
		c.alien.Store(true)
	case c.demux != nil:
		c.alien.Store(false)
		c.demux.Feed(p, c.out)
	default:
		c.mux.Feed(p, c.out)
	}
}

func (c *conversion) tick(now time.Time) {
	if c.demux != nil {
		c.demux.Tick(now, c.out)
	} else {
		c.mux.Tick(now, c.out)
	}
}

// take returns what was made since it was asked last. It is the caller's.
func (c *conversion) take() []media.Packet {
	made := c.made
	c.made = c.made[:0]
	if len(made) > 0 {
		c.gave.Store(true)
	}
	return made
}

// programs are what the source holds, as far as it is known.
func (c *conversion) programs() []remux.Program {
	if c.demux != nil {
		return c.demux.Streams()
	}
	return c.mux.Streams()
}

// counters are those of the conversion that is on, or was last; nil before the
// first.
func (s *stage) counters() *remux.Counters {
	c := s.at.Load()
	if c == nil {
		return nil
	}
	var n remux.Counters
	if c.demux != nil {
		n = c.demux.Counters()
	} else {
		n = c.mux.Counters()
	}
	return &n
}

// lack tells what of the source an output of this carriage does not carry, nil
// where that is nothing worth saying. nothing tells that it carries nothing.
func (s *stage) lack(now time.Time, protocol string) (why *endpoint.Reason, nothing bool) {
	c := s.at.Load()
	if c == nil {
		return nil, false
	}
	if c.alien.Load() {
		return endpoint.Because(ReasonLeftOut, "the source sends datagrams that are not MPEG-TS: %s cannot carry them", protocol), true
	}
	chosen := false
	for _, p := range c.programs() {
		if !p.Chosen {
			continue
		}
		chosen = true
		for _, e := range p.Streams {
			if e.Track != 0 && !e.Carried && !e.Spare {
				return endpoint.Because(ReasonLeftOut, "codec %s cannot be carried by %s and is left out: %s", InspectedStream{Stream: e}.CodecName(), protocol, e.Reason), false
			}
		}
	}
	if fed := c.fed.Load(); !chosen && !c.gave.Load() && fed != 0 && now.Sub(time.Unix(0, fed)) > barren {
		return endpoint.Because(ReasonLeftOut, "the source has no programme with video or audio that %s can carry", protocol), true
	}
	return nil, false
}
