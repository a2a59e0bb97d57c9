package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/provisioning/store"
	"sluice/relay"
)

// A daemon is the parts of the box, put together.
type daemon struct {
	log     *slog.Logger
	store   *store.Store
	uplinks *uplink.Manager
	engine  *relay.Engine
	agent   *provisioning.Agent
	control net.Listener
	metrics net.Listener  // nil where nobody asked for them
	over    chan struct{} // closed when the daemon is to end by itself
}

// newDaemon opens what the daemon needs. What it returns must be run.
func newDaemon(s *settings, log *slog.Logger, lines *ring) (d *daemon, err error) {
	d = &daemon{log: log, over: make(chan struct{})}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.store, err = store.Open(s.state); err != nil {
		return d, err
	}
	d.uplinks = uplink.New(s.uplinks, log)
	certificate := system.NewCertificate(s.device, s.state, d.store)
	d.engine = relay.New(relay.Options{Uplink: d.uplinks.Get, Log: log, Certificate: certificate.Get})
	box := system.New()
	options := provisioning.Options{
		Device: s.device, StateDir: s.state, Store: d.store, Engine: d.engine, Uplinks: d.uplinks,
		Info:   func() config.Info { return info(box, log) },
		SetTLS: certificate.Set, Figures: box.Figures, LogTail: lines.tail, Log: log,
		Host: system.NewHost(system.HostDir), SystemBootID: box.BootID(),
		Updater: &system.Installer{Dir: system.HostDir, State: s.state, RAUC: "/etc/rauc/system.conf"},
		End:     sync.OnceFunc(func() { close(d.over) }), PasswordFile: s.passwordFile, LocalUplinks: s.uplinks, BrokerUplinks: s.brokerUplinks,
		Dial: d.dialer, ApplyEvery: s.applyEvery,
	}
	if s.broker.Broker != "" {
		options.Broker = &s.broker
	}
	if d.agent, err = provisioning.New(options); err != nil {
		return d, err
	}
	if err = os.MkdirAll(filepath.Dir(s.control), 0o755); err != nil {
		return d, fmt.Errorf("control socket: %w", err)
	}
	if d.control, err = control.Listen(s.control); err != nil {
		return d, err
	}
	if s.metrics != "" {
		if d.metrics, err = net.Listen("tcp", s.metrics); err != nil {
			return d, fmt.Errorf("metrics: %w", err)
		}
	}
	return d, nil
}

// close gives back what newDaemon opened before it failed.
func (d *daemon) close() {
	if d.control != nil {
		d.control.Close()
	}
	if d.metrics != nil {
		d.metrics.Close()
	}
	if d.store != nil {
		d.store.Close()
	}
}

// dialer makes connections from an uplink. A box that was never told which of
// its NICs is which reaches its broker as the system sees fit: how else could
// it be told.
func (d *daemon) dialer(name string) mqtt.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if name == "" && d.uplinks.Default() == "" {
			var any net.Dialer
			return any.DialContext(ctx, network, address)
		}
		return d.uplinks.Get(name).Dialer().DialContext(ctx, network, address)
	}
}

// bindTime bounds how long the daemon waits for its listeners before it says
// that it is ready. What is not bound by then will be later, or has no NIC.
const bindTime = 10 * time.Second

// awaitListeners returns when what is stored is not only in force, but answers,
// and the Engine's report, which is a moment old, shows it.
func (d *daemon) awaitListeners(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var bound time.Time
	for bound.IsZero() || !d.engine.Report().Time.After(bound) {
		if bound.IsZero() && d.engine.Bound() {
			bound = time.Now()
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				d.log.Warn("not everything listens yet")
			}
			return
		case <-again.C:
		}
	}
}

// run serves until ctx is done or a part fails. What is reported ends before
// what is relayed, and that before the NICs are left.
func (d *daemon) run(ctx context.Context) error {
	reporting, stopReporting := context.WithCancel(ctx)
	defer stopReporting()
	relaying, stopRelaying := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRelaying()

	var reporters, relays sync.WaitGroup
	failed := make(chan error, 8) // one for each part at most
	part := func(group *sync.WaitGroup, name string, ctx context.Context, run func(context.Context) error) {
		group.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
			stopReporting() // one part ends: all end
		})
	}
	part(&relays, "uplinks", relaying, d.uplinks.Run)
	part(&relays, "engine", relaying, d.engine.Run)
	part(&reporters, "agent", reporting, d.agent.Run)
	// Nobody is served, nor told that the box is ready, before what was stored
	// is in force.
	select {
	case <-d.agent.Ready():
	case <-reporting.Done():
	}
	part(&reporters, "control", reporting, func(ctx context.Context) error {
		return control.Serve(ctx, d.control, d.agent, d.log)
	})
	if d.metrics != nil {
		d.log.Info("serving metrics", "url", "http://"+d.metrics.Addr().String()+"/metrics")
		part(&reporters, "metrics", reporting, func(ctx context.Context) error {
			return serveMetrics(ctx, d.metrics, newCollector(d.engine, d.uplinks), d.log)
		})
	}
	d.awaitListeners(reporting)
	told := environment(d.log)
	status := func() string { return summary(d.engine.Report(), d.uplinks.Status()) }
	if reporting.Err() == nil {
		d.log.Info("running", "version", system.Version(version), "control", d.control.Addr().String())
		told.tell("READY=1", "STATUS="+status())
		beating := &heart{tell: told.tell, watch: told.watch, status: status, log: d.log, vitals: []vital{
			{"engine", func() time.Time { return d.engine.Report().Time }},
			{"agent", d.agent.Alive},
			{"uplinks", d.uplinks.Alive},
		}}
		part(&reporters, "heart", reporting, beating.run)
	}

	select {
	case <-reporting.Done():
	case <-d.over:
		d.log.Info("ending, to be started again")
		stopReporting()
	}
	told.tell("STOPPING=1")
	reporters.Wait()
	stopRelaying()
	relays.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.store.Close())...)
}

// info is what the box is, as far as the Agent does not know it.
func info(box *system.Box, log *slog.Logger) config.Info {
	id := box.Identity()
	able := relay.Built()
	i := config.Info{
		SerialNumber: id.SerialNumber, Model: id.Model,
		Version: system.Version(version), Architecture: runtime.GOARCH,
		Interfaces: []config.InterfaceInfo{},
		Capabilities: config.Capabilities{
			Inputs: able.Inputs, Outputs: able.Outputs, Failover: able.Failover,
			MaxFlows: relay.MaxFlows, MaxOutputs: relay.MaxOutputs,
		},
	}
	nics, err := box.Interfaces()
	if err != nil {
		log.Warn("the NICs cannot be listed", "error", err)
	}
	for _, n := range nics {
		i.Interfaces = append(i.Interfaces, config.InterfaceInfo{
			Name: n.Name, MAC: n.MAC, Path: n.Path, Driver: n.Driver, Carrier: n.Carrier, SpeedMbps: n.SpeedMbps,
		})
	}
	return i
}
