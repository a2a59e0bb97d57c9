// Command report reads what `go test -json` and `go tool test2json` print, and
// prints what go test does without -json, and which tests were skipped and why:
// a line for each reason in a package.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := report(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "report: %v\n", err)
		os.Exit(1)
	}
}

// An event is a line of the input, see `go doc test2json` and `go help buildjson`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// A pkg is a package whose tests run.
type pkg struct {
	tests   map[string][]event // by the test that all of them are in
	said    bool               // that it passed
	reasons []string           // why tests were skipped, as they came
	skipped map[string][]string
}

// report passes on what is not JSON as it is.
func report(in io.Reader, out io.Writer) error {
	packages := make(map[string]*pkg)
	lines := bufio.NewReader(in)
	w := bufio.NewWriter(out)
	for {
		line, err := lines.ReadString('\n')
		var e event
		if line != "" && (line[0] != '{' || json.Unmarshal([]byte(line), &e) != nil) {
			e = event{Action: "build-output", Output: line}
		}
		if e.Action != "" {
			take(w, packages, e)
		}
		if w.Buffered() > 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func take(w io.Writer, packages map[string]*pkg, e event) {
	if e.Action == "build-output" {
		fmt.Fprint(w, e.Output)
		return
	}
	p := packages[e.Package]
	if p == nil {
		p = &pkg{tests: make(map[string][]event), skipped: make(map[string][]string)}
		packages[e.Package] = p
	}
	top, _, within := strings.Cut(e.Test, "/")
	switch {
	case e.Test == "" && e.Action == "output":
		p.said = p.said || strings.HasPrefix(e.Output, "ok ")
		if e.Output != "PASS\n" {
			fmt.Fprint(w, e.Output)
		}
	case e.Test == "":
		p.end(w, e)
	case e.Action == "output":
		p.tests[top] = append(p.tests[top], e)
	case e.Action == "skip":
		p.skip(e.Test, p.tests[top])
		fallthrough
	case e.Action == "pass", e.Action == "fail":
		if within {
			p.tests[top] = append(p.tests[top], e)
			return
		}
		if e.Action == "fail" {
			failed(w, p.tests[top])
		}
		delete(p.tests, top)
	}
}

// end is that of a package: what was not at its end by then has failed.
func (p *pkg) end(w io.Writer, e event) {
	if e.Action != "pass" && e.Action != "fail" && e.Action != "skip" {
		return
	}
	var names []string
	for name := range p.tests {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		failed(w, p.tests[name])
	}
	if e.Action == "pass" && !p.said {
		fmt.Fprintf(w, "ok  \t%s\t%.1fs\n", e.Package, e.Elapsed)
	}
	for _, reason := range p.reasons {
		fmt.Fprintf(w, "skipped in %s: %s: %s\n", e.Package, strings.Join(p.skipped[reason], ", "), reason)
	}
	p.reasons, p.skipped = nil, make(map[string][]string)
}

// located is a line that a test logs.
var located = regexp.MustCompile(`^ *\S+\.go:\d+: `)

// skip notes why a test was skipped: that is the last thing that it says.
func (p *pkg) skip(test string, said []event) {
	reason := "it does not say why"
	for _, e := range said {
		if at := located.FindString(e.Output); e.Test == test && at != "" {
			reason = strings.TrimSpace(strings.TrimPrefix(e.Output, at))
		}
	}
	if p.skipped[reason] == nil {
		p.reasons = append(p.reasons, reason)
	}
	p.skipped[reason] = append(p.skipped[reason], test)
}

// failed prints what a test and those in it said, except those that passed.
func failed(w io.Writer, said []event) {
	passed := make(map[string]bool)
	for _, e := range said {
		passed[e.Test] = passed[e.Test] || e.Action == "pass" || e.Action == "skip"
	}
	for _, e := range said {
		if e.Action == "output" && !passed[e.Test] && !strings.HasPrefix(e.Output, "=== ") {
			fmt.Fprint(w, e.Output)
		}
	}
}
