package rtmp

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// A log collects what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A rig is a box: one flow, and what comes and goes on one port.
type rig struct {
	t         *testing.T
	transport *Transport
	up        *relaytest.Uplink
	flow      *flow.Flow
	port      int
	log       *log
}

var loopback = netip.MustParseAddr("127.0.0.1")

func newRig(t *testing.T, change ...func(*Options)) *rig {
	l := &log{}
	o := Options{Log: slog.New(slog.NewTextHandler(l, nil))}
	for _, c := range change {
		c(&o)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.String())
		}
	})
	return &rig{
		t: t, transport: NewTransport(o), up: relaytest.NewUplink("lo", loopback), log: l, port: relaytest.FreePort(t),
		flow: flow.New(flow.Limits{Retain: 2 * time.Second, MaxBytes: 64 << 20, Entry: true}),
	}
}

func (r *rig) env() endpoint.Env {
	return endpoint.Env{
		Uplink: r.up, UplinkNamed: func(string) endpoint.Uplink { return r.up },
		Ledger: &endpoint.Ledger{}, Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
}

// running is an endpoint that runs.
type running struct {
	t      *testing.T
	cancel context.CancelCauseFunc
	done   chan error
	ledger *endpoint.Ledger
}

func (r *rig) run(ledger *endpoint.Ledger, run func(context.Context) error) *running {
	ctx, cancel := context.WithCancelCause(context.Background())
	e := &running{t: r.t, cancel: cancel, done: make(chan error, 1), ledger: ledger}
	go func() { e.done <- run(ctx) }()
	r.t.Cleanup(func() {
		cancel(nil)
		if e.done != nil {
			e.wait()
		}
	})
	return e
}

// wait returns how Run ended.
func (e *running) wait() error {
	e.t.Helper()
	select {
	case err := <-e.done:
		e.done = nil
		return err
	case <-time.After(20 * time.Second):
		e.t.Fatal("Run does not return")
		return nil
	}
}

// stop ends it in order.
func (e *running) stop() {
	e.t.Helper()
	e.cancel(nil)
	if err := e.wait(); err != nil {
		e.t.Errorf("Run ended with %v", err)
	}
}

type inputRun struct {
	endpoint.Input
	*running
}

type outputRun struct {
	endpoint.Output
	*running
}

var anyone = endpoint.Access{Max: 50}

func (r *rig) input(cfg InputConfig) inputRun {
	env := r.env()
	in := NewInput(r.transport, cfg, anyone, env)
	return inputRun{in, r.run(env.Ledger, func(ctx context.Context) error { return in.Run(ctx, r.flow) })}
}

func (r *rig) output(cfg OutputConfig) outputRun {
	env := r.env()
	out := NewOutput(r.transport, cfg, anyone, env)
	r.t.Cleanup(func() {
		if r.t.Failed() {
			s := out.Status()
			r.t.Logf("output: phase %d, reason %v", s.Phase, s.Reason)
		}
	})
	return outputRun{out, r.run(env.Ledger, func(ctx context.Context) error { return out.Run(ctx, r.flow) })}
}

// publishHere and playHere are what is there on the rig's port.
func (r *rig) publishHere() InputConfig {
	return InputConfig{Port: r.port, App: "in", StreamKey: endpoint.NewSecret("key")}
}

func (r *rig) playHere() OutputConfig {
	return OutputConfig{Port: r.port, App: "live", StreamKey: "stage"}
}

// serving is a rig with both, listening.
func serving(t *testing.T, change ...func(*Options)) (r *rig, in inputRun, out outputRun) {
	t.Helper()
	r = newRig(t, change...)
	in, out = r.input(r.publishHere()), r.output(r.playHere())
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	return r, in, out
}

func (r *rig) in() string  { return fmt.Sprintf("rtmp://127.0.0.1:%d/in/key", r.port) }
func (r *rig) out() string { return fmt.Sprintf("rtmp://127.0.0.1:%d/live/stage", r.port) }

// takesSeconds leaves a test out of the short form.
func takesSeconds(t *testing.T) {
	t.Helper()
	relaytest.TakesSeconds(t)
}

// needsTCPInfo leaves a test out where nobody says what TCP has delivered: an
// emulator of another processor does not.
func needsTCPInfo(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err == nil && info.Rto == 0 {
		err = unix.ENOSYS // an emulator says yes, and writes nothing
	}
	relaytest.EmulatorLacks(t, "getsockopt(TCP_INFO)", err)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

func (r inputRun) await(phase endpoint.Phase) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("the input is in phase %d", phase), func() bool { return r.Status().Phase == phase })
}

func (r outputRun) await(phase endpoint.Phase) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("the output is in phase %d", phase), func() bool { return r.Status().Phase == phase })
}

// A program is one of others that runs.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  *log
	done chan error
}

// start starts a program, which is killed at the end of the test.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	relaytest.StartsPrograms(t)
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (make test does)", name)
	}
	p := &program{t: t, name: name, cmd: exec.Command(path, args...), out: &log{}, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(p.kill)
	return p
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.done <- nil
	if p.t.Failed() {
		p.t.Logf("%s: %s", p.name, p.out)
	}
}

// wait waits until the program has ended by itself.
func (p *program) wait() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(60 * time.Second):
		p.t.Fatalf("%s does not end: %s", p.name, p.out)
		return nil
	}
}

// run runs a program to its end.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	p := start(t, name, args...)
	if err := p.wait(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, p.out)
	}
	return p.out.String()
}

// clips are made once for all tests.
var clips struct {
	sync.Mutex
	dir string
}

// TestMain runs more tests at the same time than there are processors: they
// wait more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		_ = p.Value.Set("8")
	}
	dir, err := os.MkdirTemp("", "sluice-rtmp-")
	if err != nil {
		panic(err)
	}
	clips.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// clip makes a test stream of some seconds: H.264 with B-frames and AAC, a key
// frame every half second.
func clip(t *testing.T, seconds int) string {
	t.Helper()
	clips.Lock()
	defer clips.Unlock()
	path := filepath.Join(clips.dir, fmt.Sprintf("%d.flv", seconds))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	run(t, "ffmpeg", "-v", "error", "-nostdin", "-y",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", fmt.Sprint(seconds), "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "13", "-keyint_min", "13", "-sc_threshold", "0", "-b:v", "600k",
		"-c:a", "aac", "-b:a", "96k", "-f", "flv", "-flvflags", "no_duration_filesize", path)
	return path
}

// publish lets ffmpeg publish a clip at the speed of a clock.
func publish(t *testing.T, clip, url string, options ...string) *program {
	args := append([]string{"-v", "warning", "-nostdin", "-re", "-i", clip, "-c", "copy"}, options...)
	return start(t, "ffmpeg", append(args, "-f", "flv", url)...)
}
