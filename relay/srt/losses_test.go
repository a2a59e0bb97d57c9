package srt

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLosses does to a list what is done to a plain set, around the place
// where numbers go round.
func TestLosses(t *testing.T) {
	const first = maxSequence - 500
	random := rand.New(rand.NewPCG(3, 4))
	var l losses
	want := map[sequence]bool{}
	base, top := sequence(first), sequence(first)
	for range 20_000 {
		switch random.IntN(4) {
		case 0: // a gap
			n := 1 + random.IntN(6)
			l.add(span{top, top.plus(n - 1)}, 0)
			for i := range n {
				want[top.plus(i)] = true
			}
			top = top.plus(n + 1)
		case 1, 2: // one comes, of those that are missing or not
			q := base.plus(random.IntN(max(1, top.since(base))))
			l.remove(q)
			delete(want, q)
		case 3: // the oldest are given up
			if n := top.since(base); n > 40 {
				base = base.plus(random.IntN(n / 2))
				l.below(base)
				for q := range want {
					if q.since(base) < 0 {
						delete(want, q)
					}
				}
			}
		}
		got := map[sequence]bool{}
		for i, e := range l.list {
			if e.size() < 1 || i > 0 && e.first.since(l.list[i-1].last) < 1 {
				t.Fatalf("%v", l.list)
			}
			for i := range e.size() {
				got[e.first.plus(i)] = true
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d missing, want %d", len(got), len(want))
		}
		for q := range want {
			if !got[q] {
				t.Fatalf("%d is not missing", q)
			}
		}
	}
}

// TestReport: a loss is reported at once, and then time and again, more often
// once it is urgent; not while packets are known to overtake each other by
// more.
func TestReport(t *testing.T) {
	p := pace{again: 40 * time.Millisecond, last: 10 * time.Millisecond, urgent: 100 * time.Millisecond}
	var l losses
	report := func(top sequence, at time.Duration) (all []span) {
		t.Helper()
		b := l.appendReport(nil, p, top, at*time.Millisecond)
		if !parseLosses(b, func(s span) { all = append(all, s) }) {
			t.Fatalf("%x", b)
		}
		return all
	}
	want := func(what string, got []span, want ...span) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	first, second := span{10, 12}, span{14, 14}
	l.add(first, 0)
	want("at once", report(14, 0), first)
	want("again at once", report(14, 10))
	l.add(second, 30*time.Millisecond)
	want("a new one", report(16, 30), second)
	want("the first again", report(16, 40), first)
	want("the second again", report(16, 70), second)
	want("both", report(16, 110), first, second)
	want("the first is urgent", report(16, 120), first)
	l.list = nil
	l.overtaken(3)
	l.add(span{20, 20}, time.Second)
	want("3 came after it", report(24, 1000))
	want("4 came after it", report(25, 1000), span{20, 20})
	l.list[0].reported = false
	want("for a while", report(24, 1019))
	want("after a while", report(24, 1020), span{20, 20})
	for range 3 * orderedEnough {
		l.inOrder()
	}
	if l.tolerance != 0 {
		t.Errorf("the tolerance is %d after all was in order", l.tolerance)
	}
	if l.overtaken(1000); l.tolerance != mostTolerance {
		t.Errorf("the tolerance is %d", l.tolerance)
	}
}

// TestReportFits: a list that does not fit a packet is cut, not the packet.
func TestReportFits(t *testing.T) {
	var l losses
	for i := range 1000 {
		l.add(span{sequence(4 * i), sequence(4*i + 1)}, 0)
	}
	if n := len(l.appendReport(nil, pace{}, 5000, 0)); n > lossListSize || n < lossListSize-8 {
		t.Errorf("%d bytes", n)
	}
}

func TestSequence(t *testing.T) {
	for _, c := range []struct {
		a, b sequence
		want int
	}{
		{5, 3, 2},
		{3, 5, -2},
		{0, maxSequence, 1},
		{maxSequence, 0, -1},
		{10, maxSequence - 9, 20},
		{1 << 29, 0, 1 << 29},
		{0, 1 << 29, -1 << 29},
	} {
		if got := c.a.since(c.b); got != c.want {
			t.Errorf("%d since %d: %d", c.a, c.b, got)
		}
		if got := c.b.plus(c.want); got != c.a {
			t.Errorf("%d plus %d: %d", c.b, c.want, got)
		}
	}
}

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		name        string
		rtt, rttVar time.Duration
		sent, lost  uint64
		want        time.Duration
	}{
		{"nothing is known", 0, 0, 1000, 0, 0},
		{"too little is known", 50 * time.Millisecond, 0, 100, 0, 0},
		{"no loss: four round trips", 50 * time.Millisecond, 0, 1000, 0, 200 * time.Millisecond},
		{"a LAN", 200 * time.Microsecond, 100 * time.Microsecond, 1000, 0, 30 * time.Millisecond},
		{"1 %: two tries", 50 * time.Millisecond, 5 * time.Millisecond, 100_000, 1000, 200 * time.Millisecond},
		{"10 %: five tries", 60 * time.Millisecond, 5 * time.Millisecond, 100_000, 10_000, 450 * time.Millisecond},
		{"half", 60 * time.Millisecond, 5 * time.Millisecond, 1000, 900, 1570 * time.Millisecond},
		{"the moon", 2600 * time.Millisecond, 0, 1000, 300, mostLatency},
	} {
		conn := &conn{rtt: c.rtt, rttVar: c.rttVar, measured: c.rtt > 0}
		f := &figures{}
		f.link.PktSent, f.link.PktSndLoss = c.sent, c.lost
		if got := conn.advice(f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
