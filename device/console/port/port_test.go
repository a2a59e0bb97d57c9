package port

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

const within = 20 * time.Second

// A wire is a pseudo terminal: the test is the terminal at its other end.
type wire struct {
	*os.File        // the other end
	name     string // of the device
}

func newWire(t *testing.T) *wire {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	check(t, err)
	w := &wire{File: os.NewFile(uintptr(fd), "/dev/ptmx"), name: fmt.Sprintf("/dev/pts/%d", n)}
	t.Cleanup(func() { w.Close() })
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is for a port in a test: everything is tried again soon.
func config(t *testing.T, path string) Config {
	return Config{
		Path: path, Speed: 115200, LockDir: t.TempDir(), Patience: within,
		pace: pace{look: time.Millisecond, first: time.Millisecond, last: 8 * time.Millisecond, healthy: time.Hour, settle: within},
	}
}

func openPort(t *testing.T, c Config) *Port {
	t.Helper()
	p, err := Open(t.Context(), c)
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// end waits for the end of something that runs beside the test.
func end[T any](t *testing.T, what string, done <-chan T) T {
	t.Helper()
	select {
	case v := <-done:
		return v
	case <-time.After(within):
		t.Fatalf("not within %v: %s", within, what)
	}
	panic("unreachable")
}

// Every byte passes as it is, both ways: no character is a signal, an end of
// file, an XOFF or a newline to be changed.
func TestEveryByteBothWays(t *testing.T) {
	w := newWire(t)
	p := openPort(t, config(t, w.name))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, way := range []struct {
		name     string
		from, to io.ReadWriter
	}{{"from the terminal", w, p}, {"to the terminal", p, w}} {
		_, err := way.from.Write(all)
		check(t, err)
		got := make([]byte, len(all))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%s: %v, %x", way.name, err, got)
		}
	}
}

func TestLineSettings(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	c.Speed = 57600
	openPort(t, c)
	s, err := unix.IoctlGetTermios(int(w.Fd()), unix.TCGETS)
	check(t, err)
	if s.Cflag&unix.CBAUD != unix.B57600 || s.Cflag&(unix.CSIZE|unix.PARENB|unix.CSTOPB|unix.CRTSCTS) != unix.CS8 {
		t.Errorf("not 57600 8N1 without flow control: cflag %o", s.Cflag)
	}
	if bad := s.Iflag & (unix.IXON | unix.IXOFF | unix.BRKINT | unix.PARMRK | unix.ISTRIP); bad != 0 {
		t.Errorf("iflag %o", bad)
	}
}

// A hang-up is told from our own Close, for who reads and for who writes.
func TestHangUpIsNotClose(t *testing.T) {
	for name, by := range map[string]struct {
		cut  func(*wire, *Port) error
		want error
	}{
		"hang-up": {func(w *wire, _ *Port) error { return w.Close() }, ErrHungUp},
		"close":   {func(_ *wire, p *Port) error { return p.Close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			p := openPort(t, config(t, w.name))
			read, written := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := p.Read(make([]byte, 1))
				read <- err
			}()
			// The terminal reads a little, so that the writer is known to write,
			// and then nothing.
			go func() {
				_, err := p.Write(make([]byte, 1<<20))
				written <- err
			}()
			_, err := io.ReadFull(w, make([]byte, 1000))
			check(t, err)
			check(t, by.cut(w, p))
			if err := end(t, "Read returns", read); !errors.Is(err, by.want) {
				t.Errorf("Read: %v", err)
			}
			if err := end(t, "Write returns", written); !errors.Is(err, by.want) {
				t.Errorf("Write: %v", err)
			}
			if _, err := p.Write([]byte("x")); !errors.Is(err, by.want) {
				t.Errorf("the next Write: %v", err)
			}
		})
	}
}

// A terminal that never reads does not hold a writer for ever, and what it did
// not read is thrown away.
func TestTerminalThatNeverReads(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	c.Patience = 50 * time.Millisecond
	p := openPort(t, c)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(bytes.Repeat([]byte("old "), 1<<18))
		written <- err
	}()
	if err := end(t, "Write gives up", written); !errors.Is(err, ErrStuck) {
		t.Fatalf("Write: %v", err)
	}
	p.discard()
	_, err := p.Write([]byte("new"))
	check(t, err)
	got := make([]byte, 1<<20)
	n := 0
	for !bytes.HasSuffix(got[:n], []byte("new")) {
		more, err := w.Read(got[n:])
		check(t, err)
		n += more
	}
	// The terminal's own side of a pseudo terminal keeps a page of its own.
	if n > 16<<10 {
		t.Errorf("%d bytes of what was thrown away came in spite of that", n)
	}
}

// A terminal that is merely slow gets everything, however long it takes.
func TestSlowTerminal(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	c.Patience = time.Second // which a busy machine does not use up between two reads
	p := openPort(t, c)
	const size = 200 << 10
	written := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := p.Write(make([]byte, size))
		if err != nil {
			w.Close() // nothing more comes
		}
		written <- err
	}()
	b := make([]byte, 4096)
	for n := 0; n < size; {
		<-time.After(c.Patience / 20) // 200 KiB take longer than Patience
		more, err := w.Read(b)
		check(t, err)
		n += more
	}
	check(t, end(t, "everything is written", written))
	if took := time.Since(begin); took < c.Patience {
		t.Errorf("it took %v: this proves nothing", took)
	}
}

// What is no serial port is said at once; what is not there is waited for.
func TestOpenWaitsForThePort(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, path := range []string{file, "/dev/null", dir} {
		if _, err := Open(t.Context(), config(t, path)); !errors.Is(err, ErrNoPort) {
			t.Errorf("%s: %v", path, err)
		}
	}

	link := filepath.Join(dir, "tty")
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, err := Open(ctx, config(t, link))
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("not waited for: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := end(t, "Open gives up", opened); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	w := newWire(t)
	ports := make(chan *Port, 1)
	go func() {
		p, err := Open(t.Context(), config(t, link))
		if err == nil {
			ports <- p
		}
	}()
	check(t, os.Symlink(w.name, link))
	end(t, "the port that came is opened", ports).Close()
}

// The port works where so many descriptors are open that select(2) does not.
func TestManyDescriptors(t *testing.T) {
	var limit unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Cur < 1200 {
		t.Skipf("only %d descriptors are allowed", limit.Cur)
	}
	w := newWire(t)
	for fd := 0; fd < 1100; {
		var err error
		fd, err = unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		check(t, err)
		t.Cleanup(func() { unix.Close(fd) })
	}
	p := openPort(t, config(t, w.name))
	_, err := w.WriteString("hello")
	check(t, err)
	b := make([]byte, 5)
	if _, err := io.ReadFull(p, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	_, err = p.Write([]byte("world"))
	check(t, err)
	if !strings.HasPrefix(w.name, "/dev/pts/") {
		t.Error(w.name)
	}
}

// A getty whose line is taken over hangs it up, maybe while it is opened: that
// is tried again for a while. Nothing else is.
func TestHungUpWhileOpened(t *testing.T) {
	w := newWire(t)
	// As serial.Open writes it.
	hungUp := fmt.Errorf("Invalid serial port: error setting term settings: %v", unix.EIO)
	tries := 0
	c := config(t, w.name)
	c.dial = func(path string, m *serial.Mode) (serial.Port, error) {
		if tries++; tries < 4 {
			return nil, hungUp
		}
		return serial.Open(path, m)
	}
	openPort(t, c).Close()
	if tries != 4 {
		t.Errorf("%d tries", tries)
	}
	for name, change := range map[string]func(*Config){
		"for too long": func(c *Config) { c.pace.settle = 0 },
		"another error": func(c *Config) {
			c.dial = func(string, *serial.Mode) (serial.Port, error) {
				tries++
				return nil, errors.New("Invalid serial port speed")
			}
		},
	} {
		c := config(t, w.name)
		tries = 0
		c.dial = func(string, *serial.Mode) (serial.Port, error) { tries++; return nil, hungUp }
		change(&c)
		if _, err := Open(t.Context(), c); err == nil || tries != 1 {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}
}
