// Command sluicectl shows and changes what a box relays: the box that it runs
// on, over the daemon's socket, or any box, over its fleet's broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/provisioning/mqtt"
)

// version is set by the build, from git.
var version string

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr, width: terminalWidth(os.Stdout), now: time.Now}
	status := c.run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// terminalWidth returns the columns of a terminal, 0 for what is none.
func terminalWidth(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// A command is one run of the program.
type command struct {
	in       io.Reader
	out, err io.Writer
	width    int // columns to fill; 0: lines may be of any length
	now      func() time.Time

	socket  string
	broker  mqtt.Config
	device  string
	timeout time.Duration
	json    bool

	started bool // arguments and flags were understood
	box     box  // nil until it is needed
}

// usage is an error in how the program was called.
type usage struct{ message string }

func (u *usage) Error() string { return u.message }

func usagef(format string, args ...any) error { return &usage{fmt.Sprintf(format, args...)} }

// errTold is the error of what has been told already.
var errTold = errors.New("told")

// run carries out one command line and returns the exit status.
func (c *command) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	at, err := root.ExecuteContextC(ctx)
	if c.box != nil {
		c.box.Close()
	}
	var u *usage
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errTold):
		return exitFailed
	case !c.started || errors.As(err, &u):
		fmt.Fprintf(c.err, "sluicectl: %v\nSee '%s --help'.\n", err, at.CommandPath())
		return exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitFailed // interrupted: there is nothing to say
	}
	fmt.Fprintf(c.err, "sluicectl: %v\n", err)
	return exitFailed
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluicectl",
		Short: "Show and change what a box relays",
		Long: `Show and change what a box relays.

Without --broker it speaks to the daemon on this box; with --broker and
--device, to any box of a fleet.`,
		Example: `  sluicectl status
  sluicectl output add stage wall --protocol SRT --mode listener --port 9100
  sluicectl output set stage/wall srt.latency_ms=200 max_viewers=8
  sluicectl --broker mqtt://127.0.0.1:1883 --device demo outputs`,
		Version:       system.Version(version),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			c.started = true
		},
	}
	root.SetVersionTemplate("sluicectl {{.Version}}\n")
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	f := root.PersistentFlags()
	f.StringVar(&c.socket, "control", control.DefaultSocket, "`socket` of the daemon on this box")
	f.StringVar(&c.broker.Broker, "broker", "", "`URL` of the fleet's broker: mqtt://, mqtts://, ws:// or wss://")
	f.StringVar(&c.device, "device", "", "`id` of the box, with --broker")
	f.StringVar(&c.broker.Username, "broker-user", "", "`name` for the broker")
	f.StringVar(&c.broker.PasswordFile, "broker-password-file", "", "`file` that holds the password for the broker")
	f.StringVar(&c.broker.CAFile, "tls-ca", "", "`file` with the certificates that sign the broker's")
	f.StringVar(&c.broker.CertFile, "tls-cert", "", "`file` with the certificate to show to the broker")
	f.StringVar(&c.broker.KeyFile, "tls-key", "", "`file` with its key")
	f.DurationVar(&c.timeout, "timeout", 15*time.Second, "how long to wait for an answer")
	f.BoolVar(&c.json, "json", false, "print JSON, for programs")
	root.AddCommand(c.status(), c.uplinks(), c.flows(), c.input(), c.outputs(), c.srt(), c.output(), c.apply(), c.commits(), c.confirm(), c.cancel(), c.get(), c.watch(), c.test(), c.explain(), c.supportBundle(), c.reboot(), c.identify(), c.factoryReset(), c.hostApply(), c.hostUpdate(), c.console(), c.shell(),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(*cobra.Command, []string) { fmt.Fprintf(c.out, "sluicectl %s\n", system.Version(version)) },
		})
	return root
}

// connect returns the box that the flags name.
func (c *command) connect(ctx context.Context) (box, error) {
	if c.box != nil {
		return c.box, nil
	}
	switch {
	case c.broker.Broker == "" && c.device != "":
		return nil, usagef("--device needs --broker")
	case c.broker.Broker == "":
		c.box = &socketBox{client: control.NewClient(c.socket), timeout: c.timeout}
		return c.box, nil
	case c.device == "":
		return nil, usagef("--broker needs --device: which box is meant")
	}
	b, err := newBrokerBox(ctx, c.broker, c.device, c.timeout)
	if err != nil {
		return nil, err
	}
	c.box = b
	return b, nil
}
