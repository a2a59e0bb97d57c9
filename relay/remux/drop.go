package remux

import "sync/atomic"

// A Drop is why something was not passed on.
type Drop uint8

const (
	DropDamaged   Drop = iota // frames of which a part is missing, or that make no sense
	DropOversize              // units that do not end
	DropScrambled             // encrypted packets
	DropTime                  // frames without a time
	DropBeforeKey             // frames before the first that can be decoded
	DropCodec                 // frames or packets of a codec that the other side cannot carry
	DropSecond                // packets or frames of another video or audio track than the first
	DropData                  // packets of splice information, KLV, subtitles and other data
	DropProgram               // packets of programmes that were not chosen
	DropUnknown               // packets of PIDs that no table names
	drops
)

// String returns the name of the reason in telemetry.
func (d Drop) String() string {
	return [...]string{
		"damaged", "oversize", "scrambled", "no_time", "before_key", "codec", "second_track", "data", "other_program", "unknown_pid",
	}[d]
}

// Counters is what was counted since the stage was made.
type Counters struct {
	In       uint64 // transport packets, or messages
	Frames   uint64 // passed on
	Jumps    uint64 // of the source's clock
	Repaired uint64 // frames whose times would have gone back
	Dropped  map[string]uint64
}

// counters are what Counters is made of, for any goroutine to read.
type counters struct {
	in, frames, jumps, repaired atomic.Uint64
	dropped                     [drops]atomic.Uint64
}

func (c *counters) drop(why Drop, n int) { c.dropped[why].Add(uint64(n)) }

func (c *counters) read() Counters {
	r := Counters{
		In: c.in.Load(), Frames: c.frames.Load(), Jumps: c.jumps.Load(), Repaired: c.repaired.Load(), Dropped: map[string]uint64{},
	}
	for d := range drops {
		if n := c.dropped[d].Load(); n > 0 {
			r.Dropped[d.String()] = n
		}
	}
	return r
}
