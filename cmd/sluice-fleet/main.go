// Command sluice-fleet is the reference fleet manager: it lists boxes and
// their state, and serves a broker of its own unless one is named.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"sluice/device/system"
	"sluice/provisioning/fleet"
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
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// options are what the command line says.
type options struct {
	broker       mqtt.Config
	listen       string
	mqttListen   string
	passwordFile string
	state        string
	showVersion  bool
}

func flags(o *options) *pflag.FlagSet {
	f := pflag.NewFlagSet("sluice-fleet", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` to serve the page and the API at")
	f.StringVar(&o.broker.Broker, "broker", "", "`URL` of the broker: mqtt://, mqtts://, ws:// or wss://; none: serve one here")
	f.StringVar(&o.broker.Username, "broker-user", "", "`name` for the broker")
	f.StringVar(&o.broker.PasswordFile, "broker-password-file", "", "`file` that holds the password for the broker")
	f.StringVar(&o.broker.CAFile, "tls-ca", "", "`file` with the certificates that sign the broker's")
	f.StringVar(&o.broker.CertFile, "tls-cert", "", "`file` with the certificate to show to the broker")
	f.StringVar(&o.broker.KeyFile, "tls-key", "", "`file` with its key")
	f.StringVar(&o.mqttListen, "mqtt-listen", "127.0.0.1:1883", "`address` of the broker that is served here")
	f.StringVar(&o.passwordFile, "mqtt-password-file", "", "`file` with NAME:PASSWORD lines: who may connect to it")
	f.StringVar(&o.state, "state", "", "`directory` that keeps its retained messages (default: they end with it)")
	f.BoolVar(&o.showVersion, "version", false, "print the version")
	return f
}

func help() string {
	var o options
	return "sluice-fleet lists boxes and their state, and serves an MQTT broker unless one\nis named.\n\n" +
		"Usage:\n  sluice-fleet [flags]\n\nFlags:\n" + flags(&o).FlagUsagesWrapped(80)
}

// run serves until ctx is done and returns the exit status.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var o options
	f := flags(&o)
	err := f.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(out, help())
		return exitOK
	case err == nil && o.showVersion:
		fmt.Fprintf(out, "sluice-fleet %s\n", system.Version(version))
		return exitOK
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("there is an argument too many: %q", f.Arg(0))
	case err == nil:
		err = o.check(f)
	}
	if err != nil {
		fmt.Fprintf(errs, "sluice-fleet: %v\nSee 'sluice-fleet --help'.\n", err)
		return exitUsage
	}
	if err := o.serve(ctx, slog.New(slog.NewTextHandler(errs, nil))); err != nil {
		fmt.Fprintf(errs, "sluice-fleet: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// check says what is wrong with the flags.
func (o *options) check(f *pflag.FlagSet) error {
	if o.broker.Broker != "" {
		for _, own := range []string{"mqtt-listen", "mqtt-password-file", "state"} {
			if f.Changed(own) {
				return fmt.Errorf("--%s is for the broker that is served here: leave it, or --broker, out", own)
			}
		}
		_, err := mqtt.New(o.broker)
		if err != nil {
			return fmt.Errorf("--broker: %w", err)
		}
		return nil
	}
	if !loopback(o.mqttListen) && o.passwordFile == "" {
		return fmt.Errorf("--mqtt-listen %s can be reached by others: say with --mqtt-password-file who may connect", o.mqttListen)
	}
	return nil
}

// loopback tells whether an address is reached from this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// serve runs the page and the broker, or the connection to one, until ctx is
// done or one of them fails.
func (o *options) serve(ctx context.Context, log *slog.Logger) error {
	boxes := &fleet.Boxes{}
	source, err := o.source(boxes, log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	log.Info("serving the page", "url", "http://"+l.Addr().String()+"/")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 2)
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{
		source,
		func(ctx context.Context) error { return fleet.ServeHTTP(ctx, l, boxes, log) },
	} {
		parts.Go(func() {
			defer stop() // one part ends: all end
			if err := part(ctx); err != nil && !errors.Is(err, context.Canceled) {
				failed <- err
			}
		})
	}
	parts.Wait()
	close(failed)
	var all []error
	for err := range failed {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// source returns what feeds boxes: a broker, or a connection to one.
func (o *options) source(boxes *fleet.Boxes, log *slog.Logger) (func(context.Context) error, error) {
	if o.broker.Broker != "" {
		o.broker.Log = log
		client, err := mqtt.New(o.broker)
		if err != nil {
			return nil, fmt.Errorf("broker: %w", err)
		}
		for _, filter := range fleet.Filters {
			client.Subscribe(filter, 1, func(m mqtt.Message) { boxes.Receive(m.Topic, m.Payload) })
		}
		return client.Run, nil
	}
	b := &fleet.Broker{State: o.state, Log: log}
	var err error
	if o.passwordFile != "" {
		if b.Passwords, err = fleet.ReadPasswords(o.passwordFile); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", o.mqttListen)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	log.Info("serving the broker", "url", "mqtt://"+l.Addr().String())
	return func(ctx context.Context) error { return b.Serve(ctx, l, boxes) }, nil
}
