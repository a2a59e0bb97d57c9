package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a relay that runs.
type process struct {
	command *exec.Cmd
	output  tail
	done    chan struct{}
	err     error // of Wait; valid once done is closed
}

func start(command, environment []string, dir string) (*process, error) {
	p := &process{command: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	p.command.Dir = dir
	p.command.Env = append(p.command.Environ(), environment...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	// Where the bench itself is killed, nothing is left behind.
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.command.Process.Pid }

// ended returns why the process does not run any more, nil where it does.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended (%v): %s", filepath.Base(p.command.Path), p.err, p.output.String())
	default:
		return nil
	}
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = p.command.Process.Kill()
		<-p.done
	}
}

// A tail keeps the end of what a process writes.
type tail struct {
	mu  sync.Mutex
	end []byte
}

// tailSize is what it keeps, in bytes.
const tailSize = 300

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	t.end = bytes.Clone(t.end[max(0, len(t.end)-tailSize):])
	return len(b), nil
}

// String returns it on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.end)), " ")
}
