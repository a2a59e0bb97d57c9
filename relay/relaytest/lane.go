package relaytest

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// A Tally is what a proxy did in one direction, in datagrams.
type Tally struct {
	Received   uint64
	Cut        uint64 // in a blackout
	Lost       uint64
	Duplicated uint64
	Overtaken  uint64
}

// A lane holds the datagrams of one direction until their time has come.
type lane struct {
	skewPPM float64

	mu      sync.Mutex
	fates   *Fates
	tally   Tally
	dark    time.Time // end of the blackout
	waiting departures
	last    time.Time // departure of the last that kept its place
	wake    chan struct{}
}

func newLane(seed uint64, path Path) *lane {
	return &lane{skewPPM: path.SkewPPM, fates: NewFates(seed, path), wake: make(chan struct{}, 1)}
}

// A departure is one copy of a datagram.
type departure struct {
	at   time.Time
	n    uint64 // order of arrival, for those with the same time
	data []byte
	send func([]byte)
}

// put takes a datagram, which send passes on where that is its fate.
func (l *lane) put(data []byte, send func([]byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fate, now := l.fates.Next(), time.Now()
	l.tally.Received++
	switch {
	case now.Before(l.dark):
		l.tally.Cut++
		return
	case fate.Lost:
		l.tally.Lost++
		return
	}
	at := now.Add(fate.Delay)
	if fate.Overtaken {
		l.tally.Overtaken++
	} else {
		if at.Before(l.last) {
			at = l.last
		}
		l.last = at
	}
	d := departure{at: at, n: l.tally.Received, data: append([]byte(nil), data...), send: send}
	heap.Push(&l.waiting, d)
	if fate.Duplicated {
		l.tally.Duplicated++
		heap.Push(&l.waiting, d)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// blackout drops what comes before end. What is under way already arrives.
func (l *lane) blackout(end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = end
}

// run passes on what is due until ctx is done.
func (l *lane) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(l.release())
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// release passes on what is due, and returns how long there is nothing more.
func (l *lane) release() time.Duration {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return time.Hour
		}
		if wait := time.Until(l.waiting[0].at); wait > 0 {
			l.mu.Unlock()
			return wait
		}
		d := heap.Pop(&l.waiting).(departure)
		l.mu.Unlock()
		d.send(d.data)
	}
}

func (l *lane) count() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// departures is a heap, the next to go first.
type departures []departure

func (d departures) Len() int { return len(d) }

func (d departures) Less(i, j int) bool {
	if d[i].at.Equal(d[j].at) {
		return d[i].n < d[j].n
	}
	return d[i].at.Before(d[j].at)
}

func (d departures) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

func (d *departures) Push(x any) { *d = append(*d, x.(departure)) }

func (d *departures) Pop() any {
	old := *d
	last := old[len(old)-1]
	old[len(old)-1] = departure{}
	*d = old[:len(old)-1]
	return last
}
