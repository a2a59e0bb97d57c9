package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shell is a seat that needs no login, at its first prompt.
func shell(t *testing.T, f *fakeBox) *seat {
	t.Helper()
	s := sit(t, Options{Client: f, Name: "root", Now: noon})
	s.expect("van-3> ")
	return s
}

// Every command asks the box for what it is for, and for nothing else.
func TestRequests(t *testing.T) {
	f := stageBox(t)
	f.documents["commits"] = json.RawMessage(`{"pending":{"id":"x","version":8,"confirm_by":"2026-11-23T12:03:10Z"}}`)
	s := shell(t, f)
	for _, c := range []struct{ typed, asked, said string }{
		{"explain output stage/hub", `output-explain {"flow":"stage","output":"hub"}`, "refuses the passphrase"},
		{"test link wan0", `test {"test":"link","uplink":"wan0"}`, "ok: 192.0.2.1 answers"},
		{"test ping host", `test {"host":"host","test":"ping"}`, "ok"},
		{"test ping host via wan0", `test {"host":"host","test":"ping","uplink":"wan0"}`, "ok"},
		{"test dns name", `test {"host":"name","test":"dns"}`, "ok"},
		{"test tcp host 80 via wan0", `test {"host":"host","port":80,"test":"tcp","uplink":"wan0"}`, "ok"},
		{"test srt host 7000", `test {"host":"host","port":7000,"test":"srt"}`, "ok"},
		{"test ntp host", `test {"host":"host","test":"ntp"}`, "ok"},
		{"test multicast 239.1.1.1 5004 via lan0", `test {"host":"239.1.1.1","port":5004,"test":"multicast","uplink":"lan0"}`, "ok"},
		{"test fleet", `test {"test":"fleet"}`, "ok"},
		{"test fleet via wan1", `test {"test":"fleet","uplink":"wan1"}`, "ok"},
		{"test output stage/hub", `test {"flow":"stage","output":"hub","test":"output"}`, "ok"},
		{"request identify", `identify {"seconds":10}`, "for 10 s"},
		{"request identify 60", `identify {"seconds":60}`, "for 60 s"},
		{"request output kick stage/wall K5N35V3HBYXTXXQQBGTXOJVAFH", `output-kick {"flow":"stage","output":"wall","session":"K5N35V3HBYXTXXQQBGTXOJVAFH"}`, "is disconnected"},
		{"request output kick stage/wall K5", `output-kick {"flow":"stage","output":"wall","session":"K5N35V3HBYXTXXQQBGTXOJVAFH"}`, "is disconnected"},
		{"request output kick stage/wall X", "", "Stage/wall has no session X."},
		{"show log 5", `log-tail {"lines":5}`, "output 19 is connected"},
		{"confirm", `commit-confirm {"id":"x"}`, "Version 8 is kept."},
		{"cancel", `commit-cancel {"id":"x"}`, "Version 8 is taken back: what was before is in force."},
		{"request output kick stage/none X", "", "Flow stage has no output none."},
		{"request output enable stage/none", "", "Flow stage has no output none."},
		{"show output stage", "", "Stage is not FLOW/OUTPUT, such as stage/wall."},
	} {
		f.change(func() { f.asked = nil })
		s.send(c.typed + "\r")
		got := ""
		for !strings.HasSuffix(got, "van-3> ") {
			if got += s.expectAny("van-3> ", more); strings.HasSuffix(got, more) {
				s.send(" ")
			}
		}
		if asked := strings.Join(f.requests(), "; "); asked != c.asked || !strings.Contains(strings.ToLower(got), strings.ToLower(c.said)) {
			t.Errorf("%s asks %s and says\n%s", c.typed, asked, got)
		}
	}
	// What the box does not do, it says itself.
	delete(f.answers, "identify")
	if got := s.do("request identify", "van-3> "); !strings.Contains(got, "\nThis build cannot do identify.\r\n") {
		t.Errorf("%q", got)
	}
}

// An output is switched in the document that is in force, and nothing else in
// it is touched: secrets stay, what the box tells is left out.
func TestSwitch(t *testing.T) {
	f := stageBox(t)
	f.documents["reported"] = json.RawMessage(`{"schema":"sluice.config/v1","version":7,"state":{"device":{"hostname":"x"},"flows":[{"id":"stage","inputs":[],"outputs":[
		{"id":"wall","playback_urls":["srt://x"]},{"id":"hub","enabled":false,"srt":{"passphrase":{"set":true}},"playback_urls":[]}]}]}}`)
	s := shell(t, f)
	if got := s.do("request output enable stage/hub", "van-3> "); !strings.Contains(got, "Version 8 is in force.") {
		t.Errorf("%q", got)
	}
	want := `apply {"base_version":7,"schema":"sluice.config/v1","state":{"device":{"hostname":"x"},"flows":[{"id":"stage","inputs":[],"outputs":[{"id":"wall"},{"enabled":true,"id":"hub","srt":{"passphrase":{"set":true}}}]}]}}`
	if got := f.requests(); !slices.Equal(got, []string{want}) {
		t.Errorf("asked %q\nwant %q", got, want)
	}
}

func TestQuestions(t *testing.T) {
	f := stageBox(t)
	s := shell(t, f)
	for _, c := range []struct {
		line, question, answer, said, asked string
	}{
		{"request reboot", "Reboot? [y/N]: ", "y", "The box starts again.", "reboot null"},
		{"request reboot", "Reboot? [y/N]: ", "YES", "The box starts again.", "reboot null"},
		{"request reboot", "Reboot? [y/N]: ", "n", "Nothing was done.", ""},
		{"request reboot", "Reboot? [y/N]: ", "", "Nothing was done.", ""},
		{"request reboot", "Reboot? [y/N]: ", "yy", "Nothing was done.", ""},
		{"request flow restart stage", "Restart it? [y/N]: ", "y", "Flow stage begins anew.", `flow-restart {"flow":"stage"}`},
		{"request factory-reset", "serial number, as on the label: ", "SL4", "starts again.", `factory-reset {"serial_number":"SL4"}`},
	} {
		f.change(func() { f.asked = nil })
		s.send(c.line + "\r")
		s.expect(c.question)
		if got := s.do(c.answer, "van-3> "); !strings.Contains(got, c.said) {
			t.Errorf("%s: %q", c.line, got)
		}
		if got := strings.Join(f.requests(), "; "); got != c.asked {
			t.Errorf("%s, %q: asked %q", c.line, c.answer, got)
		}
	}
}

func TestPassword(t *testing.T) {
	f := stageBox(t)
	s := shell(t, f)
	for _, c := range []struct{ first, second, said, asked string }{
		{"new one", "another", "The two differ: nothing was changed.", ""},
		{"new one", "new one", "The password is changed.", `console-password {"password":"new one"}`},
	} {
		s.send("request password\r")
		s.expect("new password: ")
		s.send(c.first + "\r")
		s.expect("the same again: ")
		if got := s.do(c.second, "van-3> "); !strings.Contains(got, c.said) {
			t.Errorf("%q", got)
		}
		if got := strings.Join(f.requests(), "; "); got != c.asked {
			t.Errorf("asked %q", got)
		}
	}
	if shown := s.shown(); strings.Contains(shown, "new one") || strings.Contains(shown, "another") {
		t.Errorf("a password is shown:\n%s", shown)
	}
}

// One that the box does not take is asked for again, but not of a program.
func TestPasswordTooShort(t *testing.T) {
	f := stageBox(t)
	s := shell(t, f)
	taken := f.answers["console-password"]
	f.change(func() {
		f.answers["console-password"] = `{"status":"error","error":{"code":400,"message":"the password has 5 characters: use 8 to 64"}}`
	})
	again := func() {
		s.t.Helper()
		s.send("short\r")
		s.expect("the same again: ")
		s.send("short\r")
	}
	s.send("request password\r")
	s.expect("new password: ")
	again()
	s.expect("The password has 5 characters: use 8 to 64.\r\nnew password: ")
	again()
	s.expect("The password has 5 characters: use 8 to 64.\r\nnew password: ")
	if got := s.do("", "van-3> "); !strings.Contains(got, "Nothing was changed.") {
		t.Errorf("%q", got)
	}
	s.send("request password\r")
	s.expect("new password: ")
	again()
	s.expect("new password: ")
	f.change(func() { f.answers["console-password"] = taken })
	s.send("long enough\r")
	s.expect("the same again: ")
	if got := s.do("long enough", "van-3> "); !strings.Contains(got, "The password is changed.") {
		t.Errorf("%q", got)
	}
	f.change(func() {
		f.answers["console-password"] = `{"status":"error","error":{"code":400,"message":"too short"}}`
	})
	s.do("terminal script on", "van-3> ")
	s.send("request password\r")
	s.expect("new password: ")
	again()
	s.expect("error: too short")
	s.expect("van-3> ")
}

func TestSupportBundle(t *testing.T) {
	f := stageBox(t)
	f.answers["support-bundle"] = fmt.Sprintf(`{"status":"ok","data":{"name":"van-3.tar.gz","size":345600,"base64":%q}}`, strings.Repeat("QUJD", 115_200))
	s := shell(t, f)
	s.send("request support-bundle\r")
	if got := s.expect("[y/N]: "); !strings.Contains(strings.Join(strings.Fields(got), " "), "takes 41s at 115200 bit/s") {
		t.Errorf("%q", got)
	}
	if got := s.do("n", "van-3> "); strings.Contains(got, "QUJD") {
		t.Errorf("%.100q", got)
	}
	f.answers["support-bundle"] = `{"status":"ok","data":{"name":"van-3.tar.gz","size":300,"base64":"` + strings.Repeat("QUJD", 100) + `"}}`
	s.send("request support-bundle\r")
	s.expect("[y/N]: ")
	got := strings.ReplaceAll(s.do("y", "van-3> "), "\r\n", "\n")
	_, got, _ = strings.Cut(got, "-----BEGIN SUPPORT BUNDLE van-3.tar.gz 300-----\n")
	got, _, ok := strings.Cut(got, "-----END SUPPORT BUNDLE-----\n")
	if !ok || strings.ReplaceAll(got, "\n", "") != strings.Repeat("QUJD", 100) {
		t.Errorf("%q", got)
	}
}

// A program can rely on the last line of each command.
func TestScript(t *testing.T) {
	f := stageBox(t)
	s := shell(t, f)
	s.do("terminal script on", "ok\r\nvan-3> ")
	f.documents["commits"] = json.RawMessage(`{"pending":{"version":8,"confirm_by":"2026-11-23T12:03:10Z"}}`)
	for line, want := range map[string]string{
		"show clock":                     "\r\nok\r\n",
		"request reboot":                 "\r\nok\r\n", // nobody is asked
		"show vresion":                   "\r\nerror: there is no vresion here: type ? to see what there is\r\n",
		"show output stage/x":            "\r\nerror: flow stage has no output x\r\n",
		"request identi\xfffy":           "\r\nerror: the line was hit by noise, and nothing of it was done: type it again\r\n",
		"show input stage":               "\r\nok\r\n",
		"request output kick stage/wall": "error: what is to follow is missing: SESSION\r\n",
		"# a comment":                    "# a comment\r\n",
	} {
		got := s.do(line, "van-3> ")
		if !strings.HasSuffix(got, want) || strings.ContainsAny(got, "\x1b^") || strings.Contains(got, more) {
			t.Errorf("%s: %q", line, got)
		}
	}
	f.answers["test"] = `{"status":"ok","data":{"test":"ping","uplink":"wan0","ok":false,"message":"192.0.2.1 does not answer"}}`
	if got := s.do("test ping 192.0.2.1", "van-3> "); !strings.HasSuffix(got, "\r\nerror: failed: 192.0.2.1 does not answer\r\n") {
		t.Errorf("%q", got)
	}
	if got := s.do("terminal script off", "van-3> "); strings.Contains(got, "ok\r\n") {
		t.Errorf("%q", got)
	}
}

func TestFailedTest(t *testing.T) {
	f := stageBox(t)
	f.answers["test"] = `{"status":"ok","data":{"test":"ping","uplink":"wan0","ok":false,"message":"192.0.2.1 does not answer"}}`
	if got := shell(t, f).do("test ping 192.0.2.1", "van-3> "); !strings.HasSuffix(got, "1\r\nping through wan0 (-): failed: 192.0.2.1 does not answer\r\n") {
		t.Errorf("%q", got)
	}
}

// A dumb terminal gets no control sequence, and the same screens.
func TestDumb(t *testing.T) {
	s := shell(t, stageBox(t))
	s.do("terminal dumb", "van-3> ")
	begin := len(s.shown())
	for _, line := range looks {
		if got := s.screens(t, line, "van-3> "); line != "help" {
			golden(t, fileName(line), got)
		}
	}
	s.send("sho\x1b[D\x01x\x7f\x0c\tver\t\r")
	s.expect("SL4-2026-0042")
	s.expect("van-3> ")
	if shown := s.shown()[begin:]; strings.Contains(shown, "\x1b") {
		t.Errorf("a control sequence: %q", shown[max(strings.Index(shown, "\x1b")-40, 0):])
	}
}

func TestPages(t *testing.T) {
	s := shell(t, stageBox(t))
	rows := func(text string) int { return strings.Count(text, "\r\n") }
	s.send("show log\r")
	s.expect("show log")
	if got := rows(s.expect(more)); got != 24 { // with that of the command
		t.Errorf("the first page has %d lines", got)
	}
	s.send("x\r")
	if got := s.expect(more); rows(got) != 1 {
		t.Errorf("Enter shows %q", got)
	}
	s.send(" ")
	if got := s.expect("van-3> "); !strings.Contains(got, "output 19") {
		t.Errorf("%q", got)
	}
	for _, end := range []string{"q", "\x03", "\x04"} {
		s.send("show log\r")
		s.expect(more)
		s.send(end)
		if got := s.expect("van-3> "); got != strings.Repeat(erased, len(more))+"van-3> " {
			t.Errorf("%q shows %q", end, got)
		}
	}
	s.do("terminal height 200", "van-3> ")
	if got := s.do("show log", "van-3> "); strings.Contains(got, more) {
		t.Errorf("%q", got)
	}
	s.do("terminal width 40", "van-3> ")
	for line := range strings.Lines(s.do("show log", "van-3> ")) {
		if len(strings.TrimRight(line, "\r\n")) > 40 {
			t.Errorf("on 40 columns: %q", line)
		}
	}
}

// A commit that goes back is told before each prompt.
func TestPending(t *testing.T) {
	f := stageBox(t)
	f.documents["commits"] = json.RawMessage(`{"pending":{"id":"x","version":8,"by":"anna","confirm_by":"2026-11-23T12:03:10Z","how":"explicit"},"commits":[]}`)
	s := sit(t, Options{Client: f, Name: "root", Now: noon})
	for range 2 {
		s.expect("version 8 goes back at 12:03:10 unless confirmed: confirm\r\nvan-3> ")
		s.send("\r")
	}
}

// What became of a commit is told to who saw it wait, once.
func TestPendingEnds(t *testing.T) {
	const waits = `"pending":{"id":"x","version":8,"by":"anna","confirm_by":"2026-11-23T12:03:10Z","how":"explicit"}`
	for after, want := range map[string]string{
		`"pending":null,"ended":{"id":"x","version":8,"at":"2026-11-23T12:03:10Z","why":"nobody confirmed it within 10 min"}`:  "Version 8 went back at 12:03:10: nobody confirmed it within 10 min.",
		`"pending":null,"ended":{"id":"x","version":8,"kept":true,"at":"2026-11-23T12:02:00Z","why":"the fleet confirmed it"}`: "Version 8 is kept since 12:02:00: the fleet confirmed it.",
		`"pending":null,"ended":null`: "Version 8 waits no longer: show commits tells whether it was kept.",
		strings.NewReplacer(`"x"`, `"y"`, "8", "9", "anna", "bob").Replace(waits): "Version 8 waits no longer: show commits tells whether it was kept.\r\nversion 9 goes back at 12:03:10 unless confirmed: confirm",
	} {
		f := stageBox(t)
		f.documents["commits"] = json.RawMessage("{" + waits + "}")
		s := shell(t, f)
		f.change(func() { f.documents["commits"] = json.RawMessage("{" + after + "}") })
		if got := s.do("terminal vt100", "van-3> "); !strings.HasSuffix(got, "\r\n"+want+"\r\n") {
			t.Errorf("%q, want %q", got, want)
		}
		if got := s.do("terminal vt100", "van-3> "); strings.Contains(got, "Version 8") {
			t.Errorf("told again: %q", got)
		}
	}
}

// Nobody confirms or cancels a commit that came in the place of the one that
// he was told of.
func TestDecideNamesWhatWasShown(t *testing.T) {
	const waits = `{"pending":{"id":"x","version":8,"confirm_by":"2026-11-23T12:03:10Z"}}`
	for _, line := range []string{"confirm", "cancel"} {
		f := stageBox(t)
		f.documents["commits"] = json.RawMessage(waits)
		s := shell(t, f)
		f.change(func() {
			f.asked = nil
			f.documents["commits"] = json.RawMessage(strings.NewReplacer(`"x"`, `"y"`, "8", "9").Replace(waits))
		})
		if got := s.do(line, "van-3> "); !strings.Contains(got, "Version 9 waits now, and not version 8: nothing was done.") || len(f.requests()) > 0 {
			t.Errorf("%s: %q, asked %q", line, got, f.requests())
		}
		if got := s.do(line, "van-3> "); !strings.Contains(got, "Version 9 is ") {
			t.Errorf("%s again: %q", line, got)
		}
		if want := []string{"commit-" + line + ` {"id":"y"}`}; !slices.Equal(f.requests(), want) {
			t.Errorf("asked %q, want %q", f.requests(), want)
		}
	}
}

func TestMonitorFlows(t *testing.T) {
	for _, terminal := range []string{"vt100", "dumb"} {
		synctest.Test(t, func(t *testing.T) {
			f := stageBox(t)
			s := shell(t, f)
			s.do("terminal "+terminal, "van-3> ")
			s.send("monitor flows\r")
			s.expect("monitor flows\r\n")
			first := s.still()
			if terminal == "dumb" {
				if strings.Contains(first, "\x1b") {
					t.Errorf("a control sequence: %q", first)
				}
				golden(t, "monitor-flows", strings.ReplaceAll(first, "\r\n", "\n"))
			} else if !strings.HasPrefix(first, eraseAll+cursorHome) || strings.Count(first, "\r\n") > 22 {
				t.Errorf("%q", first)
			}
			s.send("\xff") // is no key
			time.Sleep(10*time.Second + time.Second/2)
			if got := strings.Count(s.still(), "stage/enc-a"); got != 10 {
				t.Errorf("%d pictures in 10 s", got)
			}
			s.send("x")
			if got := s.expect("van-3> "); strings.Contains(got, "x") {
				t.Errorf("the key is typed: %q", got)
			}
			s.send("monitor flows\r")
			s.expect("monitor flows\r\n")
			s.still()
			s.send("\x03")
			s.expect("van-3> ")
		})
	}
}

func TestMonitorLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		log := func(lines ...string) {
			raw, err := json.Marshal(lines)
			check(t, err)
			f.change(func() { f.answers["log-tail"] = `{"status":"ok","data":{"lines":` + string(raw) + `}}` })
		}
		log("one", "two")
		s := shell(t, f)
		s.send("monitor log\r")
		s.expect("Any key ends it.\r\n")
		if got := s.still(); got != "one\r\ntwo\r\n" {
			t.Errorf("%q", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := s.still(); got != "" {
			t.Errorf("again: %q", got)
		}
		log("two", "three\x1b[2J", "three\x1b[2J")
		time.Sleep(time.Second)
		if got := s.still(); got != "three.[2J\r\nthree.[2J\r\n" {
			t.Errorf("%q", got)
		}
		s.send(" ")
		s.expect("van-3> ")
	})
}

func TestCompletion(t *testing.T) {
	s := shell(t, stageBox(t))
	for typed, want := range map[string]string{
		"sh out\t":                         "sh output", // output and outputs
		"sho ver\t":                        "sho version ",
		"request output kick stage/w\t":    "request output kick stage/wall ",
		"request output kick stage/wall T": "request output kick stage/wall TXOJVAFHC5N35V3HBYXTXXQQBG ",
		"test link w":                      "test link wan",
		"test link l":                      "test link lan0 ",
		"show outputs s":                   "show outputs stage ",
		"show srt stage/e":                 "show srt stage/enc-",
	} {
		s.send(typed + "\t")
		s.send("\x0c") // draws what the line is now
		got := s.expect("van-3> " + want)
		_ = got
		s.send("\x03")
		s.expect("van-3> ")
	}
}
