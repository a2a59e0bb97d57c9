package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning"
	"sluice/provisioning/config"
	"sluice/provisioning/fleet"
	"sluice/provisioning/mqtt"
	"sluice/provisioning/store"
	"sluice/relay"
	"sluice/relay/relaytest"
)

// A realBox is a whole box on the loopback, with its broker: what sluicectl
// does is done to it.
type realBox struct {
	t              *testing.T
	socket, broker string
	log            *screen
}

const device = "test-box"

// startBox runs the box until the test ends.
func startBox(t *testing.T) *realBox {
	t.Helper()
	dir := t.TempDir()
	r := &realBox{t: t, socket: filepath.Join(dir, "control.sock"), log: &screen{}}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	r.broker = "mqtt://" + l.Addr().String()
	kept, err := store.Open(filepath.Join(dir, "state"))
	check(t, err)
	locals := []uplink.Local{{Name: "lan0", Interface: "lo"}}
	uplinks := uplink.New(locals, log)
	engine := relay.New(relay.Options{Uplink: uplinks.Get, Log: log})
	agent, err := provisioning.New(provisioning.Options{
		Device: device, Store: kept, Engine: engine, Uplinks: uplinks,
		Info:    func() config.Info { return config.Info{Version: "1.2.3", Architecture: "amd64"} },
		Figures: system.New().Figures, Log: log, Broker: &mqtt.Config{Broker: r.broker}, LocalUplinks: locals,
		ApplyEvery: 10 * time.Millisecond, StateEvery: 10 * time.Millisecond, SampleEvery: 10 * time.Millisecond, TelemetryEvery: 50 * time.Millisecond,
	})
	check(t, err)
	socket, err := control.Listen(r.socket)
	check(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{
		func(ctx context.Context) error {
			return (&fleet.Broker{Log: slog.New(slog.DiscardHandler)}).Serve(ctx, l, &fleet.Boxes{})
		},
		uplinks.Run, engine.Run, agent.Run,
		func(ctx context.Context) error { return control.Serve(ctx, socket, agent, log) },
	} {
		parts.Go(func() {
			if err := part(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		parts.Wait()
		kept.Close()
	})
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A screen is what a program prints, read while it runs.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A result is what one command line did.
type result struct {
	status   int
	out, err string
}

// local runs sluicectl over the socket.
func (r *realBox) local(stdin string, args ...string) result {
	return sluicectl(r.t.Context(), stdin, append([]string{"--control", r.socket}, args...)...)
}

// remote runs sluicectl over the broker.
func (r *realBox) remote(stdin string, args ...string) result {
	return sluicectl(r.t.Context(), stdin, append([]string{"--broker", r.broker, "--device", device}, args...)...)
}

func sluicectl(ctx context.Context, stdin string, args ...string) result {
	var out, err screen
	c := &command{in: strings.NewReader(stdin), out: &out, err: &err, width: 80, now: time.Now}
	return result{c.run(ctx, args), out.String(), err.String()}
}

// wants checks the status, and that what was printed holds each of the texts.
func (r result) wants(t *testing.T, status int, texts ...string) result {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d\n%s%s", r.status, status, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("%q is not said:\n%s%s", text, r.out, r.err)
		}
	}
	return r
}

// lacks checks that what was printed does not hold a text.
func (r result) lacks(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(r.out+r.err, text) {
		t.Errorf("%q is said:\n%s%s", text, r.out, r.err)
	}
}

// ports returns free UDP ports.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var all []int
	for range n {
		all = append(all, relaytest.FreePort(t))
	}
	return all
}

// eventually waits until is holds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
