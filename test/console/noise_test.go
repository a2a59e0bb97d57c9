package console

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/harness"
)

// Whatever comes out of the cable costs no packet of a stream, bounded memory,
// and leaves a console at which one can log in. A break and a byte with a
// framing error arrive as zero bytes; a pseudo terminal makes none by itself.
func TestNoise(t *testing.T) {
	t.Parallel()
	x := startBox(t, "--uplink", "lan0=lo")
	v := x.relays(t, 11)
	l := layLine(t)
	p := x.serveConsole(t, l)
	d := sit(t, l)
	password := d.loginFirst()
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for _, c := range []struct{ what, bytes string }{
		{"a lone 0xff", "\xff"},
		{"zero bytes", strings.Repeat("\x00", 10_000)},
		{"escapes", strings.Repeat("\x1b", 100_000)},
		{"sequences without an end", strings.Repeat("\x1b[1;", 50_000)},
		{"a line without an end", strings.Repeat("x", 200_000)},
		{"a paste without an end", "\x1b[200~" + strings.Repeat("y\r", 1000)},
		{"Ctrl-C", strings.Repeat("\x03", 10_000)},
		{"1 MiB of random bytes", string(noise)},
	} {
		d.send(c.bytes)
		d.recover(c.what, password)
		if !p.Running() {
			t.Fatalf("after %s the console has ended", c.what)
		}
		d.says("show version", prompt, "sluiced")
	}
	v.Receives(t, 100, 30*time.Second)
	v.Intact(t)
	// A process that has just begun has 15 MB or so.
	if peak := peakMemory(t, p); peak > 60<<20 {
		t.Errorf("the console had %d MB", peak>>20)
	}
	if count(p.Out.Bytes(), "serial port open") != 1 || count(p.Out.Bytes(), "\n") > 20 {
		t.Errorf("the console logged\n%s", p.Out.Tail(2000))
	}
}

// recover gets to the prompt of somebody who is logged in, whatever was typed
// before. After failures the box lets nobody in for a while.
func (d *driver) recover(after, password string) {
	d.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		d.send("\x1b[201~\x03\x15\r") // the end of a paste, of a question, of a line
		switch got := d.settle(); {
		case strings.HasSuffix(got, boxName+"> "):
			return
		case strings.HasSuffix(got, "# "):
			d.send("exit\r")
		case strings.HasSuffix(got, "login: "):
			d.send("anna\r")
			if !strings.HasSuffix(d.settle(), "password: ") {
				continue
			}
			d.send(password + "\r")
			if strings.HasSuffix(d.settle(), boxName+"> ") {
				return
			}
		}
	}
	d.t.Fatalf("no prompt after %s", after)
}

// settle waits until nothing more is shown, and returns what was.
func (d *driver) settle() string {
	const quiet = 300 * time.Millisecond
	for timer := time.NewTimer(quiet); ; {
		select {
		case <-d.more:
			timer.Reset(quiet)
			continue
		case <-timer.C:
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		got := string(d.all[d.fresh:])
		d.fresh = len(d.all)
		return got
	}
}

func peakMemory(t *testing.T, p *harness.Process) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	check(t, err)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no peak in %s", b)
	}
	kb, err := strconv.Atoi(string(m[1]))
	check(t, err)
	return kb << 10
}

// A terminal that stops reading loses its session, and the next one works.
func TestTerminalThatStopsReading(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l, f := bareLine(t)
	p := x.serveConsole(t, l)
	g := &gate{File: f}
	d := drive(t, g, f)
	password := d.loginFirst()
	d.says("terminal script on", prompt, "ok")
	g.Lock()
	open := sync.OnceFunc(g.Unlock)
	defer open()
	d.send(strings.Repeat("help\r", 500))
	harness.Await(t, 2*time.Minute, "the session is given up", func() bool {
		return count(p.Out.Bytes(), "the terminal does not read") > 0
	})
	open()
	d.recover("a terminal that did not read", password)
	if n := count([]byte(d.shown()), "Words may be shortened"); n > 100 {
		t.Errorf("help was shown %d times: nobody had stopped reading", n)
	}
}

// A gate is a file from which nothing is read while it is locked.
type gate struct {
	*os.File
	sync.Mutex
}

func (g *gate) Read(b []byte) (int, error) {
	g.Lock()
	//lint:ignore SA2001 it is only waited for
	g.Unlock()
	return g.File.Read(b)
}

func TestIdle(t *testing.T) {
	t.Parallel()
	x := startBox(t)
	l := layLine(t)
	x.serveConsole(t, l, "--idle", "2s")
	d := sit(t, l)
	password := d.loginFirst()
	d.send("show ver") // and off for coffee
	d.expect(`Logged out after 2`, patience)
	d.login(password)
}
