package srt

import (
	"slices"
	"time"
)

// mostTolerance is how far packets may overtake each other before their
// absence is reported, at most (SRTO_LOSSMAXTTL).
const mostTolerance = 64

// tolerated is how long a loss is kept back at most.
const tolerated = 20 * time.Millisecond

// mostRuns is how many runs may be missing at a time: no network leaves more,
// and each packet that comes late moves them.
const mostRuns = 4096

// A loss is a run of packets that are missing.
type loss struct {
	span
	found    time.Duration // when it was noticed
	reported bool          // in a NAK
	asked    time.Duration // when it was last reported
}

// losses are what a receiver misses, oldest first.
//
// A gap is not reported as long as packets are known to overtake each other by
// more: the tolerance grows with what is seen of that, and shrinks while all
// is in order (libsrt's SRTO_LOSSMAXTTL; draft-sharabayko-srt-01 section 4.8.2).
type losses struct {
	list      []loss
	tolerance int // packets
	ordered   int // packets in order, one after the other
}

// orderedEnough is how many packets in order lower the tolerance by one.
const orderedEnough = 50

// add notes that a run is missing: the highest numbers so far.
func (l *losses) add(s span, now time.Duration) {
	l.list = append(l.list, loss{span: s, found: now})
	l.ordered = 0
}

// inOrder notes a packet that came right after the one before.
func (l *losses) inOrder() {
	if l.ordered++; l.ordered >= orderedEnough {
		l.ordered = 0
		l.tolerance = max(0, l.tolerance-1)
	}
}

// overtaken notes a packet that came, not as a retransmission, after others
// that were sent up to distance later.
func (l *losses) overtaken(distance int) {
	l.tolerance = max(l.tolerance, min(distance, mostTolerance))
	l.ordered = 0
}

// find returns the place of the run that holds s, or of the first after it.
func (l *losses) find(s sequence) (at int, found bool) {
	at, _ = slices.BinarySearchFunc(l.list, s, func(e loss, s sequence) int {
		if e.last.since(s) < 0 {
			return -1
		}
		return 1
	})
	return at, at < len(l.list) && l.list[at].first.since(s) <= 0
}

// full tells whether there is no place for what comes of another gap, or of a
// packet in the middle of one.
func (l *losses) full(q, top sequence) bool {
	if len(l.list) < mostRuns {
		return false
	}
	at, found := l.find(q)
	return q.since(top) > 0 || found && l.list[at].first != q && l.list[at].last != q
}

// remove takes one number out: it has come.
func (l *losses) remove(q sequence) { l.drop(span{q, q}) }

// drop takes a run out, whatever of it is missing.
func (l *losses) drop(s span) {
	from, cut := l.find(s.first)
	to, split := l.find(s.last)
	left := make([]loss, 0, 2)
	if cut && l.list[from].first != s.first {
		e := l.list[from]
		e.last = s.first.plus(-1)
		left = append(left, e)
	}
	if split {
		if e := l.list[to]; e.last != s.last {
			e.first = s.last.plus(1)
			left = append(left, e)
		}
		to++
	}
	l.list = slices.Replace(l.list, from, to, left...)
}

// below takes out all numbers before s: they are given up.
func (l *losses) below(s sequence) {
	at, found := l.find(s)
	l.list = slices.Delete(l.list, 0, at)
	if found {
		l.list[0].first = s
	}
}

// A pace is how often a loss is reported.
type pace struct {
	again  time.Duration // between two reports
	last   time.Duration // the same, once it can be sent again for the last time
	urgent time.Duration // how long after it was noticed that is
}

// appendReport appends to a loss list what is missing and was not reported of
// late. A gap is kept back while packets up to top may have overtaken it.
func (l *losses) appendReport(b []byte, p pace, top sequence, now time.Duration) []byte {
	for i := range l.list {
		e := &l.list[i]
		if !e.reported && top.since(e.last)-1 <= l.tolerance && now-e.found < tolerated {
			break // so do those after it
		}
		again := p.again
		if now-e.found >= p.urgent {
			again = p.last
		}
		if e.reported && now-e.asked < again {
			continue
		}
		if len(b)+8 > lossListSize {
			break
		}
		e.reported, e.asked = true, now
		b = appendLoss(b, e.span)
	}
	return b
}
