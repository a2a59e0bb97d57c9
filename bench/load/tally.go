package load

import (
	"slices"
	"time"
)

// window is how many sequence numbers back a repetition is recognised.
const window = 4096

// A tally is what one sink received.
type tally struct {
	started  bool
	first    uint64 // lowest that counts: where counting began
	highest  uint64
	seen     [window]uint64 // sequence number + 1, by the number modulo window
	packets  uint64         // each once
	bytes    uint64
	repeated uint64
	behind   uint64  // that came after a later one
	late     []int32 // microseconds from stamp to arrival
}

// begin forgets all that was counted.
func (t *tally) begin() {
	*t = tally{seen: t.seen, late: t.late[:0]}
}

// count takes one payload that arrived.
func (t *tally) count(sequence uint64, sent, arrived int64, size int) {
	if !t.started {
		t.started, t.first, t.highest = true, sequence, sequence
	}
	place := &t.seen[sequence%window]
	switch {
	case sequence < t.first:
		return // sent before counting began
	case *place == sequence+1:
		t.repeated++
		return
	}
	*place = sequence + 1
	if sequence < t.highest {
		t.behind++
	}
	t.highest = max(t.highest, sequence)
	t.packets++
	t.bytes += uint64(size)
	t.late = append(t.late, int32((arrived-sent)/1000))
}

// lost is how many between the first and the highest are missing.
func (t *tally) lost() uint64 {
	if !t.started {
		return 0
	}
	return t.highest - t.first + 1 - t.packets
}

// Received is what all sinks together received while they counted.
type Received struct {
	Sinks    int
	Silent   int // sinks that received nothing
	Packets  uint64
	Bytes    uint64 // payload
	Lost     uint64 // by the gaps in each sink's sequence
	Repeated uint64
	Behind   uint64        // packets that came after a later one
	Median   time.Duration // from the stamp to the arrival
	P99      time.Duration
	Longest  time.Duration
}

// LostShare is of what should have come, 0 to 1.
func (r Received) LostShare() float64 {
	if r.Packets+r.Lost == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Packets+r.Lost)
}

func sum(tallies []*tally) Received {
	r := Received{Sinks: len(tallies)}
	var late []int32
	for _, t := range tallies {
		if t.packets == 0 {
			r.Silent++
		}
		r.Packets += t.packets
		r.Bytes += t.bytes
		r.Lost += t.lost()
		r.Repeated += t.repeated
		r.Behind += t.behind
		late = append(late, t.late...)
	}
	if len(late) > 0 {
		slices.Sort(late)
		at := func(share float64) time.Duration {
			return time.Duration(late[int(share*float64(len(late)-1))]) * time.Microsecond
		}
		r.Median, r.P99, r.Longest = at(0.5), at(0.99), at(1)
	}
	return r
}
