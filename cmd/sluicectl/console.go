package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/device/console"
	"sluice/device/console/port"
	"sluice/device/control"
)

// console is what the service of the serial line runs.
func (c *command) console() *cobra.Command {
	var tty string
	var speed int
	var idle time.Duration
	cmd := &cobra.Command{
		Use: "console --tty DEVICE", Short: "Serve the console on a serial line", Args: cobra.NoArgs,
		Long: `Serve the console on a serial line, until it is told to end.

The line is 8N1 without flow control. Nothing is said on it until somebody
presses Enter. It waits for a device that is not there yet, and opens it again
after a hang-up. Only one process has a line: end the getty on it first.`,
		Example: `  sluicectl console --tty /dev/ttyS1
  sluicectl console --tty /dev/ttyGS0 --speed 9600`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.here(cmd.Name()); err != nil {
				return err
			}
			switch {
			case tty == "":
				return usagef("--tty is needed: which line, such as /dev/ttyS1")
			case speed < 300 || speed > 4_000_000:
				return usagef("--speed is %d: use 300 to 4000000, usually 115200", speed)
			}
			client := control.NewClient(c.socket)
			defer client.Close()
			o := console.Options{Client: client, Line: lineName(tty), Login: true, BitsPerSecond: speed, Idle: idle}
			log := slog.New(slog.NewTextHandler(c.err, nil))
			return port.Serve(cmd.Context(), port.Config{Path: tty, Speed: speed, Log: log}, func(ctx context.Context, rw io.ReadWriter) error {
				return console.Run(ctx, rw, o)
			})
		},
	}
	cmd.Flags().StringVar(&tty, "tty", "", "`device` of the line, such as /dev/ttyS1")
	cmd.Flags().IntVar(&speed, "speed", 115200, "`bits` a second")
	cmd.Flags().DurationVar(&idle, "idle", 0, "after how long somebody is logged out; 0: the console's own")
	_ = cmd.Flags().MarkHidden("idle") // for tests: the console's own is part of its promise
	return cmd
}

// lineName is what the daemon's log calls a line: at most 32 characters.
func lineName(tty string) string {
	name, device := strings.CutPrefix(filepath.Clean(tty), "/dev/")
	if !device || len(name) > maxLineName {
		name = filepath.Base(name)
	}
	return name[max(0, len(name)-maxLineName):]
}

const maxLineName = 32

// here refuses what only works on the box itself.
func (c *command) here(command string) error {
	if c.broker.Broker != "" || c.device != "" {
		return usagef("%s works on the box alone, not over a broker", command)
	}
	return nil
}

// ended tells the end of what was to be read from a session that broke.
func ended(err error) error {
	switch {
	case errors.Is(err, console.ErrFailed):
		return errTold
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}
