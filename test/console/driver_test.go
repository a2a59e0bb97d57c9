package console

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func count(b []byte, what string) int { return bytes.Count(b, []byte(what)) }

// patience is how long an answer may take on a busy machine.
const patience = 30 * time.Second

// A driver sits at a terminal: it types, and waits for what it expects to see.
// What only moves the cursor is left out.
type driver struct {
	t *testing.T
	w io.Writer

	mu    sync.Mutex
	all   []byte // everything that was shown
	fresh int    // where the part begins that nothing has been expected of
	err   error
	more  chan struct{}
}

// sit takes a seat at the other end of a line.
func sit(t *testing.T, l *line) *driver {
	t.Helper()
	f := openTTY(t, l.terminal)
	return drive(t, f, f)
}

// drive reads r until it ends, which it must before the test does.
func drive(t *testing.T, r io.Reader, w io.Writer) *driver {
	d := &driver{t: t, w: w, more: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var v visible
		b := make([]byte, 4096)
		for {
			n, err := r.Read(b)
			d.mu.Lock()
			d.all = v.feed(d.all, b[:n])
			if err != nil {
				d.err = err
			}
			d.mu.Unlock()
			select {
			case d.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if c, ok := r.(io.Closer); ok {
			c.Close()
			<-done
		}
		if t.Failed() {
			t.Logf("--- what the terminal showed last:\n%s", tail(d.shown(), 3000))
		}
	})
	return d
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// shown is everything that was shown.
func (d *driver) shown() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.all)
}

// send types.
func (d *driver) send(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.w, text); err != nil {
		d.t.Fatalf("typing %q: %v", text, err)
	}
}

// expect waits for a pattern in what was not yet expected, and returns all
// that came up to its end.
func (d *driver) expect(pattern string, within time.Duration) string {
	d.t.Helper()
	got, ok := d.await(regexp.MustCompile(pattern), within)
	if !ok {
		d.t.Fatalf("not within %v: %s; there is:\n%s", within, pattern, got)
	}
	return got
}

// await is expect that may fail; then it returns what there is.
func (d *driver) await(pattern *regexp.Regexp, within time.Duration) (string, bool) {
	timeout := time.After(within)
	for {
		d.mu.Lock()
		rest := d.all[d.fresh:]
		if at := pattern.FindIndex(rest); at != nil {
			d.fresh += at[1]
			d.mu.Unlock()
			return string(rest[:at[1]]), true
		}
		got, err := string(rest), d.err
		d.mu.Unlock()
		if err != nil {
			return got + "\n(" + err.Error() + ")", false
		}
		select {
		case <-d.more:
		case <-timeout:
			return got, false
		}
	}
}

// The prompts: of commands, and of the configuration.
const (
	prompt       = `(?m)^\S+> $`
	configPrompt = `(?m)^\S+( \[[^\]\n]*\])?# $`
)

// do types a line and returns what is shown up to the next prompt.
func (d *driver) do(line, prompt string) string {
	d.t.Helper()
	d.send(line + "\r")
	return d.expect(prompt, patience)
}

// says is do that also wants an answer.
func (d *driver) says(line, prompt, want string) string {
	d.t.Helper()
	got := d.do(line, prompt)
	if !strings.Contains(got, want) {
		d.t.Fatalf("%s: no %q in\n%s", line, want, got)
	}
	return got
}

// wake presses Enter until there is a login: one that comes while a session
// ends belongs to nobody.
func (d *driver) wake() string {
	d.t.Helper()
	login := regexp.MustCompile(`login: $`)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		d.send("\r")
		if got, ok := d.await(login, 5*time.Second); ok {
			return got
		}
	}
	d.t.Fatalf("no login after %v", patience)
	return ""
}

// login wakes the console and logs in, to the prompt.
func (d *driver) login(password string) {
	d.t.Helper()
	d.wake()
	d.send("anna\r")
	d.expect(`password: $`, patience)
	d.send(password + "\r")
	d.expect(prompt, patience)
}

var firstPassword = regexp.MustCompile(`Password +(\S+) `)

// loginFirst does the same with the password of the banner.
func (d *driver) loginFirst() (password string) {
	d.t.Helper()
	banner := d.wake()
	m := firstPassword.FindStringSubmatch(banner)
	if m == nil {
		d.t.Fatalf("no password in the banner of a new box:\n%s", banner)
	}
	d.send("anna\r")
	d.expect(`password: $`, patience)
	d.send(m[1] + "\r")
	d.expect(prompt, patience)
	return m[1]
}

// visible leaves out carriage returns, bells and escape sequences, wherever
// they are cut.
type visible struct{ escape int } // 0 text, 1 after ESC, 2 in a sequence

func (v *visible) feed(to, b []byte) []byte {
	for _, c := range b {
		switch {
		case v.escape == 1 && c == '[':
			v.escape = 2
		case v.escape == 1:
			v.escape = 0
		case v.escape == 2:
			if c >= 0x40 && c <= 0x7e {
				v.escape = 0
			}
		case c == 0x1b:
			v.escape = 1
		case c != '\r' && c != 7:
			to = append(to, c)
		}
	}
	return to
}
