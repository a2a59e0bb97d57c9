package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// Compare writes how far the ratios of two benches' goals are apart. It is an
// error where one differs by more than Noise and neither bench marks a row of
// it as noise.
func Compare(w io.Writer, a, b *File) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "goal\t%s\t%s\tdifference\t\n", a.name(), b.name())
	others := Verdicts(b)
	compared, apart := 0, 0
	for _, x := range Verdicts(a) {
		i := slices.IndexFunc(others, func(v Verdict) bool { return v.ID == x.ID })
		if x.ratio == 0 || i < 0 || others[i].ratio == 0 {
			continue
		}
		y := others[i]
		difference := y.ratio/x.ratio - 1
		said := "agrees"
		if math.Abs(difference) > Noise {
			if said = "noise"; !x.noise() && !y.noise() {
				said = "DIFFERS"
				apart++
			}
		}
		compared++
		fmt.Fprintf(t, "%s\t%s\t%s\t%+.1f %%\t%s\n", x.Goal, x.Measured, y.Measured, difference*100, said)
	}
	t.Flush()
	if compared == 0 {
		return errors.New("the two have no goal in common")
	}
	if apart > 0 {
		return fmt.Errorf("%d of %d ratios differ by more than %.0f %%, and neither bench calls them noise", apart, compared, Noise*100)
	}
	return nil
}

// noise tells whether anything that a verdict is made of is marked as noise.
func (v Verdict) noise() bool { return v.Noisy || v.noisyRow }

// name tells one bench from another.
func (f *File) name() string { return f.Commit + " " + f.Date.Format("01-02 15:04") }
