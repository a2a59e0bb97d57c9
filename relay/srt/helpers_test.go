package srt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// env returns what an endpoint is given, and its log.
func env(t *testing.T) (endpoint.Env, *logBuffer) {
	log := &logBuffer{}
	up := relaytest.NewUplink("lan0")
	return endpoint.Env{
		Uplink: up, UplinkNamed: func(string) endpoint.Uplink { return up },
		Ledger: &endpoint.Ledger{}, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, log
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// patience is how long a test waits for what should happen soon.
const patience = 15 * time.Second

// await returns when the condition holds, and fails the test where it does not
// come to.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	awaitWithin(t, patience, what, cond)
}

func awaitWithin(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// latencyMS is enough for the busiest machine: what is not about time loses
// nothing by it, an emulated one neither. The larger of both sides' is used.
var latencyMS = latency()

func latency() int {
	if relaytest.Emulator() != "" {
		return 4000
	}
	return 1000
}

func listenerConfig() Config {
	return Config{Mode: ModeListener, LatencyMS: latencyMS, KeyLength: 16, PeerIdleTimeoutMS: 2000}
}

func callerConfig(host string, port int) Config {
	return Config{Mode: ModeCaller, Destinations: []Destination{{Host: host, Port: port}}, LatencyMS: latencyMS, KeyLength: 16, PeerIdleTimeoutMS: 2000}
}

// keyed sets a passphrase where bits is not 0.
func keyed(c Config, bits int) Config {
	if bits != 0 {
		c.Passphrase, c.KeyLength = endpoint.NewSecret(passphrase), bits/8
	}
	return c
}

const passphrase = "correct-horse-battery"

var anyone = endpoint.Access{Max: 4}

// background runs something in the background until the test ends, or stop is
// called; stop returns its error.
func background(t *testing.T, run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case err = <-done:
			case <-time.After(patience):
				t.Error("Run does not end")
			}
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// A receivingInput is an input that runs, with what it published checked.
type receivingInput struct {
	endpoint.Input
	env  endpoint.Env
	log  *logBuffer
	stop func() error
	flow *flow.Flow
	seen *relaytest.Verifier
}

func runInput(t *testing.T, cfg Config) *receivingInput {
	t.Helper()
	e, log := env(t)
	in := &receivingInput{
		Input: NewInput(NewTransport(e.Log), cfg, endpoint.Access{Max: 1}, e), env: e, log: log,
		flow: flow.New(flow.DefaultLimits), seen: relaytest.NewVerifier(1),
	}
	in.feed(t, in.seen)
	in.stop = background(t, func(ctx context.Context) error { return in.Run(ctx, in.flow) })
	t.Cleanup(func() {
		if t.Failed() {
			s := in.Status()
			t.Logf("input: phase %d, reason %v\n%s", s.Phase, s.Reason, tail(log.String()))
		}
	})
	return in
}

// feed gives a verifier what the input publishes, until the test ends.
func (in *receivingInput) feed(t *testing.T, v *relaytest.Verifier) {
	t.Helper()
	cursor := in.flow.Open()
	background(t, func(ctx context.Context) error {
		b := make([]media.Packet, 64)
		for {
			n, _, err := cursor.Next(ctx, b)
			for _, p := range b[:n] {
				v.Feed(p.Data)
			}
			if err != nil {
				return err
			}
		}
	})
}

// port waits until a listening endpoint is bound.
func (in *receivingInput) port(t *testing.T) int {
	t.Helper()
	g := in.Input.(*listenInput)
	await(t, "the input listens", func() bool { return in.Status().Phase == endpoint.Listening })
	return g.View().Port
}

type sendingOutput struct {
	endpoint.Output
	env  endpoint.Env
	log  *logBuffer
	stop func() error
}

func runOutput(t *testing.T, cfg Config, access endpoint.Access, from flow.Source) *sendingOutput {
	t.Helper()
	e, log := env(t)
	out := &sendingOutput{Output: NewOutput(NewTransport(e.Log), cfg, access, e), env: e, log: log}
	out.stop = background(t, func(ctx context.Context) error { return out.Run(ctx, from) })
	t.Cleanup(func() {
		if t.Failed() {
			s := out.Status()
			t.Logf("output: phase %d, reason %v, dropped %v\n%s", s.Phase, s.Reason, e.Ledger.Dropped(), tail(log.String()))
		}
	})
	return out
}

func (out *sendingOutput) port(t *testing.T) int {
	t.Helper()
	await(t, "the output listens", func() bool { return out.Status().Phase != endpoint.Connecting })
	return out.Status().Playback[0].Port
}

// balanced tells whether a ledger at rest adds up.
func balanced(t *testing.T, l *endpoint.Ledger) {
	t.Helper()
	sum := l.Sent.Load()
	for _, n := range l.Dropped() {
		sum += n
	}
	if taken := l.Taken.Load(); taken != sum || taken == 0 {
		t.Errorf("ledger: %d taken, %d sent, dropped %v", taken, l.Sent.Load(), l.Dropped())
	}
}

// A program is a real peer.
type program struct {
	cmd    *exec.Cmd
	output *logBuffer
	done   chan struct{}
	once   sync.Once
}

// runProgram starts a program and kills it when the test ends.
func runProgram(t *testing.T, stdin io.Reader, stdout io.Writer, name string, args ...string) *program {
	t.Helper()
	relaytest.StartsPrograms(t)
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: scripts/deps test installs it", err)
	}
	p := &program{cmd: exec.Command(path, args...), output: &logBuffer{}, done: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s:\n%s", name, strings.Join(args, " "), tail(p.output.String()))
		}
	})
	return p
}

// kill is kill -9.
func (p *program) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
}

// ended tells whether it has exited.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// sink feeds what a program writes to a verifier.
type sink struct{ v *relaytest.Verifier }

func (s sink) Write(b []byte) (int, error) {
	s.v.Feed(b)
	return len(b), nil
}

func intact(t *testing.T, v *relaytest.Verifier) {
	t.Helper()
	if err := v.Report().Intact(); err != nil {
		t.Error(err)
	}
}

// url builds the URL of an SRT peer for srt-live-transmit and ffmpeg.
func url(host string, port int, options string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("srt://%s:%d?%s", host, port, options)
}

// listening waits until a program has opened a UDP port: a call that finds it
// closed fails.
func listening(t *testing.T, port int) {
	t.Helper()
	await(t, "the program listens", func() bool {
		for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
			sockets, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(sockets, fmt.Appendf(nil, ":%04X 0000", port)) {
				return true
			}
		}
		return false
	})
}

// concurrent runs subtests at the same time.
type concurrent struct {
	t  *testing.T
	wg sync.WaitGroup
}

// places are for the subtests of all tests together: more than there are
// processors, as they mostly wait, and so few that none of them waits for a
// processor.
var places = make(chan struct{}, 16)

func (c *concurrent) run(name string, f func(t *testing.T)) {
	c.wg.Go(func() {
		places <- struct{}{}
		defer func() { <-places }()
		c.t.Run(name, f)
	})
}

func (c *concurrent) wait() { c.wg.Wait() }

// A lineOut is a call that sends a flow, held by a test.
type lineOut struct {
	*line
	env  endpoint.Env
	flow *flow.Flow
}

// callFrom calls a listener on the loopback and returns once connected.
func callFrom(t *testing.T, port int) *lineOut {
	t.Helper()
	return callWith(t, callerConfig("127.0.0.1", port), func(*conn) {})
}

// callWith does the same, and changes the connection before it begins.
func callWith(t *testing.T, cfg Config, change func(*conn)) *lineOut {
	t.Helper()
	e, _ := env(t)
	out := &lineOut{env: e, flow: flow.New(limits)}
	do := func(c *conn, _ sequence, _ uint32) (half, error) {
		change(c)
		return delivery{ledger: e.Ledger, overhead: 100, stuck: stuckAfter}.to(c, out.flow), nil
	}
	var err error
	out.line, err = NewTransport(e.Log).dial(t.Context(), out.flow, e, cfg.Destinations[0], cfg.settings(0), do, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.hangUp)
	return out
}

// isControl tells whether a datagram is a control packet of a kind.
func isControl(b []byte, kind controlType) bool {
	h, ok := parseHeader(b)
	return ok && h.control && h.kind == kind
}
