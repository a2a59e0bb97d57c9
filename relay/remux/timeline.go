package remux

import "time"

// Tolerances of the timeline.
const (
	// backward is how far a track may step back without being taken for one
	// whose clock has jumped.
	backward = 100 * millisecond
	// forward is how far it may step ahead of its arrival.
	forward = 2000 * millisecond
	// sameClock is how near to each other the times of two tracks are that
	// have jumped together.
	sameClock = 5000 * millisecond
	// maxEpochs bounds how many clocks tracks may be on at the same time.
	maxEpochs = 4
)

// A timeline lets the times of a programme go on where its clock jumps. All its
// tracks move by the same distance, so that they stay together: the track that
// jumps first opens an epoch, and the others enter it as they jump.
type timeline struct {
	epochs []epoch // newest last
	ref    int64   // a time on the source's clock, for unwrapping
	jumps  uint64
	// Repaired counts frames that would have gone back.
	repaired uint64
}

type epoch struct {
	id     uint64
	offset int64 // what is added to the source's times
	newest int64 // on the source's clock
}

// A place is where one track is on a timeline.
type place struct {
	on       bool
	epoch    uint64
	last     int64 // DTS on the source's clock
	out      int64 // DTS given out, 90 kHz, of whole milliseconds
	duration int64 // of a frame
	arrival  time.Time
}

// unwrap returns the time of 33 bits on the source's clock.
func (t *timeline) unwrap(stamp int64) int64 {
	if len(t.epochs) == 0 {
		t.ref = stamp
	}
	return nearest(stamp, t.ref)
}

// put gives a frame its times: of whole milliseconds, DTS rising within the
// track, PTS never below it. all are the places of every track, for where to go
// on after a jump.
func (t *timeline) put(p *place, all []*place, dts, pts int64, arrival time.Time, video bool) (outDTS, outPTS int64) {
	e := t.find(p, dts, arrival)
	if e == nil {
		e = t.jump(p, all, dts, arrival)
	}
	e.newest = max(e.newest, dts)
	if p.on && p.epoch == e.id && dts > p.last {
		p.duration = min(dts-p.last, 1000*millisecond)
	}
	t.ref = dts
	outDTS, outPTS = whole(dts+e.offset), whole(pts+e.offset)
	if least := p.out; p.on {
		if video {
			least += millisecond
		}
		if outDTS < least {
			outDTS = least
			t.repaired++
		}
	}
	if outPTS < outDTS {
		if outPTS < outDTS-millisecond { // more than what rounding does
			t.repaired++
		}
		outPTS = outDTS
	}
	p.on, p.epoch, p.last, p.out, p.arrival = true, e.id, dts, outDTS, arrival
	return outDTS, outPTS
}

// find returns the epoch that a frame belongs to, nil if it begins one.
func (t *timeline) find(p *place, dts int64, arrival time.Time) *epoch {
	if len(t.epochs) == 0 {
		return nil
	}
	if p.on {
		step, waited := dts-p.last, ticks(arrival.Sub(p.arrival))
		if step >= -backward && step <= forward+max(waited, 0) {
			for i := range t.epochs {
				if t.epochs[i].id == p.epoch {
					return &t.epochs[i]
				}
			}
		}
	}
	for i := len(t.epochs) - 1; i >= 0; i-- {
		e := &t.epochs[i]
		if p.on && e.id <= p.epoch {
			break // a track does not go back
		}
		if d := dts - e.newest; d > -sameClock && d < sameClock {
			return e
		}
	}
	return nil
}

// jump opens an epoch that goes on where the latest track is.
func (t *timeline) jump(p *place, all []*place, dts int64, arrival time.Time) *epoch {
	e := epoch{newest: dts, offset: -dts}
	if n := len(t.epochs); n > 0 {
		e.id = t.epochs[n-1].id + 1
		t.jumps++
	}
	on := false
	var next int64
	for _, q := range all {
		if !q.on {
			continue
		}
		// Where the source was silent, time went on.
		gap := q.duration
		if silent := ticks(arrival.Sub(q.arrival)); silent > 1000*millisecond {
			gap = silent
		}
		if end := q.out + gap; !on || end > next {
			on, next = true, end
		}
	}
	e.offset += next
	if len(t.epochs) == maxEpochs {
		copy(t.epochs, t.epochs[1:])
		t.epochs = t.epochs[:maxEpochs-1]
	}
	t.epochs = append(t.epochs, e)
	return &t.epochs[len(t.epochs)-1]
}
