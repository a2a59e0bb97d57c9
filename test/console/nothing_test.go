package console

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// A site is where a new box is put up:
//
//	encoder 192.168.7.2 --- lan0 box w0 --- studio 10.0.0.2
//
// The box's addresses are the system's: root is asked for none here.
type site struct{ box, encoder, studio *harness.Host }

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{harness.NewHost(t, "box"), harness.NewHost(t, "encoder"), harness.NewHost(t, "studio")}
	harness.Cable(t, s.box, "lan0", s.encoder, "lan0")
	harness.Cable(t, s.box, "w0", s.studio, "w0")
	s.box.Sh(t, `
		ip addr add 192.168.7.1/24 dev lan0
		ip addr add 10.0.0.1/24 dev w0`)
	s.encoder.Sh(t, `ip addr add 192.168.7.2/24 dev lan0`)
	s.studio.Sh(t, `ip addr add 10.0.0.2/24 dev w0`)
	return s
}

// A new box streams after what a technician does with a serial cable alone: the
// first password, setup, an output more, a commit that he confirms.
func TestFromNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	x := startBoxOn(t, s.box.Start)
	l := layLine(t)
	x.serveConsole(t, l)
	d := sit(t, l)
	d.loginFirst()
	d.send("setup\r")
	d.answer(
		`Name of this box \[van-3\]`, "ob-van-3",
		`Role of lan0 \(.*\) \[lan0\]`, "",
		`Address of lan0 \(lan0\) \[dhcp\]`, "none",
		`Role of w0 \(.*\) \[wan0\]`, "",
		`Address of wan0 \(w0\) \[dhcp\]`, "none",
		`Which is the default uplink \[wan0\]`, "",
		`Time servers \[none\]`, "",
		`Fleet broker \[none\]`, "",
		`Set up a flow \[yes\]`, "",
		`Name of the flow \[Main\]`, "Main stage",
		`Input \[SRT\]`, "",
		`Port that the encoder sends to \[9000\]`, "",
		`Passphrase \(Enter for none\)`, "correct-horse",
		`The same again`, "correct-horse",
		`Uplink that the encoder is on \[lan0\]`, "",
		`Output \[RTMP\]`, "SRT-listener",
		`Port that receivers call \[9100\]`, "",
		`Latency in ms \[120\]`, "2000",
		`Passphrase \(Enter for none\)`, "",
		`Uplink that leads to the receiver \[wan0\]`, "",
		`Put it in force \[yes\]`, "",
		`Keep it \(yes, no; Enter looks again\)`, "yes",
	)
	d.expect(prompt, patience)

	// One more output, by hand.
	rtp := harness.NewViewer("RTP in the studio", streamSeed)
	s.studio.Do(t, func() { listenRTP(t, rtp, 5004) })
	d.do("configure", configPrompt)
	for _, line := range []string{
		"set flows main-stage outputs headend protocol RTP",
		"set flows main-stage outputs headend name \"Head-end\"",
		"set flows main-stage outputs headend rtp destinations 1 host 10.0.0.2",
		"set flows main-stage outputs headend rtp destinations 1 port 5004",
	} {
		if got := d.do(line, configPrompt); strings.Contains(got, "^") {
			t.Fatalf("%s is refused:\n%s", line, got)
		}
	}
	d.says("compare", configPrompt, "+ flows main-stage outputs headend")
	d.says("check", configPrompt, "no fault")
	d.says("commit confirmed 2 comment head-end", configPrompt, "goes back at")
	d.says("confirm", configPrompt, "is kept")
	d.do("exit", prompt)

	feed(t, s.encoder.Start, "192.168.7.1:9000", "&pbkeylen=16&passphrase=correct-horse", streamSeed)
	srt := view(t, s.studio.Start, "10.0.0.1:9100", "", streamSeed)
	for _, v := range []*harness.Viewer{srt, rtp} {
		v.Receives(t, 300, 40*time.Second)
		v.Intact(t)
	}
	d.awaitSays("show outputs", prompt, `main-stage/out-1 .*connected`, `main-stage/headend .*sending`)
	d.says("show commits", prompt, "head-end")
	if shown := d.shown(); strings.Contains(shown, "correct-horse") {
		t.Error("the passphrase is shown")
	}
	if log := x.process.Out.Bytes(); count(log, "correct-horse") > 0 {
		t.Error("the passphrase is in the daemon's log")
	}
}

const streamSeed = 21

// answer answers questions: each is the last on the screen when it is.
func (d *driver) answer(pairs ...string) {
	d.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		d.expect(pairs[i]+`: $`, patience)
		d.send(pairs[i+1] + "\r")
	}
}

// awaitSays says something again until the answer matches everything.
func (d *driver) awaitSays(line, prompt string, want ...string) string {
	d.t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(200 * time.Millisecond) {
		got, missing := d.do(line, prompt), ""
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(got) {
				missing = w
			}
		}
		switch {
		case missing == "":
			return got
		case time.Now().After(deadline):
			d.t.Fatalf("%s: no %s in\n%s", line, missing, got)
		}
	}
}

// The same from a script, which docs/console.md shows.
func TestFromNothingByScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	x := startBoxOn(t, s.box.Start)
	script, err := os.ReadFile("testdata/from-nothing.txt")
	check(t, err)
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "console.md"))
	check(t, err)
	if !strings.Contains(string(docs), indented(string(script))) {
		t.Error("docs/console.md does not show testdata/from-nothing.txt")
	}
	shell := func() (string, error) {
		cmd := exec.Command(harness.Program("sluicectl"), "--control", string(x.Control), "shell")
		cmd.Stdin = strings.NewReader(string(script))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := shell()
	if err != nil || strings.Contains(out, "error: ") || strings.ContainsAny(out, "\r\x1b") || strings.Contains(out, "correct-horse") {
		t.Errorf("the script: %v\n%q", err, out)
	}
	feed(t, s.encoder.Start, "192.168.7.1:9000", "&pbkeylen=16&passphrase=correct-horse", streamSeed)
	v := view(t, s.studio.Start, "10.0.0.1:9100", "", streamSeed)
	v.Receives(t, 300, 40*time.Second)
	v.Intact(t)
	// The same once more changes nothing and interrupts nobody. That there is
	// nothing to commit then is no error.
	version, _ := x.desired(t)
	if out, err = shell(); err != nil || strings.Contains(out, "error: ") || !strings.Contains(out, "there is nothing to commit.") {
		t.Errorf("the script again: %v\n%s", err, out)
	}
	if again, _ := x.desired(t); again != version {
		t.Errorf("the script again makes version %d of %d", again, version)
	}
	v.Receives(t, 100, 40*time.Second)
	v.Intact(t)
}

// indented is text as a block of Markdown.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}
