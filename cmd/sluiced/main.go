// Command sluiced is the daemon of the box: it relays what the document in
// force says, and reports to the fleet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"

	"sluice/device/system"
)

// version is set by the build, from git.
var version string

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// gcPercent is how much the heap may grow, in percent of what is in use, before
// garbage is collected. Most of it is the media of the last seconds, which holds
// no pointers and costs the collector little: with Go's own 100 a box with ten
// viewers of 10 Mbit/s needs 40 MiB, with this 32 (TestMemory of test/e2e).
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	os.Exit(run(os.Args[1:], signals, os.Stdout, os.Stderr))
}

// run is the whole life of the daemon; it returns the exit status.
func run(args []string, signals <-chan os.Signal, out, errs io.Writer) int {
	s, err := readSettings(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(out, help())
		return exitOK
	case err != nil:
		fmt.Fprintf(errs, "sluiced: %v\nSee 'sluiced --help'.\n", err)
		return exitUsage
	case s.showVersion:
		fmt.Fprintf(out, "sluiced %s\n", system.Version(version))
		return exitOK
	}
	lines := newRing()
	log, level := newLog(io.MultiWriter(errs, lines), s)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d, err := newDaemon(s, log, lines)
	if err != nil {
		log.Error("cannot start", "error", err)
		return exitFailed
	}
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				reload(args, log, level)
				d.uplinks.Look()
				continue
			}
			log.Info("ending", "signal", sig.String())
			stop()
		case err := <-done:
			if err != nil {
				log.Error("failed", "error", err)
				return exitFailed
			}
			return exitOK
		}
	}
}
