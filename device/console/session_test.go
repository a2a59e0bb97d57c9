package console

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// still waits until nothing goes on any more, in a bubble.
func (s *seat) still() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := string(s.screen[s.seen:])
	s.seen = len(s.screen)
	return shown
}

func TestLoginAndLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		s := sit(t, Options{Client: f, Login: true, Line: "ttyS9"})
		// Whatever comes, nothing is said before Enter.
		s.send("hello\x03\x04\xff\x1b[A?\t")
		if got := s.still(); got != "" {
			t.Errorf("it speaks: %q", got)
		}
		s.login()
		if strings.Contains(s.shown(), "staple") {
			t.Errorf("the password is shown:\n%s", s.shown())
		}
		if got := f.asked[0]; got != `console-login {"line":"ttyS9","name":"anna","password":"battery staple"}` {
			t.Errorf("asked %s", got)
		}
		s.send("logout\r")
		if err := s.ends(); err != nil || !strings.Contains(s.shown(), "Logged out.\r\n") {
			t.Errorf("%v\n%s", err, s.shown())
		}
		if f.asked[len(f.asked)-1] != "console-logout null" || f.named != "" {
			t.Errorf("last asked %s, with the session %q", f.asked[len(f.asked)-1], f.named)
		}
	})
}

func TestCtrlDLogsOut(t *testing.T) {
	s := sit(t, Options{Client: stageBox(t), Name: "root"})
	s.expect("van-3> ")
	s.send("show\x04\x15\x04")
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

// Three refused logins are told, each with its wait, and then there is silence.
func TestRefusedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		f.wait = 4
		s := sit(t, Options{Client: f, Login: true})
		s.send("\r")
		begin := time.Now()
		s.expect("login: ")
		s.send("anna\r")
		for range maxLogins {
			s.expect("password: ")
			s.send("wrong\r")
			s.expect("Name and password do not fit.\r\nThe next try is possible in 4s.\r\n")
			if got := s.still(); got != "" {
				t.Errorf("before the wait is over it says %q", got)
			}
		}
		s.send("typed meanwhile\r")
		time.Sleep(5 * time.Second)
		if got := s.still(); got != "" {
			t.Errorf("after %d failures it says %q", maxLogins, got)
		}
		if took := time.Since(begin); took < maxLogins*4*time.Second {
			t.Errorf("it took %v", took)
		}
		s.login() // nobody is locked out
	})
}

// Who types on after a wrong password is not shown what he types, and it is not
// lost: the password is asked for again, for the same name.
func TestTypedAfterRefusal(t *testing.T) {
	for ahead, end := range map[string]string{
		"battery staple\r":           "\r\npassword: \r\n\r\n",
		"anna\rbattery staple\r":     "\r\npassword: \r\n\r\n", // from habit
		"anna":                       "\r\npassword: ",
		"battery\rbattery staple\r":  "\r\npassword: \r\n\r\n",
		"\rbattery staple\r":         "\r\npassword: \r\nlogin: ",
		"annabattery staple\r\rbatt": "\r\npassword: \r\nlogin: ",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := stageBox(t)
			f.wait = 4
			s := sit(t, Options{Client: f, Login: true})
			s.send("\r")
			s.expect("login: ")
			s.send("anna\r")
			s.expect("password: ")
			s.send("wrong\r")
			s.expect("The next try is possible in 4s.")
			s.send(ahead)
			time.Sleep(9 * time.Second) // two waits
			got := s.still()
			if i := strings.Index(got, "van-3> "); i >= 0 {
				got = got[:i]
			}
			if !strings.HasSuffix(got, end) || strings.Contains(got, "batt") || strings.Contains(got, "anna") {
				t.Errorf("%q: on the screen is %q, want it to end in %q", ahead, got, end)
			}
			if strings.HasSuffix(end, "password: ") {
				s.send("\x15")
			}
			if !strings.HasSuffix(end, "\r\n") { // a wrong name is mended, or the password given
				if strings.HasSuffix(end, "password: ") {
					s.send("\r")
					s.expect("login: ")
				}
				s.send("anna\r")
				s.expect("password: ")
				s.send("battery staple\r")
				s.expect("> ")
			}
		})
	}
}

// A name that is none is said to be before the password is asked for, and is
// not repeated: it may be the password.
func TestLoginNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		s := sit(t, Options{Client: f, Login: true})
		s.send("\r")
		for _, name := range []string{"Battery staple", strings.Repeat("x", 33)} {
			s.expect("login: ")
			s.send(name + "\r")
			if got := s.expect("A name is of 1 to 32 characters: a-z, 0-9, dot, underscore and hyphen.\r\n"); strings.Count(got, name) > 1 {
				t.Errorf("%q", got)
			}
		}
		s.expect("login: ")
		s.send("anna\r")
		s.expect("password: ")
		s.send("battery staple\r")
		s.expect("> ")
		if got := strings.Count(strings.Join(f.asked, "\n"), "console-login"); got != 1 {
			t.Errorf("asked %v", f.asked)
		}
	})
}

// A line that echoes makes no storm of logins, and comes back to silence by
// itself; nor does one on which somebody talks on and on.
func TestEchoingLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sit(t, Options{Client: stageBox(t), Login: true})
		s.send("\r")
		for range 100 {
			s.send(s.still())
		}
		if n := strings.Count(s.shown(), "Version "); n > 3 {
			t.Errorf("%d status blocks", n)
		}
		before := strings.Count(s.shown(), "Version ")
		const minutes = 10
		for range minutes * 60 * 10 {
			time.Sleep(time.Second / 10)
			s.send("AT\r")
		}
		if n := strings.Count(s.shown(), "Version ") - before; n < 3 || n > 5+2*minutes {
			t.Errorf("%d status blocks in %d minutes", n, minutes)
		}
		time.Sleep(lastDeaf + defaultIdle)
		s.login()
	})
}

// What is given up, or does not come, is no login and no failure.
func TestLoginGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		s := sit(t, Options{Client: f, Login: true})
		for _, keys := range []string{"\x03", "\x04", "anna\r\x03", "anna\r\x04", "\r\r\r"} {
			s.send("\r")
			s.expect("login: ")
			s.send(keys)
			s.still()
		}
		time.Sleep(firstDeaf + time.Second) // of the last; at the very moment it ends, either comes first
		s.send("\r")
		s.expect("login: ")
		s.send("anna\r")
		s.expect("password: ")
		time.Sleep(defaultIdle + time.Second)
		if got := s.still(); got != "" {
			t.Errorf("nobody is there, and it says %q", got)
		}
		if len(f.asked) > 0 {
			t.Errorf("asked %v", f.asked)
		}
		// A line that was hit by noise is asked for again.
		s.send("\r")
		s.expect("login: ")
		s.send("an\xffna\r")
		s.expect("The line was hit by noise")
		s.expect("login: ")
		s.send("anna\r")
		s.expect("password: ")
		s.send("battery\xff staple\r")
		s.expect("password: ")
		s.send("battery staple\r")
		s.expect("> ")
	})
}

func TestFactoryResetAtLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		s := sit(t, Options{Client: f, Login: true})
		s.send("\r")
		s.expect("login: ")
		s.send("factory-reset\r")
		s.expect("serial number, as on the label: ")
		s.send("\r")
		s.expect("Nothing was reset.\r\n")
		s.send("\r")
		s.expect("login: ")
		s.send("factory-reset\r")
		s.expect("serial number, as on the label: ")
		s.send("SL4-2026-0042\r")
		s.expect("The box is reset, and starts again.\r\n")
		if got := f.requests(); len(got) != 1 || got[0] != `factory-reset {"serial_number":"SL4-2026-0042"}` {
			t.Errorf("asked %q", got)
		}
	})
}

// Who does nothing is warned twice, and then logged out. A key begins anew.
func TestIdle(t *testing.T) {
	for _, terminal := range []string{"vt100", "dumb"} {
		synctest.Test(t, func(t *testing.T) {
			s := sit(t, Options{Client: stageBox(t), Name: "root"})
			s.expect("van-3> ")
			s.do("terminal "+terminal, "van-3> ")
			s.send("sho")
			time.Sleep(7 * time.Minute)
			s.send("w")
			time.Sleep(8*time.Minute - time.Second)
			if got := s.still(); strings.Contains(got, "logged out") {
				t.Errorf("warned too early: %q", got)
			}
			time.Sleep(2 * time.Second)
			s.expect("You are logged out in 2m00s unless a key is pressed.\r\n")
			s.expect("van-3> show") // what was typed is there again
			time.Sleep(89 * time.Second)
			s.expect("You are logged out in 30s unless a key is pressed.\r\n")
			select {
			case err := <-s.ended:
				t.Fatalf("ended too early: %v", err)
			default:
			}
			time.Sleep(30 * time.Second)
			if err := s.ends(); err != nil || !strings.Contains(s.shown(), "Logged out after 10m00s without a key.") {
				t.Errorf("%v\n%s", err, s.shown())
			}
		})
	}
}

// A daemon that was started again does not know the login any more.
func TestSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		s := sit(t, Options{Client: f, Login: true})
		s.login()
		f.change(func() { f.session = "another" })
		s.send("request identify\r")
		s.expect("The box does not know this login any more: log in again.\r\n")
		s.expect("login: ")
		s.send("anna\r")
		s.expect("password: ")
		s.send("battery staple\r")
		s.expect("van-3> ")
		// Also where the next line would have asked for nothing.
		f.change(func() { f.session = "a third" })
		s.send("terminal dumb\r")
		s.expect("log in again.\r\n")
		s.expect("login: ")
	})
}

// A daemon that is not there is told in a sentence, and its return noticed.
func TestDaemonGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		f.gone = errors.New("no daemon answers at /run/sluice/control.sock: is sluiced running?")
		s := sit(t, Options{Client: f, Login: true})
		s.send("\r")
		s.expect("No daemon answers at /run/sluice/control.sock: is sluiced running?\r\n")
		s.expect("login: ")
		s.send("anna\r")
		s.expect("password: ")
		s.send("battery staple\r")
		s.expect("is sluiced running?\r\n")
		f.change(func() { f.gone = nil })
		time.Sleep(firstDeaf + time.Second)
		s.login()
		f.change(func() { f.gone = errors.New("no daemon answers") })
		if got := s.do("show flows", "van-3> "); !strings.HasSuffix(got, "\nNo daemon answers.\r\n") {
			t.Errorf("%q", got)
		}
		s.send("show output \t?")
		if got := s.still(); strings.Contains(got, "panic") || !strings.Contains(got, "FLOW/OUTPUT") {
			t.Errorf("%q", got)
		}
		f.change(func() { f.gone = nil })
		s.send("\x15")
		if got := s.do("show clock", "van-3> "); !strings.Contains(got, "ntp.example.com") {
			t.Errorf("%q", got)
		}
	})
}

// Ctrl-C ends the command that runs, and what was typed ahead of it.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		f.slow = "test"
		s := sit(t, Options{Client: f, Name: "root"})
		s.expect("van-3> ")
		s.send("test ping 192.0.2.1\rshow version\r")
		synctest.Wait()
		s.send("\x03")
		if got := s.expect("van-3> "); !strings.HasSuffix(got, "^C\r\nvan-3> ") {
			t.Errorf("%q", got)
		}
		if got := s.still(); got != "" {
			t.Errorf("what was typed ahead is done: %q", got)
		}
		// And a line that is typed.
		s.send("show vers\x03")
		if got := s.expect("van-3> "); !strings.Contains(got, "show vers^C\r\n") {
			t.Errorf("%q", got)
		}
		// And a question.
		s.send("request reboot\r")
		s.expect("Reboot? [y/N]: ")
		s.send("y\x03")
		s.expect("van-3> ")
		if got := f.requests(); len(got) != 1 {
			t.Errorf("asked %q", got)
		}
	})
}

// A line in which something was lost does nothing at all.
func TestNoisyLine(t *testing.T) {
	f := stageBox(t)
	s := sit(t, Options{Client: f, Name: "root"})
	s.expect("van-3> ")
	for _, line := range []string{"request identi\xfffy", "\xffrequest identify", "request identify\xc3", strings.Repeat("x", 3000)} {
		if got := s.do(line, "van-3> "); !strings.Contains(got, "nothing of it was done") {
			t.Errorf("%.40q: %q", line, got)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
	s.do("request identify", "van-3> ")
	if got := f.requests(); len(got) != 1 {
		t.Errorf("asked %q", got)
	}
}

// What a program types ahead is done before the end of its input is noticed.
func TestEndOfInput(t *testing.T) {
	for _, lines := range []string{"show clock\nterminal script on\nshow clock\n", "show clock\nterminal script on\nshow clock\nsh"} {
		var out sheet
		err := Run(t.Context(), struct {
			io.Reader
			io.Writer
		}{strings.NewReader(lines), &out}, Options{Client: stageBox(t), Name: "root"})
		if !errors.Is(err, ErrHungUp) || !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		if got := out.String(); strings.Count(got, "ntp.example.com") != 2 || !strings.Contains(got, "\r\nok\r\n") {
			t.Errorf("%q", got)
		}
	}
}
