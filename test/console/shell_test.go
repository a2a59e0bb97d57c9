package console

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/test/harness"
)

// On a terminal of the box the console has that terminal's size, needs no
// login, and leaves the terminal as it was, however it ends.
func TestShellOnATerminal(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	for name, end := range map[string]func(d *driver, p *harness.Process){
		"logout":  func(d *driver, _ *harness.Process) { d.send("logout\r") },
		"Ctrl-D":  func(d *driver, _ *harness.Process) { d.send("\x04") },
		"SIGTERM": func(_ *driver, p *harness.Process) { _ = p.Cmd.Process.Signal(syscall.SIGTERM) },
		"idle":    func(*driver, *harness.Process) {},
	} {
		t.Run(name, func(t *testing.T) {
			l, f := bareLine(t)
			check(t, unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132}))
			tty := openTTY(t, l.box)
			before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			check(t, err)
			d := drive(t, f, f)
			args := []string{"--control", string(x.Control), "shell"}
			if name == "idle" {
				args = append(args, "--idle", "1s")
			}
			p := harness.Start(t, harness.Program("sluicectl"), args, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = tty, tty })
			d.expect(prompt, patience)
			during, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			check(t, err)
			if during.Lflag&(unix.ECHO|unix.ISIG|unix.ICANON) != 0 {
				t.Error("the terminal is not raw")
			}
			end(d, p)
			harness.Await(t, patience, "the shell ends", func() bool { return !p.Running() })
			after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			check(t, err)
			if *after != *before {
				t.Errorf("the terminal is left as %+v, it was %+v", after, before)
			}
		})
	}
}

// What is no terminal gets plain lines, and a status for its script.
func TestShellOnAPipe(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	for _, c := range []struct {
		name, in, want string
		status         int
	}{
		{"commands", "show version\nshow uplinks\n", "sluiced", 0},
		{"no end of line", "show version", "", 0},
		{"a line that is edited", "nonsense\x15show version\n", "sluiced", 0},
		{"nothing", "", "Box ", 0},
		{"a script", "terminal script on\nshow version\n", "\nok\n", 0},
		{"one that fails", "terminal script on\nshow nothing\nshow version\n", "\nerror: ", 1},
	} {
		cmd := exec.Command(harness.Program("sluicectl"), "--control", string(x.Control), "shell")
		cmd.Stdin = strings.NewReader(c.in)
		out, err := cmd.CombinedOutput()
		var status *exec.ExitError
		if !(err == nil && c.status == 0) && !(errors.As(err, &status) && status.ExitCode() == c.status) {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
		if !strings.Contains(string(out), c.want) || bytes.ContainsAny(out, "\r\x1b\x07") {
			t.Errorf("%s:\n%q", c.name, out)
		}
	}
}

// Neither works without a daemon, and each says so in its own way: the shell at
// once, the line at every Enter, for as long as it takes.
func TestWithoutADaemon(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l := layLine(t)
	x.serveConsole(t, l)
	d := sit(t, l)
	password := d.loginFirst()
	x.process.Stop()
	d.send("show uplinks\r")
	d.expect(`No daemon answers`, patience)
	out, _ := exec.Command(harness.Program("sluicectl"), "--control", string(x.Control), "shell").CombinedOutput()
	if !strings.Contains(string(out), "No daemon answers") {
		t.Errorf("the shell: %s", out)
	}
	x.start(t)
	d.recover("the daemon was started again", password)
	d.says("show version", prompt, "sluiced")
	d.send("logout\r")
	d.expect("Logged out", 10*time.Second)
}
