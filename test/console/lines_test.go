package console

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"sluice/test/harness"
)

// Two consoles do not share a line, and the second says who has it.
func TestOneConsoleForOneLine(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l := layLine(t)
	first := x.serveConsole(t, l)
	out, err := exec.Command(harness.Program("sluicectl"), "--control", string(x.Control), "console", "--tty", l.box).CombinedOutput()
	want := fmt.Sprintf("is in use by process %d (sluicectl)", first.Cmd.Process.Pid)
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("a second one: %v, %s, want %q", err, out, want)
	}
	// Whoever is killed leaves a lock file, which does not count.
	first.Kill()
	x.serveConsole(t, l)
	sit(t, l).wake()
}

// Silence until Enter, whatever else is typed.
func TestSilentUntilEnter(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l := layLine(t)
	x.serveConsole(t, l)
	d := sit(t, l)
	d.send("AT+CGMI reset \x00\xff\x1b[A")
	if got := d.settle(); got != "" {
		t.Errorf("before Enter there was %q", got)
	}
	banner := d.wake()
	for _, want := range []string{boxName, "Password", "login: "} {
		if !strings.Contains(banner, want) {
			t.Errorf("no %q in\n%s", want, banner)
		}
	}
}

// A terminal that is unplugged, or hung up, costs the session and nothing else:
// there is a new login on the new devices of the same names.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l := layLine(t)
	p := x.serveConsole(t, l)
	password := sit(t, l).loginFirst()
	for i := range 3 {
		l.unplug()
		l.plug(t)
		awaitOpen(t, p, i+2)
		d := sit(t, l)
		switch i {
		case 0: // in the middle of a name
			d.wake()
			d.send("an")
		case 1: // in the middle of a password
			d.wake()
			d.send("anna\r")
			d.expect(`password: $`, patience)
			d.send(password[:4])
		case 2:
			d.login(password)
		}
	}
}
