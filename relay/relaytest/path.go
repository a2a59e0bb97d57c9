package relaytest

import (
	"math/rand/v2"
	"time"
)

// A Path is what a network does to the datagrams of one direction. The zero
// Path does nothing. Shares are of 1.
type Path struct {
	Delay       time.Duration // of every datagram
	Jitter      time.Duration // up to so much more, evenly spread; the order is kept
	Loss        float64       // share that is lost, each datagram on its own
	Burst       float64       // share that a burst of losses begins with
	BurstLength int           // datagrams that a burst loses
	Reorder     float64       // share that is held back, so that others overtake it
	ReorderBy   time.Duration // how long it is held back
	Duplicate   float64       // share that arrives twice

	// SkewPPM is by how much, in millionths, the clock of the SRT peer that
	// sends runs fast, as far as the other can tell by its timestamps.
	SkewPPM float64
}

// A Fate is what becomes of one datagram.
type Fate struct {
	Lost       bool
	Duplicated bool
	Overtaken  bool          // it does not keep its place
	Delay      time.Duration // from the arrival at the path to its end
}

// Fates decides about one datagram after the other. The n-th decision depends
// on the seed, the path and n alone.
type Fates struct {
	path   Path
	random *rand.Rand
	burst  int // datagrams that the present burst still loses
}

// NewFates returns the decisions of a seed, from the first.
func NewFates(seed uint64, path Path) *Fates {
	return &Fates{path: path, random: rand.New(rand.NewPCG(seed, 0xFA7E))}
}

// Next decides about the next datagram. It draws the same number of values
// whatever the path says, so that one more fault does not move the others.
func (f *Fates) Next() Fate {
	lost, burst, jitter := f.random.Float64(), f.random.Float64(), f.random.Float64()
	reorder, duplicate := f.random.Float64(), f.random.Float64()
	p := f.path
	if f.burst == 0 && burst < p.Burst {
		f.burst = p.BurstLength
	}
	fate := Fate{
		Lost:       lost < p.Loss || f.burst > 0,
		Duplicated: duplicate < p.Duplicate,
		Overtaken:  reorder < p.Reorder,
		Delay:      p.Delay + time.Duration(jitter*float64(p.Jitter)),
	}
	if f.burst > 0 {
		f.burst--
	}
	if fate.Overtaken {
		fate.Delay += p.ReorderBy
	}
	return fate
}
