package report

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
)

// profile is what was read in a profile of the product, by hand.
//
//go:embed profile.md
var profile string

// Page writes docs/performance.md. before is what an earlier bench found,
// picture the file name of the SVG, data that of the JSON.
func Page(w io.Writer, f, before *File, picture, data string) {
	fmt.Fprintf(w, "# Performance\n\n<!-- Made by `make bench` from %s; what is written here by hand is lost. -->\n\n", data)
	fmt.Fprintf(w, "Everything here was measured by one command, `make bench`, which runs Sluice and what would otherwise be run in turn, on one machine.\n\n")
	fmt.Fprintf(w, "| | |\n|---|---|\n| machine | %s |\n| date | %s |\n| commit | %s |\n", f.Machine, f.Date.Format("2006-01-02 15:04 MST"), f.Commit)
	fmt.Fprintf(w, "| runs | the relays of a row in turn; each row says how often and how long |\n")
	fmt.Fprintf(w, "| others | used %.2f processors in the middle run |\n", f.others())
	if n, all := f.disturbed(); n > 0 {
		fmt.Fprintf(w, "| disturbed | %d of %d runs: other programs used more than %.2f processors. They give no figure |\n", n, all, f.BusyLimit)
	}
	if f.others() > calm {
		fmt.Fprintf(w, "\n**The machine was busy with other things. What follows is a first look: the ratios are rough, the latencies are the machine's.**\n")
	}
	fmt.Fprintf(w, "\nFigures of CPU are those of the relay's processes alone, for each Gbit that arrived. On the loopback the sender pays for the\nreceiver's kernel work, so they say more about each other than about a NIC.\n")
	fmt.Fprintf(w, "\n![CPU for each delivered Gbit](%s)\n", picture)

	goals(w, Verdicts(f), before)
	fmt.Fprintf(w, "\n## Rows\n\nThe ratio is the relay's CPU through that of Sluice in the same round. Latency is what the relay adds to the configured one.\n")
	for _, r := range f.Rows {
		fmt.Fprintf(w, "\n### %s\n\n%s, after %v of warm-up.\n\n| %s |\n|%s\n", r.Title, r.effort(), r.WarmUp, strings.Join(head, " | "), strings.Repeat("---|", len(head)))
		for _, s := range r.Series {
			c := cells(r, s)
			fmt.Fprintf(w, "| %s |%s\n", strings.Join(c, " | "), strings.Repeat(" |", len(head)-len(c)))
		}
	}
	if len(f.Micro) > 0 {
		fmt.Fprintf(w, "\n## Micro-benchmarks\n\n| package | benchmark | ns | bytes | allocations |\n|---|---|---|---|---|\n")
		for _, m := range f.Micro {
			fmt.Fprintf(w, "| %s | %s | %.1f | %d | %d |\n", m.Package, m.Name, m.Nanoseconds, m.Bytes, m.Allocations)
		}
	}
	fmt.Fprintf(w, "\n%s", profile)
}

// goals writes what became of the goals, now and before.
func goals(w io.Writer, now []Verdict, before *File) {
	then := Verdicts(before)
	fmt.Fprintf(w, "\n## Goals\n\n| goal | before: SRT on gosrt | now | spread | at most | |\n|---|---|---|---|---|---|\n")
	for _, v := range now {
		was := "-"
		if i := slices.IndexFunc(then, func(t Verdict) bool { return t.ID == v.ID && t.Known }); i >= 0 {
			if was = then[i].Measured; then[i].Noisy {
				was += " (noise)"
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", v.Goal, was, v.Measured, v.Spread, v.Limit, v.verdict())
	}
	fmt.Fprintf(w, "\nNoise: the runs differ by more than %.0f %%, or there is only one, so another bench may find something else.\n", Noise*100)
	fmt.Fprintf(w, "`bin/sluice-bench --compare A.json B.json` tells whether two benches agree.\n")
	if len(before.Rows) > 0 {
		fmt.Fprintf(w, "\nBefore: commit %s on %s, %s, as `bench/report/baseline.json` has them.\n", before.Commit, before.Date.Format("2006-01-02"), before.Rows[0].effort())
	}
}

// calm is how many processors others may use before the page says so.
const calm = 0.25

// others is the median of what other programs used.
func (f *File) others() float64 {
	var all Figures
	for _, r := range f.Rows {
		for _, s := range r.Series {
			for _, run := range s.Runs {
				all = append(all, run.Others)
			}
		}
	}
	return all.Median()
}

// disturbed counts the runs on a busy machine.
func (f *File) disturbed() (n, all int) {
	for _, r := range f.Rows {
		for _, s := range r.Series {
			for _, run := range s.Runs {
				all++
				if run.Busy {
					n++
				}
			}
		}
	}
	return n, all
}
