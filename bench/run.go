package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sluice/bench/load"
	"sluice/bench/measure"
	"sluice/bench/peers"
	"sluice/bench/report"
	"sluice/bench/wire"
	"sluice/relay/relaytest"
)

// settle is how long relays may take until every receiver is served.
const settle = 20 * time.Second

// A run is one relay, or two with a network between them, doing one row's work
// once. It goes from the receivers to the senders.
type run struct {
	row    row
	relays []peers.Relay
	burn   []string // a command that burns time beside the product, or none
	seed   uint64   // of the network

	dir       string
	processes []*process
	sinks     sinks
	senders   []sender
	releases  []func() // of ports
}

// A sender sends a stamped stream until ctx is done.
type sender interface {
	Run(ctx context.Context)
	Sent() uint64 // packets so far
}

// sinks receive what a relay sends until ctx is done.
type sinks interface {
	Run(ctx context.Context)
	Begin() // to count anew
	Received() load.Received
}

// measure does the work. What goes wrong is in the result.
func (r *run) measure(ctx context.Context) (result report.Run) {
	result.Seed = r.seed
	ctx, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer func() {
		stop()
		parts.Wait()
		for _, p := range r.processes {
			p.stop()
		}
		for _, release := range r.releases {
			release()
		}
		os.RemoveAll(r.dir)
	}()
	err := r.start(ctx, &parts)
	if err == nil {
		err = r.watch(ctx, &result)
	}
	for _, p := range r.processes {
		if ended := p.ended(); ended != nil {
			err = ended
		}
	}
	if err != nil {
		result.Failed = err.Error()
	}
	return result
}

// start starts everything, and returns once every receiver is served. What it
// starts ends with ctx, and is in parts until then.
func (r *run) start(ctx context.Context, parts *sync.WaitGroup) (err error) {
	soon, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if r.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	terms := wire.Terms{Latency: r.row.latency(), Passphrase: r.row.passphrase}
	last := peers.Job{In: r.row.protocol, Out: r.row.protocol, Latency: terms.Latency, Passphrase: terms.Passphrase}
	if r.row.listen {
		last.Viewers = r.row.outputs
		ports, err := r.reserve(1)
		if err != nil {
			return err
		}
		last.Listen = ports[0]
	} else {
		listeners, err := load.Listeners(r.row.protocol, r.row.outputs, terms)
		if err != nil {
			return err
		}
		r.sinks = listeners
		parts.Go(func() { listeners.Run(ctx) })
		last.OutPorts = listeners.Ports()
	}
	jobs := []peers.Job{last}
	if r.row.network != nil {
		if jobs, err = r.apart(ctx, parts, last); err != nil {
			return err
		}
	} else if jobs[0].InPorts, err = r.reserve(r.row.inputs); err != nil {
		return err
	}
	for i := len(jobs) - 1; i >= 0; i-- {
		if err := r.launch(soon, r.relays[i], jobs[i]); err != nil {
			return err
		}
	}
	steps := []func() error{
		func() error { return r.view(ctx, soon, parts, last) },
		func() error { return r.feed(ctx, soon, parts, jobs[0]) },
	}
	if r.row.protocol == load.RTMP {
		slices.Reverse(steps) // a server may turn players of nothing away
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return r.served(soon)
}

// view connects the viewers of a listener.
func (r *run) view(ctx, soon context.Context, parts *sync.WaitGroup, j peers.Job) (err error) {
	switch {
	case j.Listen == 0:
		return nil
	case j.Out == load.RTMP:
		r.sinks, err = load.NewPlayers(soon, j.Viewers, j.Listen)
	default:
		r.sinks, err = load.Viewers(soon, j.Viewers, j.Listen, j.Terms())
	}
	if err == nil {
		parts.Go(func() { r.sinks.Run(ctx) })
	}
	return err
}

// feed starts the senders.
func (r *run) feed(ctx, soon context.Context, parts *sync.WaitGroup, j peers.Job) error {
	for _, port := range j.InPorts {
		s, err := newSender(soon, j, port, r.row.mbps*1e6)
		if err != nil {
			return err
		}
		r.senders = append(r.senders, s)
		parts.Go(func() { s.Run(ctx) })
	}
	return nil
}

func newSender(ctx context.Context, j peers.Job, port int, bitsPerSecond float64) (sender, error) {
	if j.In == load.RTMP {
		return load.NewPublisher(ctx, port, bitsPerSecond)
	}
	return load.NewSender(ctx, j.In, port, bitsPerSecond, j.Terms())
}

// apart splits a job in two: the first relay sends over the network to the
// second, which does the rest.
func (r *run) apart(ctx context.Context, parts *sync.WaitGroup, whole peers.Job) ([]peers.Job, error) {
	ports, err := r.reserve(2)
	if err != nil {
		return nil, err
	}
	target := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(ports[1]))
	proxy, err := relaytest.NewProxy(target, r.seed, *r.row.network, *r.row.network)
	if err != nil {
		return nil, err
	}
	parts.Go(func() { _ = proxy.Run(ctx) })
	first, second := whole, whole
	first.InPorts, first.Out, first.OutPorts = ports[:1], load.SRT, []int{int(proxy.Address().Port())}
	second.In, second.InPorts = load.SRT, ports[1:]
	return []peers.Job{first, second}, nil
}

// launch starts a relay, and what burns time beside it.
func (r *run) launch(ctx context.Context, relay peers.Relay, j peers.Job) error {
	dir := filepath.Join(r.dir, fmt.Sprint(len(r.processes)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if relay.Prepare != nil {
		if err := relay.Prepare(j, dir); err != nil {
			return err
		}
	}
	p, err := start(relay.Command(j, dir), r.row.environment, dir)
	if err != nil {
		return err
	}
	r.processes = append(r.processes, p)
	if relay.Name == peers.Sluice && r.burn != nil {
		burner, err := start(r.burn, nil, dir)
		if err != nil {
			return err
		}
		r.processes = append(r.processes, burner)
	}
	if relay.Ready == nil {
		return nil
	}
	return relay.Ready(ctx, j, dir)
}

// served waits until everybody has received something.
func (r *run) served(ctx context.Context) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		got := r.sinks.Received()
		if got.Silent == 0 {
			return nil
		}
		for _, p := range r.processes {
			if err := p.ended(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d receivers have received nothing: %s", got.Silent, got.Sinks, r.processes[0].output.String())
		case <-look.C:
		}
	}
}

// watch measures, once everything runs.
func (r *run) watch(ctx context.Context, result *report.Run) error {
	if err := wait(ctx, r.row.effort.warmUp); err != nil {
		return err
	}
	r.sinks.Begin()
	before, err := r.look()
	if err != nil {
		return err
	}
	if err := wait(ctx, r.row.effort.window); err != nil {
		return err
	}
	after, err := r.look()
	if err != nil {
		return err
	}
	result.Received = r.sinks.Received()
	result.Window = after.machine.At.Sub(before.machine.At)
	result.CPU = after.cost.CPU - before.cost.CPU
	result.PeakRSS = after.cost.PeakRSS
	result.Due = (after.sent - before.sent) * uint64(r.row.outputs/r.row.inputs)
	result.Others = measure.Others(before.machine, after.machine, result.CPU+after.self-before.self)
	result.Idle = measure.Idle(before.machine, after.machine)
	return nil
}

// A sight is how far everything is at one time.
type sight struct {
	machine measure.Machine
	cost    measure.Cost // of the relays
	self    time.Duration
	sent    uint64
}

func (r *run) look() (s sight, err error) {
	for _, sender := range r.senders {
		s.sent += sender.Sent()
	}
	for _, p := range r.processes {
		c, err := measure.Tree(p.pid())
		if err != nil {
			return s, err
		}
		s.cost.CPU += c.CPU
		s.cost.PeakRSS += c.PeakRSS
	}
	s.self = measure.Self()
	s.machine, err = measure.Now()
	return s, err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// reserve keeps n ports until the run is over, each with the next one free as
// well: RTCP is there.
func (r *run) reserve(n int) ([]int, error) {
	var ports []int
	for range n {
		port, release, err := relaytest.ReservePorts(0, 1)
		if err != nil {
			return nil, err
		}
		r.releases = append(r.releases, release)
		ports = append(ports, port)
	}
	return ports, nil
}
