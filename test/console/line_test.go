package console

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/test/harness"
)

// A line is a null-modem cable: a pair of pseudo terminals under names that
// stay. A pseudo terminal has no speed, no breaks and no framing errors; of a
// break only the zero byte that it arrives as can be tried.
type line struct {
	box, terminal string // device names
	socat         *harness.Process
}

// layLine lays a line, plugged in.
func layLine(t *testing.T) *line {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-line-") // socat takes a comma in a test's name for its own
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &line{box: filepath.Join(dir, "ttyBOX"), terminal: filepath.Join(dir, "ttyTERM")}
	l.plug(t)
	return l
}

// plug makes both devices; they are others each time.
func (l *line) plug(t *testing.T) {
	t.Helper()
	end := func(name string) string { return "pty,raw,echo=0,link=" + name }
	l.socat = harness.Start(t, harness.Need(t, "socat", "socat"), []string{"-d", "-d", end(l.box), end(l.terminal)}, nil)
	harness.Await(t, 10*time.Second, "both ends of the line", func() bool {
		_, box := os.Stat(l.box)
		_, terminal := os.Stat(l.terminal)
		return box == nil && terminal == nil
	})
}

// unplug takes both devices away.
func (l *line) unplug() {
	l.socat.Kill()
	// socat has no time to take the names away, which may lead to somebody
	// else's pseudo terminal before long.
	_ = os.Remove(l.box)
	_ = os.Remove(l.terminal)
}

// serveConsole runs the console of a box on a line.
func (x *box) serveConsole(t *testing.T, l *line, more ...string) *harness.Process {
	t.Helper()
	p := harness.Start(t, harness.Program("sluicectl"), append([]string{"--control", string(x.Control), "console", "--tty", l.box}, more...), nil)
	awaitOpen(t, p, 1)
	return p
}

// awaitOpen waits until the console has opened its port so many times: before
// that the line may not be raw, and echo.
func awaitOpen(t *testing.T, p *harness.Process, times int) {
	t.Helper()
	harness.Await(t, 20*time.Second, fmt.Sprintf("the console opens its port for time %d", times), func() bool {
		if !p.Running() {
			t.Fatalf("the console ended: %v\n%s", p.Err, p.Out.Tail(2000))
		}
		return count(p.Out.Bytes(), "serial port open") >= times
	})
}

// openTTY opens a terminal device, raw, as a program at a serial line does.
func openTTY(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	return f
}

// bareLine is a line without socat in it, which would take some of what a
// terminal does not read: one pseudo terminal, whose other end is the file.
func bareLine(t *testing.T) (*line, *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	check(t, err)
	f := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { f.Close() })
	check(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	check(t, err)
	return &line{box: fmt.Sprintf("/dev/pts/%d", n)}, f
}
