package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice/bench/measure"
	"sluice/bench/peers"
	"sluice/bench/report"
)

// A bench is what the command line asks for.
type bench struct {
	self, sluiced string
	quick         bool
	only          *regexp.Regexp
	relays        []string // instead of those of the rows
	override      effort   // where it is not 0
	busyLimit     float64
	burn          []string
	dir           string
	micro, list   bool
	render        string
	compare       []string // two files
	profile       string
	commit        string
}

func (b *bench) run(ctx context.Context, out io.Writer) error {
	if b.render != "" {
		f, err := report.Load(b.render)
		if err != nil {
			return err
		}
		return b.write(f)
	}
	if b.compare != nil {
		return b.compared(out)
	}
	all := b.chosen()
	if b.list {
		for _, r := range all {
			fmt.Fprintf(out, "%-24s %s: %s; %d x %v\n", r.name, r.title, strings.Join(r.relays, ", "), r.effort.runs, r.effort.window)
		}
		fmt.Fprintf(out, "%s, about %v\n", count(len(all), "row"), takes(all))
		return nil
	}
	sluiced, err := filepath.Abs(b.sluiced)
	if err != nil {
		return err
	}
	if b.profile != "" {
		return b.profiled(ctx, all, out)
	}
	file, err := b.measure(ctx, all, peers.All(sluiced, b.self), out)
	if err != nil {
		return err
	}
	report.Goals(out, report.Verdicts(file))
	if b.micro {
		if file.Micro, err = microBenchmarks(ctx); err != nil {
			return err
		}
	}
	return b.write(file)
}

// compared compares two benches.
func (b *bench) compared(out io.Writer) error {
	var files []*report.File
	for _, path := range b.compare {
		f, err := report.Load(path)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return report.Compare(out, files[0], files[1])
}

// chosen returns the rows that are asked for.
func (b *bench) chosen() []row {
	all := rows()
	for i := range all {
		r := &all[i]
		if b.quick {
			r.relays, r.effort = r.quick, quick
		}
		if b.relays != nil {
			r.relays = b.relays
		}
		r.effort = r.effort.but(b.override)
	}
	return slices.DeleteFunc(all, func(r row) bool { return len(r.relays) == 0 || !b.only.MatchString(r.name) })
}

// profiled runs the product alone, with a profiler. What it costs then is not
// kept.
func (b *bench) profiled(ctx context.Context, all []row, out io.Writer) error {
	file, err := filepath.Abs(b.profile)
	if err != nil {
		return err
	}
	for i := range all {
		all[i].relays, all[i].effort.runs = []string{peers.Sluice}, 1
	}
	_, err = b.measure(ctx, all, []peers.Relay{peers.Profiled(b.self, file)}, out)
	return err
}

// measure does all rows, and shows each as soon as it is done.
func (b *bench) measure(ctx context.Context, all []row, relays []peers.Relay, out io.Writer) (*report.File, error) {
	if len(all) == 0 {
		return nil, errors.New("no row has this name")
	}
	file := &report.File{
		Date: time.Now().UTC(), Commit: b.commit, Machine: measure.Describe(), Quick: b.quick, BusyLimit: b.busyLimit,
	}
	fmt.Fprintf(out, "%s, commit %s\n%s, about %v\n", file.Machine, file.Commit, count(len(all), "row"), takes(all))
	for _, r := range all {
		done, err := b.row(ctx, r, relays)
		if err != nil {
			return nil, err
		}
		done.Table(out)
		file.Rows = append(file.Rows, done)
	}
	return file, nil
}

// row runs the relays of a row in turn, so that what changes on the machine
// changes for all of them.
func (b *bench) row(ctx context.Context, r row, relays []peers.Relay) (report.Row, error) {
	done := report.Row{
		Name: r.name, Title: r.title, Mbps: r.mbps, Outputs: r.outputs, Latency: r.latency(), Lossy: r.network != nil,
		Rounds: r.effort.runs, Window: r.effort.window, WarmUp: r.effort.warmUp,
	}
	if r.network != nil {
		done.Latency += r.network.Delay
	}
	var chains [][]peers.Relay
	for _, name := range r.relays {
		chain, absent := find(relays, name)
		if !able(r, chain) {
			continue
		}
		chains = append(chains, chain)
		done.Series = append(done.Series, report.Series{Relay: name, Absent: absent})
	}
	for round := range r.effort.runs {
		for i, chain := range chains {
			i = (i + round) % len(chains) // nobody is always the first
			chain = chains[i]
			s := &done.Series[i]
			if s.Absent != "" {
				continue
			}
			work := run{row: r, relays: chain, burn: b.burn}
			if r.network != nil {
				work.seed = uint64(round + 1)
			}
			result := work.measure(ctx)
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			result.Round = round
			result.Busy = result.Others > b.busyLimit
			s.Runs = append(s.Runs, result)
		}
	}
	return done, nil
}

// find returns the relays of a name, which may be two, and why they cannot be
// run.
func find(relays []peers.Relay, name string) (chain []peers.Relay, absent string) {
	for one := range strings.SplitSeq(name, pairs) {
		i := slices.IndexFunc(relays, func(r peers.Relay) bool { return r.Name == one })
		chain = append(chain, relays[i])
		if missing := relays[i].Missing(); len(missing) > 0 {
			absent = "not installed: " + strings.Join(missing, ", ")
		}
	}
	return chain, absent
}

// able tells whether a relay does such work at all. Of two, each does.
func able(r row, chain []peers.Relay) bool {
	if len(chain) > 1 {
		return true
	}
	j := peers.Job{In: r.protocol, Out: r.protocol, InPorts: make([]int, r.inputs), Passphrase: r.passphrase, Latency: r.latency()}
	if r.listen {
		j.Listen, j.Viewers = 1, r.outputs
	} else {
		j.OutPorts = make([]int, r.outputs)
	}
	return chain[0].Can(j)
}

// write writes everything down.
func (b *bench) write(f *report.File) error {
	before, err := report.Baseline()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(b.dir, name) }
	const data, picture, page = "performance.json", "performance.svg", "performance.md"
	var svg, md strings.Builder
	report.SVG(&svg, f)
	report.Page(&md, f, before, picture, data)
	return errors.Join(
		f.Save(in(data)),
		os.WriteFile(in(picture), []byte(svg.String()), 0o644),
		os.WriteFile(in(page), []byte(md.String()), 0o644),
	)
}
