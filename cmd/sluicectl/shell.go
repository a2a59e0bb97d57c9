package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sluice/device/console"
	"sluice/device/control"
)

// shell is the console of the serial line for who is on the box already.
func (c *command) shell() *cobra.Command {
	var idle time.Duration
	cmd := &cobra.Command{
		Use: "shell", Short: "The console of the serial line, on this terminal", Args: cobra.NoArgs,
		Long: `The console of the serial line, on this terminal or for a script.

There is no login: whoever may open the daemon's socket is who he is here.
Commands come from standard input. A script begins with "terminal script on":
then each command's last line is "ok" or "error: " and why, and the exit status
is 1 where one of them failed.`,
		Example: `  sluicectl shell
  sluicectl shell < setup.txt`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.here(cmd.Name()); err != nil {
				return err
			}
			client := control.NewClient(c.socket)
			defer client.Close()
			o := console.Options{Client: client, Line: terminalLine(), Name: userName(os.Getuid()), Idle: idle}
			in, isFile := c.in.(*os.File)
			if !isFile || !term.IsTerminal(int(in.Fd())) {
				o.Plain = true
				return ended(console.Run(cmd.Context(), stream{c.in, &unixLines{w: c.out}}, o))
			}
			restore, err := raw(in)
			if err != nil {
				return err
			}
			defer restore()
			o.Width, o.Height, _ = term.GetSize(int(in.Fd())) // zero: the console's own
			o.BitsPerSecond = 1_000_000_000                   // nothing takes long here
			return ended(console.Run(cmd.Context(), stream{c.in, c.out}, o))
		},
	}
	cmd.Flags().DurationVar(&idle, "idle", 0, "after how long somebody is logged out; 0: the console's own")
	_ = cmd.Flags().MarkHidden("idle")
	return cmd
}

// raw hands every key of a terminal to us. restore gives it back as it was.
func raw(f *os.File) (restore func(), err error) {
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("the terminal cannot be used: %w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), old) }, nil
}

// A stream is two halves of a line.
type stream struct {
	io.Reader
	io.Writer
}

// unixLines ends lines as files do: what a terminal is sent has a carriage
// return before each newline.
type unixLines struct{ w io.Writer }

func (u *unixLines) Write(b []byte) (int, error) {
	if _, err := u.w.Write(bytes.ReplaceAll(b, []byte("\r"), nil)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// terminalLine is what the daemon's log calls where somebody sits: his terminal.
func terminalLine() string {
	if name, err := os.Readlink("/proc/self/fd/0"); err == nil {
		if tty, ok := strings.CutPrefix(name, "/dev/"); ok && strings.Contains(tty, "/") || strings.HasPrefix(tty, "tty") {
			return tty
		}
	}
	return "shell"
}

// userName is the name of a user of this box, or his number where he has none.
func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + id
}
