package image

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"sluice/test/harness"
)

// A Line is the far end of a machine's second serial port.
type Line struct {
	conn net.Conn
	out  *harness.Output // all that came
	runs int
}

// Line connects to the serial port, which takes one at a time.
func (m *Machine) Line(t *testing.T) *Line {
	t.Helper()
	l := &Line{out: &harness.Output{}}
	harness.Await(t, 30*time.Second, "the serial port is there", func() bool {
		if !m.Running() {
			t.Fatalf("the machine ended:\n%s", m.process.Out.Tail(4000))
		}
		var err error
		l.conn, err = net.Dial("unix", m.line)
		return err == nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := l.conn.Read(b)
			_, _ = l.out.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		l.conn.Close()
		<-done
		if t.Failed() {
			t.Logf("--- the serial line (end):\n%s", l.out.Tail(4000))
		}
	})
	return l
}

// Close pulls the cable out.
func (l *Line) Close() { l.conn.Close() }

// Write types.
func (l *Line) Write(b []byte) (int, error) { return l.conn.Write(b) }

// Output is all that came.
func (l *Line) Output() []byte { return l.out.Bytes() }

// Ready waits until the shell of the guest answers.
func (l *Line) Ready(t *testing.T, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		// What is typed before the port is open is lost, so it is typed again.
		if _, err := l.run("true", time.Second); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the shell at the serial line does not answer within %v: %v", within, err)
		}
	}
}

// Run has the shell of the guest run a command, which is one line, and returns
// what it prints.
func (l *Line) Run(t *testing.T, within time.Duration, command string) []byte {
	t.Helper()
	out, err := l.run(command, within)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

func (l *Line) run(command string, within time.Duration) ([]byte, error) {
	l.runs++
	begin, end := fmt.Appendf(nil, "<%d>", l.runs), fmt.Appendf(nil, "</%d>", l.runs)
	from := len(l.out.Bytes())
	if _, err := fmt.Fprintf(l.conn, "\necho '%s'; { %s; } </dev/null; echo \"%s$?.\"\n", begin, command, end); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(within)
	for {
		_, out, _ := bytes.Cut(l.out.Bytes()[from:], append(begin, '\n'))
		if out, status, ok := bytes.Cut(out, end); ok {
			if status, _, ok := bytes.Cut(status, []byte(".")); ok {
				if n, err := strconv.Atoi(string(status)); err != nil || n != 0 {
					return out, fmt.Errorf("exit status %s: %s", status, out)
				}
				return out, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no answer within %v: %s", within, l.out.Bytes()[from:])
		}
		<-time.After(20 * time.Millisecond)
	}
}
