package remux

import (
	"testing"
	"time"
)

func TestWhole(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 44: 0, 45: 90, 90: 90, 134: 90, 135: 180, -44: 0, -45: 0, -46: -90, -90: -90, -136: -180} {
		if got := whole(in); got != want {
			t.Errorf("%d: %d, want %d", in, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range []struct{ stamp, ref, want int64 }{
		{5, 0, 5},
		{wrap - 5, 0, -5},
		{5, wrap - 5, wrap + 5},
		{wrap - 5, 3*wrap + 5, 3*wrap - 5},
		{wrap / 2, 0, -wrap / 2},
	} {
		if got := nearest(tt.stamp, tt.ref); got != tt.want {
			t.Errorf("%d near %d: %d, want %d", tt.stamp, tt.ref, got, tt.want)
		}
	}
}

// run puts audio and video through a timeline, and returns what they are given,
// in milliseconds.
type player struct {
	times        timeline
	video, audio place
	now          time.Time
}

func (p *player) put(video bool, ms int64) int64 {
	where := &p.audio
	if video {
		where = &p.video
	}
	dts := p.times.unwrap(ms * millisecond & (wrap - 1))
	out, _ := p.times.put(where, []*place{&p.video, &p.audio}, dts, dts, p.now, video)
	p.now = p.now.Add(10 * time.Millisecond)
	return out / millisecond
}

// Thirty hours pass 2^33 once, and times only go on.
func TestTimelineWraps(t *testing.T) {
	p := &player{}
	for ms := int64(95_000_000); ms < 95_000_000+30*3600_000; ms += 997 {
		if got := p.put(true, ms); got != ms-95_000_000 {
			t.Fatalf("%d ms: %d", ms, got)
		}
		if got := p.put(false, ms-30); got != max(ms-95_000_030, -30) {
			t.Fatalf("%d ms: audio %d", ms, got)
		}
	}
	if p.times.jumps != 0 || p.times.repaired != 0 {
		t.Errorf("%d jumps, %d repaired", p.times.jumps, p.times.repaired)
	}
}

// A gap that is one, is one: what the source leaves out in its time stays out.
func TestTimelineGaps(t *testing.T) {
	p := &player{}
	p.put(true, 0)
	p.put(true, 40)
	if got := p.put(true, 1500); got != 1500 {
		t.Errorf("%d", got)
	}
	p.now = p.now.Add(10 * time.Second)
	if got := p.put(true, 11_600); got != 11_600 || p.times.jumps != 0 {
		t.Errorf("%d, %d jumps", got, p.times.jumps)
	}
	// Audio that overlaps by less than the tolerance stands still.
	p.put(false, 11_600)
	if got := p.put(false, 11_590); got != 11_600 || p.times.jumps != 0 {
		t.Errorf("%d, %d jumps", got, p.times.jumps)
	}
}

// Tracks that jump one after the other keep their distance.
func TestTimelineJumps(t *testing.T) {
	p := &player{}
	for ms := int64(0); ms < 1000; ms += 40 {
		p.put(true, ms)
		p.put(false, ms+7)
	}
	for _, base := range []int64{500_000, 10_000, 95_443_700, 30} {
		before := p.times.jumps
		last := p.video.out / millisecond
		// Video first; audio is still on the old clock for three frames.
		v := p.put(true, base)
		if v-last > 60 || v-last < 1 {
			t.Errorf("to %d: video steps by %d ms", base, v-last)
		}
		old := p.audio.last / millisecond
		for i := range int64(3) {
			a := p.put(false, old+40*(i+1))
			if a < v-200 || a > v+200 {
				t.Errorf("to %d: audio of the old clock is at %d, video at %d", base, a, v)
			}
		}
		for ms := base + 40; ms < base+1000; ms += 40 {
			a := p.put(false, ms-33)
			v = p.put(true, ms)
			if ms > base+200 && v-a != 33 {
				t.Errorf("to %d: audio is %d ms from video, want 33", base, v-a)
			}
		}
		if p.times.jumps != before+1 {
			t.Errorf("to %d: %d jumps", base, p.times.jumps-before)
		}
	}
}

// A source that was silent comes back after as long.
func TestTimelineSilence(t *testing.T) {
	p := &player{}
	p.put(true, 100_000)
	p.put(true, 100_040)
	p.now = p.now.Add(7 * time.Second)
	if got := p.put(true, 0); got < 7000 || got > 7100 {
		t.Errorf("%d ms", got)
	}
}
