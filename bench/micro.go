package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"sluice/bench/report"
)

// microBenchmarks runs those of the whole module.
func microBenchmarks(ctx context.Context) ([]report.Micro, error) {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-p", "1", "./...")
	out, err := c.Output()
	if err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			return nil, fmt.Errorf("micro-benchmarks: %w: %s%s", err, out, ended.Stderr)
		}
		return nil, fmt.Errorf("micro-benchmarks: %w", err)
	}
	return readMicro(strings.NewReader(string(out))), nil
}

// readMicro reads what `go test -bench -benchmem` writes.
func readMicro(r io.Reader) (all []report.Micro) {
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "pkg: "); ok {
			pkg = strings.TrimPrefix(name, "sluice/")
			continue
		}
		name, ok := strings.CutPrefix(lines.Text(), "Benchmark")
		fields := strings.Fields(name)
		if !ok || len(fields) < 4 {
			continue
		}
		m := report.Micro{Package: pkg, Name: fields[0]}
		for i := 2; i+1 < len(fields); i += 2 { // value, unit
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break
			}
			switch fields[i+1] {
			case "ns/op":
				m.Nanoseconds = v
			case "B/op":
				m.Bytes = int64(v)
			case "allocs/op":
				m.Allocations = int64(v)
			}
		}
		all = append(all, m)
	}
	return all
}
