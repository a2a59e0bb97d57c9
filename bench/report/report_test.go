package report

import (
	"encoding/xml"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/bench/load"
	"sluice/bench/peers"
)

// series makes runs of a relay that delivered a Gbit each for so many
// core-seconds.
func series(relay string, costs ...float64) Series {
	s := Series{Relay: relay}
	for n, c := range costs {
		s.Runs = append(s.Runs, Run{
			Round: n, Window: time.Second, CPU: time.Duration(c * float64(time.Second)), PeakRSS: 30 << 20, Due: 100, Idle: 1,
			Received: load.Received{Sinks: 1, Packets: 100, Bytes: 125_000_000, Median: 125 * time.Millisecond, P99: 130 * time.Millisecond},
		})
	}
	return s
}

func file(rows ...Row) *File {
	return &File{
		Date: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), Commit: "abc1234", Machine: "2 x Processor",
		BusyLimit: 0.25, Rows: rows,
	}
}

func work(s ...Series) Row {
	return Row{
		Name: "srt-50-listener", Title: "SRT to 50 <viewers>", Outputs: 50, Latency: 120 * time.Millisecond,
		Rounds: 5, Window: 15 * time.Second, WarmUp: 2 * time.Second, Series: s,
	}
}

// verdict returns the one whose goal has a text.
func verdict(t *testing.T, f *File, text string) Verdict {
	t.Helper()
	for _, v := range Verdicts(f) {
		if strings.Contains(v.Goal, text) {
			return v
		}
	}
	t.Fatalf("no verdict about %q among %+v", text, Verdicts(f))
	return Verdict{}
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		figures        Figures
		median, spread float64
		noisy          bool
	}{
		{nil, 0, 0, true},
		{Figures{3}, 3, 0, true},
		{Figures{1, 3}, 2, 1, true},
		{Figures{1.1, 1, 1.05}, 1.05, 0.0952, false},
		{Figures{9, 1.1, 1, 1.05, 0.1}, 1.05, 0.0952, false}, // the extremes of five do not count
	} {
		if got := c.figures.Median(); got != c.median {
			t.Errorf("median of %v: %v", c.figures, got)
		}
		if got := c.figures.Spread(); got < c.spread-0.001 || got > c.spread+0.001 {
			t.Errorf("spread of %v: %v, want %v", c.figures, got, c.spread)
		}
		if got := c.figures.Noisy(); got != c.noisy {
			t.Errorf("%v noisy: %v", c.figures, got)
		}
	}
}

func TestRatiosAreOfOneRound(t *testing.T) {
	a, b := series("a", 1, 10, 4), series("b", 2, 20, 8)
	b.Runs[1].Busy = true
	if got := Ratios(&a, &b, Run.PerGbit); !reflect.DeepEqual(got, Figures{0.5, 0.5}) {
		t.Errorf("%v", got)
	}
	if got := Ratios(&a, nil, Run.PerGbit); got != nil {
		t.Errorf("%v against nothing", got)
	}
}

func TestGoalsAreMetAndMissed(t *testing.T) {
	f := file(work(series(peers.Sluice, 0.2, 0.2), series(peers.Gosrt, 1, 1), series(peers.GStreamer, 0.4, 0.4), series(peers.FloorOffload, 0.1, 0.2)))
	if v := verdict(t, f, "gosrt"); !v.Met || v.Outcome != "met" || v.Measured != "0.20 x" || v.Limit != "0.25 x" || v.Noisy {
		t.Errorf("%+v", v)
	}
	if v := verdict(t, f, "gstreamer"); v.Met || v.Outcome != "missed by 25 %" {
		t.Errorf("%+v", v)
	}
	if v := verdict(t, f, "floor"); !v.Noisy || !strings.HasSuffix(v.verdict(), "(noise)") || v.Spread != "67 % noise" {
		t.Errorf("%+v", v)
	}
	var text strings.Builder
	Goals(&text, Verdicts(f))
	if line := lineOf(text.String(), "floor"); !strings.Contains(line, "67 % noise") || !strings.Contains(line, "(noise)") {
		t.Errorf("the table of goals does not say that it is noise: %q", line)
	}
	if line := lineOf(text.String(), "gosrt"); strings.Contains(line, "noise") {
		t.Errorf("%q", line)
	}
	if v := verdict(t, f, "resident"); !v.Met || v.Measured != "30 MiB" {
		t.Errorf("%+v", v)
	}
	if v := verdict(t, f, "median"); !v.Met || v.Measured != "5.0 ms" {
		t.Errorf("%+v", v)
	}
}

// A goal's row is measured with what the goal compares.
func TestCompared(t *testing.T) {
	if got := Compared("srt-50-ports-aes"); !reflect.DeepEqual(got, []string{peers.Sluice, peers.GStreamer}) {
		t.Errorf("%v", got)
	}
	if got := Compared("rtp-1"); got != nil {
		t.Errorf("%v: there is no such goal", got)
	}
}

func TestBenchesAreCompared(t *testing.T) {
	bench := func(ours ...float64) *File {
		return file(work(series(peers.Sluice, ours...), series(peers.Gosrt, 1, 1)))
	}
	for _, c := range []struct {
		name string
		a, b *File
		line string // of the goal
		fail string // "": they agree
	}{
		{"alike", bench(0.20, 0.20), bench(0.22, 0.22), "0.20 x 0.22 x +10.0 % agrees", ""},
		{"cheaper", bench(0.20, 0.20), bench(0.16, 0.16), "0.20 x 0.16 x -20.0 % DIFFERS", "1 of 1 ratios differ by more than 15 %"},
		{"dearer", bench(0.20, 0.20), bench(0.24, 0.24), "DIFFERS", "1 of 1"},
		{"noise in the first", bench(0.20, 0.25), bench(0.40, 0.40), "noise", ""},
		{"noise in the second", bench(0.40, 0.40), bench(0.20, 0.25), "noise", ""},
		{"one run", bench(0.20), bench(0.40, 0.40), "noise", ""},
		{"nothing in common", bench(0.20, 0.20), file(), "", "no goal in common"},
	} {
		var out strings.Builder
		err := Compare(&out, c.a, c.b)
		if line := strings.Join(strings.Fields(lineOf(out.String(), "gosrt")), " "); !strings.Contains(line, c.line) {
			t.Errorf("%s: %q, want %q", c.name, line, c.line)
		}
		if (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%s: %v, want %q", c.name, err, c.fail)
		}
	}
	// The ratios of each round are the same, the figures of a row are not.
	swaying := file(work(series(peers.Sluice, 0.2, 0.4), series(peers.Gosrt, 1, 2)))
	if err := Compare(io.Discard, swaying, bench(0.40, 0.40)); err != nil {
		t.Errorf("a row that is marked as noise: %v", err)
	}
}

// Twice the cost is seen: the goal is missed.
func TestSlowerMissesTheGoal(t *testing.T) {
	f := file(work(series(peers.Sluice, 0.4, 0.4), series(peers.Gosrt, 1, 1)))
	if v := verdict(t, f, "gosrt"); v.Met || v.Outcome != "missed by 60 %" {
		t.Errorf("%+v", v)
	}
}

func TestBusyRunsGiveNoFigure(t *testing.T) {
	busy := series(peers.Gosrt, 1, 1)
	for i := range busy.Runs {
		busy.Runs[i].Busy, busy.Runs[i].Others = true, 1.4
	}
	f := file(work(series(peers.Sluice, 0.2, 0.2), busy))
	if v := verdict(t, f, "gosrt"); v.Known || v.Outcome != "not measured" || v.Measured != "" {
		t.Errorf("%+v", v)
	}
	var text strings.Builder
	f.Rows[0].Table(&text)
	if line := lineOf(text.String(), "gosrt"); !strings.Contains(line, "machine too busy: others used 1.4 processors") || strings.Contains(line, "1.00") {
		t.Errorf("%q", line)
	}
}

func TestFullMachineIsSaid(t *testing.T) {
	row := work(series(peers.Sluice, 0.2, 0.2), series(peers.Gosrt, 1, 1))
	for i := range row.Series[1].Runs {
		row.Series[1].Runs[i].Idle = 0
		row.Series[1].Runs[i].Due = 200
	}
	var text strings.Builder
	row.Table(&text)
	if line := lineOf(text.String(), "gosrt"); !strings.Contains(line, "50.0 % starved, machine full") {
		t.Errorf("%q", line)
	}
	if line := lineOf(text.String(), "  sluice"); strings.Contains(line, "full") || strings.Contains(line, "starved") {
		t.Errorf("%q", line)
	}
}

func lineOf(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

func TestLossIsPooledAndComparedWithLibsrt(t *testing.T) {
	lossy := func(relay string, lost ...uint64) Series {
		s := series(relay, make([]float64, len(lost))...)
		for i, n := range lost {
			s.Runs[i].Received.Packets, s.Runs[i].Received.Lost = 10_000-n, n
		}
		return s
	}
	row := Row{Name: "loss-10", Title: "loss", Lossy: true, Series: []Series{
		lossy(lossReference, 10, 10, 10), // 0.1 %: the limit is 0.15 %
		lossy("sluice > srt-live-transmit", 0, 44, 0),
		lossy("sluice > sluice", 0, 0, 46),
	}}
	if v := verdict(t, file(row), "sluice > srt"); !v.Met || v.Noisy || v.Limit != "0.150 %" {
		t.Errorf("%+v", v)
	}
	if v := verdict(t, file(row), "sluice > sluice"); v.Met || v.Measured != "0.153 %" {
		t.Errorf("%+v", v)
	}
}

func TestEvenness(t *testing.T) {
	rows := []Row{
		{Name: "srt-10-ports-2M", Series: []Series{series(peers.Sluice, 1, 1)}},
		{Name: "srt-200-ports", Series: []Series{series(peers.Sluice, 1.3, 1.3)}},
	}
	if v := verdict(t, file(rows...), "200 outputs"); v.Met || v.Measured != "1.30 x" {
		t.Errorf("%+v", v)
	}
}

func TestEverythingIsWrittenDown(t *testing.T) {
	f := file(work(series(peers.Sluice, 0.2, 0.2), Series{Relay: peers.Gosrt, Absent: "not installed: gosrt"}))
	f.Micro = []Micro{{Package: "relay/flow", Name: "Publish-2", Nanoseconds: 12.5, Allocations: 1}}
	path := filepath.Join(t.TempDir(), "performance.json")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil || !reflect.DeepEqual(again, f) {
		t.Errorf("%v: read again %+v", err, again)
	}
	before := file(work(series(peers.Sluice, 0.9, 1.4), series(peers.Gosrt, 1, 1)))
	before.Commit = "01d01d0"
	var page, svg strings.Builder
	Page(&page, f, before, "p.svg", "p.json")
	for _, want := range []string{
		"abc1234", "2026-11-23", "2 x Processor", "| sluice | 0.20 |", "not installed: gosrt", "relay/flow",
		"against gosrt | 1.15 x (noise) |", "commit 01d01d0 on 2026-11-23, 5 runs of 15s", "5 runs of 15s, after 2s of warm-up", "p.svg", "What the profile says",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, page.String())
		}
	}
	SVG(&svg, f)
	d := xml.NewDecoder(strings.NewReader(svg.String()))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v\n%s", err, svg.String())
		}
	}
	if !strings.Contains(svg.String(), "50 &lt;viewers&gt;") {
		t.Error("the picture does not name the row")
	}
}

// The product had other SRT connections once; what they cost is kept.
func TestBaseline(t *testing.T) {
	f, err := Baseline()
	if err != nil {
		t.Fatal(err)
	}
	if f.Commit == "" || f.Date.IsZero() || f.Machine == "" {
		t.Errorf("commit %q, date %v, machine %q", f.Commit, f.Date, f.Machine)
	}
	known := 0
	for _, v := range Verdicts(f) {
		if v.Known {
			known++
		}
	}
	if known < len(bounds) {
		t.Errorf("%d goals are known", known)
	}
	for _, r := range f.Rows {
		if r.Rounds == 0 || r.Window == 0 || !r.Lossy && Compared(r.Name) == nil {
			t.Errorf("row %s: %d runs of %v", r.Name, r.Rounds, r.Window)
		}
	}
}
