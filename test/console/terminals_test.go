package console

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// The terminal programs that technicians use show what we send: the status
// block, prompts, lines that are edited, tables, all within 80 by 24.
func TestTerminalPrograms(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"picocom": {"--baud", "115200"},
		"minicom": {"--noinit", "--baudrate", "115200", "--device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := startBox(t, "--uplink", "lan0=lo")
			l := layLine(t)
			x.serveConsole(t, l)
			s := runOnScreen(t, append(append([]string{harness.Need(t, name, name)}, args...), l.terminal)...)
			s.await(map[string]string{"picocom": "Terminal ready", "minicom": "CTRL-A Z for help"}[name])

			s.key("Enter")
			password := firstPassword.FindStringSubmatch(s.await("Box ", "Uplinks    lan0 (lo) ready: 127.0.0.1", "Password ", "login:"))
			if password == nil {
				t.Fatal("no password")
			}
			s.text("anna")
			s.key("Enter")
			s.await("password:")
			s.text(password[1])
			s.key("Enter")
			s.await(boxName + ">")
			// What was typed in the dark stays there.
			if strings.Count(s.shown(), password[1]) > 1 {
				t.Errorf("the password is shown:\n%s", s.shown())
			}
			s.text("show upl")
			s.key("Tab")
			s.await(boxName + "> show uplinks")
			s.key("Enter")
			s.await("UPLINK  NIC", "lan0    lo ", "\n"+boxName+">")
			s.key("C-l")
			s.text("sow version")
			s.key("Home", "Right", "h", "Enter") // show version; Ctrl-A is the program's own key
			s.await("sluiced ", "\n"+boxName+">")
			s.key("Up", "Up")
			s.await("\n" + boxName + "> show uplinks")
			s.key("C-u")
			s.text("?")
			s.await("look at the box", "end this session")
			s.text("logout")
			s.key("Enter")
			s.await("Logged out.")
			s.key("Enter")
			s.await("login:")
		})
	}
}

// A screen is tmux with one window of 80 by 24 and a program in it.
type screen struct {
	t            *testing.T
	tmux, socket string
}

func runOnScreen(t *testing.T, program ...string) *screen {
	t.Helper()
	dir := t.TempDir()
	s := &screen{t: t, tmux: harness.Need(t, "tmux", "tmux"), socket: filepath.Join(dir, "tmux")}
	conf := filepath.Join(dir, "conf")
	check(t, os.WriteFile(conf, []byte("set -g exit-empty off\n"), 0o600))
	// In the foreground, so that the program in it ends with the test.
	harness.Start(t, s.tmux, []string{"-S", s.socket, "-f", conf, "-D"}, func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "TERM=xterm", "HOME="+dir, "LC_ALL=C.UTF-8", "TMUX=")
	})
	harness.Await(t, 10*time.Second, "tmux runs", func() bool { return s.run("list-sessions") == nil })
	if err := s.run(append([]string{"new-session", "-d", "-x", "80", "-y", "24"}, program...)...); err != nil {
		t.Fatalf("%q does not start: %v", program, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- the screen:\n%s", s.shown())
		}
	})
	return s
}

func (s *screen) run(args ...string) error {
	return exec.Command(s.tmux, append([]string{"-S", s.socket}, args...)...).Run()
}

// text types, character by character.
func (s *screen) text(text string) {
	s.t.Helper()
	check(s.t, s.run("send-keys", "-l", text))
}

// key presses keys by their names.
func (s *screen) key(keys ...string) {
	s.t.Helper()
	check(s.t, s.run(append([]string{"send-keys"}, keys...)...))
}

// shown is the screen, with its lines as they are.
func (s *screen) shown() string { return s.capture() }

func (s *screen) capture(flags ...string) string {
	out, err := exec.Command(s.tmux, append([]string{"-S", s.socket, "capture-pane", "-p"}, flags...)...).Output()
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// await waits until all of it is on the screen, in this order, and returns the
// screen. Nothing may be wider than it.
func (s *screen) await(parts ...string) string {
	s.t.Helper()
	var got string
	deadline := time.Now().Add(patience)
	for !inOrder(got, parts) {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q on the screen", parts)
		}
		<-time.After(20 * time.Millisecond)
		got = s.shown()
	}
	// -J joins what the terminal broke because it did not fit.
	if whole := s.capture("-J"); whole != s.shown() && whole == s.capture("-J") {
		s.t.Errorf("wider than the screen:\n%s", whole)
	}
	return got
}

func inOrder(text string, parts []string) bool {
	for _, p := range parts {
		at := strings.Index(text, p)
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return true
}
