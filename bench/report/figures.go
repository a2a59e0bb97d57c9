package report

import (
	"fmt"
	"slices"
)

// Noise is the spread above which a figure is called noise: two benches must
// agree within it.
const Noise = 0.15

// Figures are one figure of several runs.
type Figures []float64

// Median is 0 where there are none.
func (f Figures) Median() float64 {
	if len(f) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(f))
	middle := len(s) / 2
	if len(s)%2 == 0 {
		return (s[middle-1] + s[middle]) / 2
	}
	return s[middle]
}

// Spread is how far apart the figures are, as a share of their median. From
// five on, the lowest and the highest do not count: the median does not follow
// them.
func (f Figures) Spread() float64 {
	if len(f) < 2 || f.Median() == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(f))
	if len(s) >= 5 {
		s = s[1 : len(s)-1]
	}
	return (s[len(s)-1] - s[0]) / f.Median()
}

// Noisy tells whether another bench may find something else: the figures are
// far apart, or there is only one.
func (f Figures) Noisy() bool { return len(f) < 2 || f.Spread() > Noise }

// spread is the spread in words, with a mark where it is noise.
func (f Figures) spread() string {
	if len(f) == 1 {
		return "one run"
	}
	return spreadText(f.Spread(), f.Noisy())
}

func spreadText(share float64, noisy bool) string {
	s := fmt.Sprintf("%.0f %%", share*100)
	if noisy {
		s += " noise"
	}
	return s
}

// Ratios divides a figure of each round by another relay's in the same round.
func Ratios(a, b *Series, figure func(Run) float64) Figures {
	if a == nil || b == nil {
		return nil
	}
	var f Figures
	for _, x := range a.Good() {
		for _, y := range b.Good() {
			if x.Round == y.Round && figure(y) > 0 {
				f = append(f, figure(x)/figure(y))
			}
		}
	}
	return f
}
