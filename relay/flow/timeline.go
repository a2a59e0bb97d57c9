package flow

import (
	"time"

	"sluice/relay/media"
)

// ticks is the clock rate of DTS and PTS.
const ticks = 90 // a millisecond

// A timeline lets the times of one clock go on where those of another stopped,
// as much later as the first packet came after the last one: a source that
// restarts, or another one that takes over, leaves a gap as long as it was.
type timeline struct {
	clock   *media.Clock
	offset  int64
	last    int64     // the highest DTS so far
	arrival time.Time // of the newest packet
}

// shift moves the times of the next packet.
func (t *timeline) shift(p *media.Packet) {
	if p.Format.Clock != t.clock {
		if t.clock != nil {
			gap := max(p.Arrival.Sub(t.arrival).Milliseconds(), 1)
			t.offset = t.last + gap*ticks - p.DTS
		}
		t.clock = p.Format.Clock
	}
	p.DTS += t.offset
	p.PTS += t.offset
	t.last = max(t.last, p.DTS)
	t.arrival = p.Arrival
}
