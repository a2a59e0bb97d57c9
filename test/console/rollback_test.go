package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/test/harness"
)

// mistakes are what somebody types who is then cut off.
var mistakes = map[string][]string{
	"a wrong gateway": {"set uplinks wan0 addresses 10.0.0.1/24", "set uplinks wan0 gateway4 10.0.0.77"},
	"a wrong match":   {"set uplinks wan0 match interface eth7"},
}

// A mistake in the way out is gone when its window is over, and after a power
// cut within the window. The stream that it would have ended goes on then.
func TestMistakesGoBack(t *testing.T) {
	t.Parallel()
	for name, lines := range mistakes {
		for _, by := range []string{"the window", "a power cut"} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				x := startBoxOn(t, s.box.Start)
				l := layLine(t)
				x.serveConsole(t, l)
				d := sit(t, l)
				password := d.loginFirst()
				d.configures(
					"set uplinks lan0 match interface lan0", "set uplinks wan0 match interface w0", "set uplinks wan0 default true",
					"set flows stage name Stage", "set flows stage inputs enc protocol SRT",
					"set flows stage inputs enc srt mode listener", "set flows stage inputs enc srt port 9000", "set flows stage outputs wall protocol SRT", "set flows stage outputs wall name Wall",
					"set flows stage outputs wall srt mode listener", "set flows stage outputs wall srt port 9100",
				)
				d.says("commit", configPrompt, "Version 1 is in force")
				x.AwaitStates(t, patience, map[string]string{"wall": "waiting"})
				version, before := x.desired(t)

				d.do("top", configPrompt)
				for _, line := range lines {
					d.does(line)
				}
				if by == "the window" {
					// The shortest there is, in seconds: the console has minutes.
					x.commitConfirmed(t, 10)
				} else {
					d.says("commit confirmed 1", configPrompt, "goes back at")
				}
				if _, now := x.desired(t); now == before {
					t.Fatal("the mistake is not in force")
				}
				x.awaitCommit(t, "pending", 10*time.Second)
				if name == "a wrong match" {
					x.AwaitStates(t, 8*time.Second, map[string]string{"wall": "uplink_down"})
				}
				if by == "a power cut" {
					x.process.Kill()
					x.start(t)
				}
				harness.Await(t, time.Minute, "the box goes back", func() bool {
					_, now := x.desired(t)
					return now == before
				})
				if now, _ := x.desired(t); now != version {
					t.Errorf("version %d is in force, before it was %d", now, version)
				}
				x.AwaitStates(t, patience, map[string]string{"wall": "waiting"})
				// Who was logged in still is, or is told why not.
				d.recover("it went back", password)
				d.says("show commits", prompt, "0 (in force)  1 ")
			})
		}
	}
}

// configures enters the configuration and types lines there.
func (d *driver) configures(lines ...string) {
	d.t.Helper()
	d.do("configure", configPrompt)
	for _, line := range lines {
		d.does(line)
	}
}

// does types a line that nothing is to be said against.
func (d *driver) does(line string) {
	d.t.Helper()
	if got := d.do(line, configPrompt); strings.Contains(got, "^") {
		d.t.Fatalf("%s is refused:\n%s", line, got)
	}
}

// commitConfirmed commits the candidate for so many seconds.
func (x *box) commitConfirmed(t *testing.T, seconds int) {
	t.Helper()
	c := control.NewClient(string(x.Control))
	defer c.Close()
	status, answer, err := c.Request(t.Context(), "candidate-commit", fmt.Appendf(nil,
		`{"transaction": "t", "expires": %q, "data": {"confirm_s": %d}}`, time.Now().Add(time.Minute).UTC().Format(time.RFC3339), seconds))
	if err != nil || status/100 != 2 || !strings.Contains(string(answer), "pending_confirm") {
		t.Fatalf("candidate-commit: %d, %v, %s", status, err, answer)
	}
}

// awaitCommit waits until a commit is pending, or none is.
func (x *box) awaitCommit(t *testing.T, what string, within time.Duration) {
	t.Helper()
	c := control.NewClient(string(x.Control))
	defer c.Close()
	harness.Await(t, within, "a commit is "+what, func() bool {
		body, err := c.Document(t.Context(), "commits")
		check(t, err)
		var d struct {
			Pending json.RawMessage `json:"pending"`
		}
		check(t, json.Unmarshal(body, &d))
		return (string(d.Pending) != "null") == (what == "pending")
	})
}

// A pulled cable costs nothing of what was being edited.
func TestCandidateOutlivesTheCable(t *testing.T) {
	t.Parallel()
	x := startBox(t, "--uplink", "lan0=lo")
	l := layLine(t)
	p := x.serveConsole(t, l)
	d := sit(t, l)
	password := d.loginFirst()
	d.configures("set device hostname ob-van-9", "set regions ap-seoul lan0")
	d.send("set device hostname nonsen") // and the cable is pulled
	l.unplug()
	l.plug(t)
	awaitOpen(t, p, 2)
	d = sit(t, l)
	d.login(password)
	if got := d.do("configure", configPrompt); !strings.Contains(got, "anna") {
		t.Errorf("it is not said whose candidate there is:\n%s", got)
	}
	d.says("compare", configPrompt, "+ device hostname ob-van-9\n+ regions ap-seoul lan0\n")
	d.says("commit", configPrompt, "Version 1 is in force")
	if _, state := x.desired(t); !strings.Contains(state, `"ob-van-9"`) || strings.Contains(state, "nonsen") {
		t.Errorf("in force is %s", state)
	}
}
