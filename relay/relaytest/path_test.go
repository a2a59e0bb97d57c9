package relaytest

import (
	"math"
	"slices"
	"testing"
	"time"
)

func fates(seed uint64, path Path, n int) []Fate {
	f := NewFates(seed, path)
	all := make([]Fate, n)
	for i := range all {
		all[i] = f.Next()
	}
	return all
}

func TestFatesAreThoseOfTheSeed(t *testing.T) {
	path := Path{Delay: 30 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Burst: 0.01, BurstLength: 4, Reorder: 0.05, ReorderBy: time.Millisecond, Duplicate: 0.05}
	if !slices.Equal(fates(7, path, 1000), fates(7, path, 1000)) {
		t.Error("the same seed decides differently")
	}
	if slices.Equal(fates(7, path, 1000), fates(8, path, 1000)) {
		t.Error("another seed decides the same")
	}
	less := path
	less.Duplicate, less.Jitter = 0, 0
	whole := fates(7, path, 1000)
	for i, f := range fates(7, less, 1000) {
		if f.Lost != whole[i].Lost {
			t.Fatalf("without duplicates and jitter, datagram %d meets another loss", i)
		}
	}
}

func TestFatesKeepTheirShares(t *testing.T) {
	const n = 100_000
	count := func(path Path, hit func(Fate) bool) float64 {
		c := 0
		for _, f := range fates(3, path, n) {
			if hit(f) {
				c++
			}
		}
		return float64(c) / n
	}
	lost := func(f Fate) bool { return f.Lost }
	for _, c := range []struct {
		name string
		path Path
		hit  func(Fate) bool
		want float64
	}{
		{"nothing", Path{}, func(f Fate) bool { return f != Fate{} }, 0},
		{"loss", Path{Loss: 0.1}, lost, 0.1},
		{"bursts", Path{Burst: 0.01, BurstLength: 10}, lost, 0.0909}, // 10 of every 110: none begins within another
		{"reordering", Path{Reorder: 0.02}, func(f Fate) bool { return f.Overtaken }, 0.02},
		{"duplicates", Path{Duplicate: 0.03}, func(f Fate) bool { return f.Duplicated }, 0.03},
		{"jitter", Path{Delay: 10, Jitter: 100}, func(f Fate) bool { return f.Delay >= 60 }, 0.5},
	} {
		if got := count(c.path, c.hit); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: share %.4f, want %.4f", c.name, got, c.want)
		}
	}
}

func TestBurstsLoseNeighbours(t *testing.T) {
	run, all := 0, fates(5, Path{Burst: 0.001, BurstLength: 20}, 20_000)
	for i, f := range all {
		switch {
		case f.Lost:
			run++
		case run > 0 && run < 20:
			t.Fatalf("a burst of %d ends before datagram %d, want 20", run, i)
		default:
			run = 0
		}
	}
}
