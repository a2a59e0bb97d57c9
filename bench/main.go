// Command bench runs Sluice and what users would otherwise run side by side,
// and tells what each costs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"sluice/bench/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command is the whole program. Its first argument may say what else it is:
// one of the plain relays, the product with a profiler, or what makes it slow.
func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 3 && args[0] == "relay" {
		return peers.Run(ctx, args[1], args[2])
	}
	if len(args) == 3 && args[0] == "profile" {
		return peers.Profile(ctx, args[1], args[2])
	}
	if len(args) == 2 && args[0] == "burn" {
		return burn(ctx, args[1])
	}
	b, err := readFlags(args)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.run(ctx, out)
}

// slowVariable makes the product slower than it is: so many percent of a
// processor are burnt beside it, and counted as its own. It shows that the
// bench would see a slower build.
const slowVariable = "SLUICE_BENCH_SLOW"

func readFlags(args []string) (*bench, error) {
	b := &bench{}
	f := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	f.SortFlags = false
	f.BoolVar(&b.quick, "quick", false, "a few rows, each measured shortly")
	f.StringVar(&b.sluiced, "sluiced", "bin/sluiced", "`program` to measure")
	only := f.String("only", "", "`expression` that the names of rows must match")
	f.StringSliceVar(&b.relays, "relays", nil, "`names` of the relays to measure, as far as each can (default: each row's own)")
	f.IntVar(&b.override.runs, "runs", 0, "`number` of runs of each relay (default: each row's own)")
	f.DurationVar(&b.override.window, "window", 0, "`time` to measure each (default: each row's own)")
	f.DurationVar(&b.override.warmUp, "warm-up", 0, "`time` before that (default: each row's own)")
	f.Float64Var(&b.busyLimit, "busy", 0.25, "`processors` that others may use; more, and a run gives no figure")
	f.StringVar(&b.dir, "out", "bin/bench", "`directory` for performance.json, performance.svg and performance.md")
	f.BoolVar(&b.micro, "micro", false, "run the micro-benchmarks as well")
	f.BoolVar(&b.list, "list", false, "list the rows and end")
	f.StringVar(&b.render, "render", "", "`file`: write the page and the picture of this performance.json again, and end")
	compare := f.Bool("compare", false, "compare two performance.json, which are named as arguments, and end; fails where they differ")
	f.StringVar(&b.profile, "profile", "", "`file`: run the product alone, once for each row, and write a CPU profile of the last")
	f.StringVar(&b.commit, "commit", "unknown", "`name` of what is measured")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch n := f.NArg(); {
	case *compare && n != 2:
		return nil, fmt.Errorf("--compare takes two files, not %d", n)
	case *compare:
		b.compare = f.Args()
	case n > 0:
		return nil, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	var err error
	if b.only, err = regexp.Compile(*only); err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if percent := os.Getenv(slowVariable); percent != "" {
		if _, err := strconv.Atoi(percent); err != nil {
			return nil, fmt.Errorf("%s is %q: use percent of a processor", slowVariable, percent)
		}
		b.burn = []string{b.self, "burn", percent}
	}
	return b, nil
}

// burn uses so many percent of a processor until ctx is done.
func burn(ctx context.Context, percent string) error {
	share, err := strconv.Atoi(percent)
	if err != nil {
		return err
	}
	const turn = 10 * time.Millisecond
	work := turn * time.Duration(min(share, 100)) / 100
	for ctx.Err() == nil {
		for begin := time.Now(); time.Since(begin) < work; {
			continue
		}
		_ = wait(ctx, turn-work)
	}
	return nil
}
