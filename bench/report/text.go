package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/bench/peers"
)

// head is the head of a row's table.
var head = []string{"relay", "core-s/Gbit", "spread", "against sluice", "delivered", "lost", "RSS MiB", "added p50", "p99 ms", "runs"}

// cells returns one line of a row's table.
func cells(row Row, s Series) []string {
	good := s.Good()
	if len(good) == 0 {
		return []string{s.Relay, why(s)}
	}
	cost := s.Over(Run.PerGbit)
	ratio := "1"
	if s.Relay != peers.Sluice {
		ratio = "-"
		if r := Ratios(&s, row.Of(peers.Sluice), Run.PerGbit); len(r) > 0 {
			ratio = fmt.Sprintf("%.2f x", r.Median())
		}
	}
	added := func(at func(Run) time.Duration) string {
		return fmt.Sprintf("%+.1f", s.Over(func(r Run) float64 { return milliseconds(at(r) - row.Latency) }).Median())
	}
	delivered := fmt.Sprintf("%.1f %%", 100*s.Over(Run.Delivered).Median())
	if s.Over(Run.Delivered).Median() < 0.99 && !row.Lossy {
		delivered += " starved"
	}
	if s.Over(func(r Run) float64 { return r.Idle }).Median() < full {
		delivered += ", machine full"
	}
	runs := fmt.Sprint(len(good))
	if bad := len(s.Runs) - len(good); bad > 0 {
		runs += fmt.Sprintf(" (%d not good: %s)", bad, why(s))
	}
	return []string{
		s.Relay, fmt.Sprintf("%.2f", cost.Median()), cost.spread(), ratio, delivered,
		fmt.Sprintf("%.3f %%", s.Pooled().LostShare()*100),
		fmt.Sprintf("%.0f", s.Over(func(r Run) float64 { return float64(r.PeakRSS) / (1 << 20) }).Median()),
		added(func(r Run) time.Duration { return r.Received.Median }),
		added(func(r Run) time.Duration { return r.Received.P99 }), runs,
	}
}

// full is how many processors may have nothing to do where the machine itself,
// with what sends and receives, is the limit: the cost means something then,
// the latency does not.
const full = 0.1

// why says in a few words why runs of a series do not count.
func why(s Series) string {
	if s.Absent != "" {
		return s.Absent
	}
	for _, r := range s.Runs {
		switch {
		case r.Failed != "":
			return "failed: " + r.Failed
		case r.Busy:
			return fmt.Sprintf("machine too busy: others used %.1f processors", r.Others)
		}
	}
	return "nothing was received"
}

// Table writes one row as text.
func (r Row) Table(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s): %s\n", r.Title, r.Name, r.effort())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  "+strings.Join(head, "\t"))
	for _, s := range r.Series {
		fmt.Fprintln(t, "  "+strings.Join(cells(r, s), "\t"))
	}
	t.Flush()
}

// effort is how thoroughly a row was measured, in words.
func (r Row) effort() string {
	if r.Rounds == 1 {
		return fmt.Sprintf("1 run of %v", r.Window)
	}
	return fmt.Sprintf("%d runs of %v", r.Rounds, r.Window)
}

// Goals writes the verdicts as text.
func Goals(w io.Writer, verdicts []Verdict) {
	fmt.Fprintln(w, "\nGoals")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  goal\tmeasured\tspread\tat most\t")
	for _, v := range verdicts {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", v.Goal, v.Measured, v.Spread, v.Limit, v.verdict())
	}
	t.Flush()
}

func (v Verdict) verdict() string {
	if v.Known && v.Noisy {
		return v.Outcome + " (noise)"
	}
	return v.Outcome
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
