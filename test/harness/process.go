package harness

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Process is a program that the test started. It ends with the test, and
// its output is shown where the test failed.
type Process struct {
	name string
	Cmd  *exec.Cmd
	Out  *Output // stdout and stderr, or stderr alone where stdout is taken
	done chan struct{}
	Err  error // of Wait; valid once done is closed
}

// Start runs a program. prepare, which may be nil, can take its stdin or
// stdout before it starts.
func Start(t *testing.T, path string, args []string, prepare func(*exec.Cmd)) *Process {
	t.Helper()
	p := &Process{name: filepath.Base(path), Cmd: exec.Command(path, args...), Out: &Output{}, done: make(chan struct{})}
	if prepare != nil {
		prepare(p.Cmd)
	}
	if p.Cmd.Stdout == nil {
		p.Cmd.Stdout = p.Out
	}
	p.Cmd.Stderr = p.Out
	// Where the test itself is killed, nothing is left behind.
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.Cmd.WaitDelay = 5 * time.Second
	if err := p.Cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	go func() {
		p.Err = p.Cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("--- output of %s %q (end):\n%s", p.name, args, p.Out.Tail(4000))
		}
	})
	return p
}

// Stop ends the process as a service manager would.
func (p *Process) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Kill ends the process as a power cut would.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.done
}

func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// An Output collects what a program writes.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*Output)(nil)

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *Output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}

func (o *Output) Tail(n int) []byte {
	b := o.Bytes()
	return b[max(0, len(b)-n):]
}

// Await waits until the condition holds.
func Await(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
}
