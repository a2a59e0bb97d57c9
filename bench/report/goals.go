package report

import (
	"fmt"
	"slices"

	"sluice/bench/peers"
)

// A Verdict is what became of one goal.
type Verdict struct {
	ID       string // of the goal, the same in every bench
	Goal     string
	Measured string
	Spread   string // of what was measured, between the runs
	Limit    string
	Outcome  string // met, missed by how much, or why it is not known
	Met      bool
	Known    bool
	Noisy    bool

	ratio    float64 // 0 where the goal is not about one, or it is not known
	noisyRow bool    // one of the relays compared is marked as noise in its row
}

// A bound is a limit for a ratio of CPU for each delivered Gbit.
type bound struct {
	row, against string
	limit        float64
}

// bounds are the goals that compare the product with other relays.
var bounds = []bound{
	{"srt-50-listener", peers.Gosrt, 0.25},
	{"srt-50-listener", peers.GStreamer, 0.40},
	{"srt-50-listener", peers.FloorOffload, 1.4},
	{"srt-50-ports", peers.Gosrt, 0.35},
	{"srt-50-ports", peers.GStreamer, 0.40},
	{"srt-50-ports", peers.FloorOffload, 1.4},
	{"srt-50-listener-aes", peers.GStreamer, 0.50},
	{"srt-50-ports-aes", peers.GStreamer, 0.50},
	{"srt-10-listener", peers.Gosrt, 0.35},
	{"srt-10-listener", peers.GStreamer, 0.60},
	{"srt-10-ports", peers.Gosrt, 0.35},
	{"srt-10-ports", peers.GStreamer, 0.60},
	{"srt-1-ports", peers.SRTTransmit, 0.80},
	{"rtp-50", peers.FFmpeg, 0.35},
	{"rtp-50", peers.FloorOffload, 1.2},
	{"rtmp-50", peers.NginxRTMP, 1.2},
}

// Compared returns the relays that goals compare in a row, nil where there is
// no goal for it.
func Compared(row string) (relays []string) {
	for _, b := range bounds {
		if b.row != row {
			continue
		}
		if relays == nil {
			relays = []string{peers.Sluice}
		}
		relays = append(relays, b.against)
	}
	return relays
}

// Rows returns the rows that goals are about, but for those with loss.
func Rows() (names []string) {
	for _, b := range bounds {
		names = append(names, b.row)
	}
	for _, e := range even {
		names = append(names, e.rows...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// The limits of what is not a ratio.
const (
	maxRSS        = 40 << 20 // bytes
	maxMedianMS   = 10.0     // added latency
	maxP99MS      = 40.0
	maxLossExcess = 0.0005 // more than libsrt to libsrt, as a share
	maxUnevenness = 1.20   // the dearest through the cheapest of one kind
	lossReference = peers.SRTTransmit + " > " + peers.SRTTransmit
)

// even are rows whose cost for each Gbit must be the same.
var even = []struct {
	what string
	rows []string
}{
	{"10 to 200 viewers of a listener", []string{"srt-10-listener-2M", "srt-50-listener-2M", "srt-200-listener"}},
	{"10 to 200 outputs on ports of their own", []string{"srt-10-ports-2M", "srt-50-ports-2M", "srt-200-ports"}},
	{"2 to 200 Mbit/s for one stream", []string{"srt-1-ports-2M", "srt-1-ports", "srt-1-ports-50M", "srt-1-ports-200M"}},
}

// Verdicts compares what was measured with the goals, as far as it was.
func Verdicts(f *File) []Verdict {
	return slices.Concat(ratioVerdicts(f), absoluteVerdicts(f), lossVerdicts(f), evenVerdicts(f))
}

func ratioVerdicts(f *File) (all []Verdict) {
	for _, b := range bounds {
		row := f.Row(b.row)
		if row == nil {
			continue
		}
		ours, theirs := row.Of(peers.Sluice), row.Of(b.against)
		ratios := Ratios(ours, theirs, Run.PerGbit)
		v := judge(b.row+"/"+b.against, fmt.Sprintf("CPU, %s: against %s", row.Title, b.against), ratios, b.limit, "%.2f x")
		v.ratio = ratios.Median()
		v.noisyRow = v.Known && (ours.Over(Run.PerGbit).Noisy() || theirs.Over(Run.PerGbit).Noisy())
		all = append(all, v)
	}
	return all
}

// absoluteVerdicts judge the worst row of those in goals: the same runs that
// the ratios are of.
func absoluteVerdicts(f *File) (all []Verdict) {
	for _, m := range []struct {
		goal, form string
		limit      float64
		figure     func(Row, Run) float64
	}{
		{"resident memory", "%.0f MiB", maxRSS >> 20, func(_ Row, r Run) float64 { return float64(r.PeakRSS) / (1 << 20) }},
		{"added latency, median", "%.1f ms", maxMedianMS, func(w Row, r Run) float64 { return milliseconds(r.Received.Median - w.Latency) }},
		{"added latency, p99", "%.1f ms", maxP99MS, func(w Row, r Run) float64 { return milliseconds(r.Received.P99 - w.Latency) }},
	} {
		var worst Figures
		where := ""
		for _, row := range f.Rows {
			s := row.Of(peers.Sluice)
			if s == nil || row.Lossy || !slices.ContainsFunc(bounds, func(b bound) bool { return b.row == row.Name }) {
				continue
			}
			figures := s.Over(func(r Run) float64 { return m.figure(row, r) })
			if len(figures) > 0 && (worst == nil || figures.Median() > worst.Median()) {
				worst, where = figures, row.Title
			}
		}
		if len(f.Rows) > 0 {
			goal := m.goal
			if where != "" {
				goal += ", at worst: " + where
			}
			v := judge(m.goal, goal, worst, m.limit, m.form)
			if len(worst) > 1 { // milliseconds of a few may well differ by 15 %
				v.Noisy, v.Spread = false, spreadText(worst.Spread(), false)
			}
			all = append(all, v)
		}
	}
	return all
}

func lossVerdicts(f *File) (all []Verdict) {
	for _, row := range f.Rows {
		reference := row.Of(lossReference)
		if !row.Lossy || reference == nil {
			continue
		}
		for i := range row.Series {
			s := &row.Series[i]
			if s == reference {
				continue
			}
			id, goal := row.Name+"/"+s.Relay, fmt.Sprintf("residual loss, %s: %s", row.Title, s.Relay)
			if len(s.Good()) == 0 || len(reference.Good()) == 0 {
				all = append(all, judge(id, goal, nil, 0, ""))
				continue
			}
			limit := reference.Pooled().LostShare() + maxLossExcess
			v := judge(id, goal, Figures{s.Pooled().LostShare() * 100}, limit*100, "%.3f %%")
			v.Noisy, v.Spread = false, "pooled"
			all = append(all, v)
		}
	}
	return all
}

func evenVerdicts(f *File) (all []Verdict) {
	for _, e := range even {
		var medians []float64
		noisy, spread := false, 0.0
		for _, name := range e.rows {
			row := f.Row(name)
			if row == nil {
				continue
			}
			if s := row.Of(peers.Sluice); s != nil && len(s.Good()) > 0 {
				figures := s.Over(Run.PerGbit)
				medians = append(medians, figures.Median())
				noisy, spread = noisy || figures.Noisy(), max(spread, figures.Spread())
			}
		}
		if len(medians) < 2 {
			continue
		}
		v := judge(e.what, "cost per Gbit is even, "+e.what, Figures{slices.Max(medians) / slices.Min(medians)}, maxUnevenness, "%.2f x")
		v.ratio, v.Noisy, v.Spread = slices.Max(medians)/slices.Min(medians), noisy, spreadText(spread, noisy)
		all = append(all, v)
	}
	return all
}

// judge compares the median of figures with a limit.
func judge(id, goal string, figures Figures, limit float64, form string) Verdict {
	v := Verdict{ID: id, Goal: goal, Outcome: "not measured"}
	if form != "" {
		v.Limit = fmt.Sprintf(form, limit)
	}
	if len(figures) == 0 {
		return v
	}
	m := figures.Median()
	v.Known, v.Met, v.Noisy = true, m <= limit, figures.Noisy()
	v.Measured = fmt.Sprintf(form, m)
	v.Spread = figures.spread()
	if v.Outcome = "met"; !v.Met {
		v.Outcome = fmt.Sprintf("missed by %.0f %%", (m/limit-1)*100)
	}
	return v
}
