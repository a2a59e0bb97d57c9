// Package report keeps what was measured, compares it with the goals, and
// writes it down: as text, JSON, a picture and a page.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"sluice/bench/load"
)

// A File is everything that one run of the bench found out.
type File struct {
	Date    time.Time
	Commit  string
	Machine string
	Quick   bool
	// BusyLimit is how many processors others may use before a run is no
	// measurement.
	BusyLimit float64
	Rows      []Row
	Micro     []Micro
}

// A Row is one kind of work, and how relays did it.
type Row struct {
	Name    string
	Title   string
	Mbps    float64 // of one stream
	Outputs int
	Latency time.Duration // configured, and that of the path
	Lossy   bool          // two relays with a bad network between them
	Rounds  int           // every relay in turn, so many times
	Window  time.Duration // that each run was measured for
	WarmUp  time.Duration // before that
	Series  []Series
}

// A Series is one relay's runs.
type Series struct {
	Relay  string
	Absent string // why there are no runs
	Runs   []Run
}

// A Run is one measurement.
type Run struct {
	Round    int
	Seed     uint64 `json:",omitempty"` // of the network
	Window   time.Duration
	CPU      time.Duration
	PeakRSS  uint64  // bytes
	Due      uint64  // packets sent, times the outputs
	Others   float64 // processors that others used
	Idle     float64 // processors that had nothing to do
	Busy     bool    // others used too much: the figures mean nothing
	Failed   string  `json:",omitempty"`
	Received load.Received
}

// Micro is one micro-benchmark.
type Micro struct {
	Package     string
	Name        string
	Nanoseconds float64 // of one operation
	Bytes       int64
	Allocations int64
}

// Good tells whether the figures of a run mean something.
func (r Run) Good() bool { return !r.Busy && r.Failed == "" && r.Received.Bytes > 0 }

// PerGbit is the CPU time for each delivered Gbit, in core-seconds.
func (r Run) PerGbit() float64 { return r.CPU.Seconds() / (float64(r.Received.Bytes) * 8e-9) }

// Delivered is the share of what was due, 0 to 1. What is on its way at
// either end of the window may make it a little more or less.
func (r Run) Delivered() float64 {
	if r.Due == 0 {
		return 0
	}
	return float64(r.Received.Packets) / float64(r.Due)
}

// Good returns the runs whose figures mean something.
func (s Series) Good() []Run {
	return slices.DeleteFunc(slices.Clone(s.Runs), func(r Run) bool { return !r.Good() })
}

// Over returns a figure of each good run.
func (s Series) Over(figure func(Run) float64) Figures {
	var f Figures
	for _, r := range s.Good() {
		f = append(f, figure(r))
	}
	return f
}

// Pooled returns what all good runs received together; the times are not.
func (s Series) Pooled() (p load.Received) {
	for _, r := range s.Good() {
		p.Packets += r.Received.Packets
		p.Bytes += r.Received.Bytes
		p.Lost += r.Received.Lost
		p.Repeated += r.Received.Repeated
	}
	return p
}

// Of returns a relay's series, nil where it was not measured.
func (r Row) Of(relay string) *Series {
	for i := range r.Series {
		if r.Series[i].Relay == relay {
			return &r.Series[i]
		}
	}
	return nil
}

// Row returns the row of a name, nil where there is none.
func (f *File) Row(name string) *Row {
	for i := range f.Rows {
		if f.Rows[i].Name == name {
			return &f.Rows[i]
		}
	}
	return nil
}

// Save writes the file as JSON.
func (f *File) Save(path string) error {
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Load reads what Save wrote.
func Load(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
