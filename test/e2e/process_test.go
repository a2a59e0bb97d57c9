package e2e

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

// A process is a program that the test started. It ends with the test, and
// its output is shown where the test failed.
type process struct {
	name string
	cmd  *exec.Cmd
	out  *output // stdout and stderr, or stderr alone where stdout is taken
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// start runs a program. prepare, which may be nil, can take its stdin or
// stdout before it starts.
func start(t *testing.T, path string, args []string, prepare func(*exec.Cmd)) *process {
	t.Helper()
	p := &process{name: filepath.Base(path), cmd: exec.Command(path, args...), out: &output{}, done: make(chan struct{})}
	if prepare != nil {
		prepare(p.cmd)
	}
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = p.out
	}
	p.cmd.Stderr = p.out
	// Where the test itself is killed, nothing is left behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("--- output of %s %q (end):\n%s", p.name, args, p.out.tail(4000))
		}
	})
	return p
}

// stop ends the process as a service manager would.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// An output collects what a program writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}

func (o *output) tail(n int) []byte {
	b := o.bytes()
	return b[max(0, len(b)-n):]
}

// await waits until the condition holds.
func await(t *testing.T, within time.Duration, what string, holds func() bool) {
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
