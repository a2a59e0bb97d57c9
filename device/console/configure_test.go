package console

import (
	"strings"
	"testing"
	"time"

	"sluice/device/console/edit"
)

const vanState = `{"device": {"hostname": "van-3"},
	"uplinks": [{"name": "lan0", "match": {"interface": "enp1s0"}}, {"name": "wan0", "match": {"interface": "enp2s0"}, "default": true}],
	"flows": [{"id": "stage", "name": "Main stage",
		"inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": 9000}}],
		"outputs": [{"id": "hub", "name": "Hub", "protocol": "SRT", "srt": {"mode": "caller",
			"destinations": [{"host": "hub.example.com", "port": 7000}], "latency_ms": 200, "passphrase": "correct horse"}}]}]}`

// A candidate is edited, compared, checked and put in force.
func TestConfigure(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	for _, c := range []struct{ line, want string }{
		{"set uplinks wan0 addresses 192.0.2.9/24", ""},
		{"set uplinks wan0 gateway4 192.0.2.1", ""},
		{"set flows stage name \"Hall 7?\"", ""},
		{"compare", "+ uplinks wan0 addresses 192.0.2.9/24\n+ uplinks wan0 gateway4 192.0.2.1\n~ flows stage name Main stage -> Hall 7?\n"},
		{"show uplinks wan0", "match\n    interface enp2s0\ndefault true\naddresses 192.0.2.9/24\ngateway4 192.0.2.1\n"},
		{"show flows stage outputs hub srt passphrase", "passphrase (set)\n"},
		{"edit flows stage outputs hub", ""},
		{"set srt latency_ms 300", ""},
		{"show srt latency_ms", "latency_ms 300\n"},
		{"up", ""},
		{"show name", "name Hall 7?\n"},
		{"up", ""},
		{"up", "This is the top: exit leaves the configuration.\n"},
		{"edit flows stage outputs hub srt", ""},
		{"top", ""},
		{"delete flows stage outputs hub srt latency_ms", ""},
		{"check", "The candidate has no fault.\n"},
		{"commit comment hall seven", "Version 8 is in force.\n"},
		{"compare", "There is no difference.\n"},
		{"commit", "The candidate changes nothing: there is nothing to commit.\n"},
		{"compare 1", "+ uplinks wan0 addresses 192.0.2.9/24\n+ uplinks wan0 gateway4 192.0.2.1\n" +
			"~ flows stage name Main stage -> Hall 7?\n- flows stage outputs hub srt latency_ms 200\n"},
		{"rollback 1", "It is the candidate now, and not in force: compare shows it, commit takes it.\n"},
		{"compare saved", "- uplinks wan0 addresses 192.0.2.9/24\n- uplinks wan0 gateway4 192.0.2.1\n" +
			"~ flows stage name Hall 7? -> Main stage\n+ flows stage outputs hub srt latency_ms 200\n"},
		{"discard", "The candidate is dropped: there is what is in force.\n"},
		{"compare", "There is no difference.\n"},
		{"compare 9", "The box has none from so long ago: run show commits lists them.\n"},
	} {
		if got := s.answered(c.line, "# "); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, c.want)
		}
	}
	if got := b.inForce(); !strings.Contains(got, `"passphrase":"correct horse"`) || !strings.Contains(got, `"Hall 7?"`) {
		t.Errorf("in force is %s", got)
	}
	if len(b.comments) != 1 || b.comments[0] != "hall seven" {
		t.Errorf("comments are %q", b.comments)
	}
	if got := s.answered("run show hardware", "# "); !strings.Contains(got, "enp2s0") {
		t.Errorf("run show hardware: %q", got)
	}
	if got := s.answered("run configure", "# "); !strings.Contains(got, "There is no configure here") {
		t.Errorf("run configure: %q", got)
	}
	s.send("exit\r")
	s.expect("> ")
}

// Words that will not do are refused before anything is done, with a caret
// under them.
func TestConfigureRefuses(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	prompt := s.shown()
	prompt = prompt[strings.LastIndexAny(prompt, "\r\n")+1:]
	for _, c := range []struct{ line, under, want string }{
		{"set flows stage outputs hub srt port 9000", "port", "Port belongs to mode listener: mode is caller.\n"},
		{"set flows stage outputs hub srt latency_ms 99999", "99999", "latency_ms is 99999: use 0 to 15000.\n"},
		{"set flows stage outputs hub srt latency_ms 5 6", "6", "latency_ms takes one value: use quotes for one with spaces.\n"},
		{"set flows stage outputs hub srt latency_ms", "", "What is to follow is missing: <0 to 15000 ms>.\n"},
		{"set flows stage outputs hub srt passphrase open", "open", "Passphrase is a secret, and is not typed in a line: end the line after passphrase, and it is asked for.\n"},
		{"set uplinks wan0 gateway4 router", "router", `gateway4 is "router": use an IP address.` + "\n"},
		{"set uplinks wan1 gateway4 router", "router", `gateway4 is "router": use an IP address.` + "\n"},
		{"set uplinks wan/1 default true", "wan/1", `Name is "wan/1": use 1 to 32 of A-Z, a-z, 0-9, _ and -.` + "\n"},
		{"set nonsense", "nonsense", `There is no field "nonsense": use device, uplinks, regions or flows.` + "\n"},
		{"delete uplinks wan1", "wan1", `There is no uplink "wan1": did you mean wan0?` + "\n"},
		{"show flows stage failover", "failover", ""},
		{"commit confirmed 0", "0", "Use 1 to 1440 minutes.\n"},
		{"rollback all", "all", "An older one is a number: 0 is in force, 1 the one before.\n"},
	} {
		got := strings.ReplaceAll(s.answered(c.line, "# "), "\n"+gap, " ")
		if c.want == "" {
			continue
		}
		want := c.want
		if at := strings.LastIndex(c.line, c.under); c.under == "" {
			want = strings.Repeat(" ", len(prompt)+len(c.line)+1) + "^\n" + want
		} else {
			want = strings.Repeat(" ", len(prompt)+at) + "^\n" + want
		}
		if got != want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, want)
		}
	}
	if d := b.draft(); d != "null" {
		t.Errorf("there is a candidate: %s", d)
	}
}

// A secret is asked for twice, out of sight, and goes to the box once.
func TestConfigureSecret(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	const line = "set flows stage outputs hub srt passphrase\r"
	type try struct{ first, second, want string }
	for _, c := range []try{
		{"battery staple", "battery stable", "The two differ, and nothing was set."},
		{"short", "short", "Passphrase has 5 characters: use 10 to 79."},
		{"battery staple", "battery staple", ""},
	} {
		s.send(line)
		s.expect("passphrase: ")
		s.send(c.first + "\r")
		s.expect("passphrase again: ")
		if got := s.do(c.second, "# "); !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := s.answered("compare", "# "); got != "~ flows stage outputs hub srt passphrase (set) -> (set anew)\n" {
		t.Errorf("compared as %q", got)
	}
	s.do("set device hostname van-4", "# ")
	s.do("commit", "# ")
	if got := b.inForce(); !strings.Contains(got, `"passphrase":"battery staple"`) {
		t.Errorf("in force is %s", got)
	}
	s.send(line)
	s.expect("passphrase: ")
	s.send("\x03")
	s.expect("# ")
	if shown := s.shown(); strings.Contains(shown, "staple") || strings.Contains(shown, "stable") || strings.Contains(shown, "horse") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
}

// A fault is shown under the words that would set it.
func TestConfigureFaults(t *testing.T) {
	b := newMemoryBox(t, vanState)
	b.faults = func(state string) []fault {
		if !strings.Contains(state, `"uplink":"wan7"`) {
			return nil
		}
		return []fault{
			{Pointer: "/state/flows/0/outputs/0/uplink", Message: `there is no uplink "wan7": did you mean wan0?`},
			{Pointer: "/state/flows/0/outputs/0/srt/passphrase", Message: "passphrase is missing"},
			{Pointer: "/state/flows/0/failover", Message: "failover needs two inputs"},
			{Pointer: "", Message: "something is wrong with all of it"},
		}
	}
	s := configuring(t, b)
	s.do("set flows stage outputs hub uplink wan7", "# ")
	want := `flows stage outputs hub uplink wan7
                               ^^^^
  There is no uplink "wan7": did you mean wan0?
flows stage outputs hub srt passphrase (set)
                                       ^^^^^
  Passphrase is missing.
flows stage failover
            ^^^^^^^^
  Failover needs two inputs.
  Something is wrong with all of it.
The candidate has 4 faults, and is not in force.
`
	for _, line := range []string{"check", "commit"} {
		if got := s.answered(line, "# "); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", line, got, want)
		}
	}
	if b.version != 7 {
		t.Error("it was committed")
	}
}

func TestCommitConfirmed(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	for _, c := range []struct{ line, want string }{
		{"confirm", "No commit waits to be confirmed.\n"},
		{"set device hostname van-4", ""},
		{"commit confirmed 5 comment test", "Version 8 is in force, and goes back at 10:05:00 unless confirm is typed before. cancel goes back now.\n"},
		{"confirm", "Version 8 is kept.\n"},
		{"set device hostname van-5", ""},
		{"commit confirmed", "Version 9 is in force, and goes back at 10:10:00 unless confirm is typed before. cancel goes back now.\n"},
		{"cancel", "Version 9 is taken back: what was before is in force.\n"},
	} {
		got := strings.ReplaceAll(s.answered(c.line, "# "), "\n"+gap, " ")
		if i := strings.Index(got, "unless confirmed: confirm\n"); i >= 0 { // the reminder before the prompt
			got = got[:strings.LastIndex(got[:i], "\n")+1]
		}
		if got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, c.want)
		}
	}
	if got := b.inForce(); !strings.Contains(got, `"van-4"`) {
		t.Errorf("in force is %s", got)
	}
	if b.comments[0] != "test" || b.comments[1] != "" {
		t.Errorf("comments are %q", b.comments)
	}
	// A change of the way to the fleet is confirmed by the session.
	b.change(func() { b.how = func(int) string { return "session" } })
	s.do("set device hostname van-6", "# ")
	if got := s.answered("commit", "# "); !strings.Contains(got, "It is kept once the fleet is reached under it; otherwise\n  it goes back at 10:02:00.") {
		t.Errorf("got %q", got)
	}
}

// Whoever changed the candidate meanwhile is named, and either one is taken.
func TestConfigureConflict(t *testing.T) {
	for _, take := range []string{"theirs", "ours"} {
		b := newMemoryBox(t, vanState)
		s := configuring(t, b)
		s.do("set device hostname van-4", "# ")
		// Between reading and writing, somebody else comes.
		var once bool
		b.change(func() {
			b.hook = func(name string) {
				if name == "candidate-put" && !once {
					once = true
					b.change(func() {
						b.candidate["device"] = map[string]any{"hostname": "theirs"}
						b.by = "bob"
						b.revision++
					})
				}
			}
		})
		s.send("set uplinks wan0 gateway4 192.0.2.1\r")
		got := s.expect("theirs or ours [theirs]: ")
		for _, want := range []string{"changed by bob meanwhile", "~ device hostname theirs -> van-4", "+ uplinks wan0 gateway4 192.0.2.1"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q does not say %q", take, got, want)
			}
		}
		s.do(take, "# ")
		draft := b.draft()
		ours := strings.Contains(draft, "192.0.2.1") && strings.Contains(draft, "van-4")
		theirs := !strings.Contains(draft, "192.0.2.1") && strings.Contains(draft, `"theirs"`)
		if take == "ours" && !ours || take == "theirs" && !theirs {
			t.Errorf("%s was taken, and the candidate is %s", take, draft)
		}
		s.do("show device", "# ")
	}
}

// What others do to the candidate between two lines is told, and kept.
func TestConfigureMeanwhile(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	s.do("set device hostname van-4", "# ")
	b.change(func() {
		b.candidate["regions"] = map[string]any{"eu": "wan0"}
		b.by, b.revision = "bob", b.revision+1
	})
	if got := s.answered("set uplinks wan0 gateway4 192.0.2.1", "# "); got != "The candidate was changed by bob meanwhile.\n" {
		t.Errorf("got %q", got)
	}
	if d := b.draft(); !strings.Contains(d, `"eu"`) || !strings.Contains(d, "192.0.2.1") || !strings.Contains(d, "van-4") {
		t.Errorf("the candidate is %s", d)
	}
	b.change(func() { b.candidate, b.revision = nil, 0 })
	if got := s.answered("show device", "# "); got != "The candidate is gone: somebody committed or discarded it.\nhostname van-3\n" {
		t.Errorf("got %q", got)
	}
}

// The candidate is kept when somebody leaves, and found when he comes back.
func TestCandidateIsKept(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	s.do("set device hostname van-4", "# ")
	if got := s.do("exit", "> "); !strings.Contains(got, "The candidate is kept, and not in force: configure goes on with it.") {
		t.Errorf("got %q", got)
	}
	if got := s.do("configure", "# "); !strings.Contains(got, "There is a candidate, changed by anna.") {
		t.Errorf("got %q", got)
	}
	s.send("\x04")
	if got := s.expect("> "); !strings.Contains(got, "The candidate is kept") {
		t.Errorf("Ctrl-D: %q", got)
	}
	again := configuring(t, b)
	if got := again.answered("compare", "# "); got != "~ device hostname van-3 -> van-4\n" {
		t.Errorf("got %q", got)
	}
}

// Programs are told only what they asked for, and how it went.
func TestConfigureScript(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := sit(t, Options{Client: b, Name: "anna"})
	s.expect("> ")
	s.do("terminal script on", "> ")
	for _, c := range []struct{ line, want string }{
		{"configure", "ok\n"},
		{"set device hostname van-4", "ok\n"},
		{"set device hostname a_b", `error: hostname is "a_b": use letters, digits and - between them` + "\n"},
		{"set flows stage outputs hub srt mode listener", "ok\n"},
		{"compare", "~ device hostname van-3 -> van-4\n~ flows stage outputs hub srt mode caller -> listener\n" +
			"- flows stage outputs hub srt destinations 1 host hub.example.com\n- flows stage outputs hub srt destinations 1 port 7000\nok\n"},
		{"check", "ok\n"},
		{"commit", "Version 8 is in force.\nok\n"},
		{"commit", "The candidate changes nothing: there is nothing to commit.\nok\n"},
		{"exit", "ok\n"},
	} {
		prompt := "# "
		if c.line == "exit" {
			prompt = "> "
		}
		if got := s.answered(c.line, prompt); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
}

// ? and Tab know every field where it belongs.
func TestConfigureCompletion(t *testing.T) {
	b := newMemoryBox(t, vanState)
	c := &candidate{session: &session{box: "van-3", width: 80}}
	raw, err := b.Document(t.Context(), "schema")
	check(t, err)
	c.schema, err = edit.Load(raw)
	check(t, err)
	force, err := b.Document(t.Context(), "desired")
	check(t, err)
	c.tree, err = c.schema.Parse(force)
	check(t, err)
	g := configureGrammar(c)
	for _, x := range []struct{ line, want string }{
		{"set fl", "set flows "},
		{"set flows st", "set flows stage "},
		{"set flows stage outputs hub srt lat", "set flows stage outputs hub srt latency_ms "},
		{"set flows stage outputs hub srt mode l", "set flows stage outputs hub srt mode listener "},
		{"set flows new outputs a srt mo", "set flows new outputs a srt mode "},
		{"delete uplinks w", "delete uplinks wan0 "},
		{"delete flows stage outputs hub srt po", "delete flows stage outputs hub srt po"},
		{"edit flows stage out", "edit flows stage outputs "},
		{"show dev", "show device "},
		{"comp", "compare "},
	} {
		line, _, told := g.complete(t.Context(), x.line, len(x.line), keyTab)
		if line != x.want {
			t.Errorf("%q becomes %q, want %q (%s)", x.line, line, x.want, told)
		}
	}
	for line, want := range map[string][]string{
		"set flows stage outputs hub srt ":            {"mode", "destinations", "latency_ms", "passphrase", "receiver buffer"},
		"set flows stage outputs hub srt latency_ms ": {"<0 to 15000 ms>", "200", "as it is"},
		"set uplinks ": {"lan0", "wan0", "<name>", "role: lan0, wan0"},
		"set uplinks wan0 addresses 192.0.2.1/24 ":        {"<address/length>", "Enter"},
		"set flows stage outputs hub srt destinations 1 ": {"host", "port"},
		"set flows another inputs a protocol ":            {"SRT", "RTMP_PULL"},
		"commit confirmed ":                               {"MINUTES", "1 to 1440", "Enter"},
		"set flows stage outputs hub srt passphrase ":     {"Enter"},
	} {
		_, _, told := g.complete(t.Context(), line, len(line), '?')
		for _, w := range want {
			if !strings.Contains(told, w) {
				t.Errorf("%s?: %q is not told:\n%s", line, w, told)
			}
		}
		if strings.Contains(told, "\n  port") && strings.HasSuffix(line, "hub srt ") {
			t.Errorf("%s?: port is of a listener:\n%s", line, told)
		}
	}
}

// The screens of a change, as docs/console.md shows them.
func TestConfigureScreens(t *testing.T) {
	b := newMemoryBox(t, vanState)
	b.faults = func(state string) []fault {
		if strings.Contains(state, `"wan7"`) {
			return []fault{{Pointer: "/state/flows/0/outputs/0/uplink", Message: `there is no uplink "wan7": did you mean wan0?`}}
		}
		return nil
	}
	s := sit(t, Options{Client: b, Name: "anna", Now: func() time.Time { return b.now }})
	s.expect("> ")
	s.do("terminal dumb", "> ")
	begin := len(s.shown()) - len("van-3> ")
	s.do("configure", "# ")
	s.do("edit flows stage outputs hub", "# ")
	s.do("show", "# ")
	s.do("set srt latency_ms 20000", "# ")
	s.do("set srt latency_ms 300", "# ")
	s.do("set uplink wan7", "# ")
	s.send("set srt passphrase\r")
	s.expect("passphrase: ")
	s.send("battery staple\r")
	s.expect("again: ")
	s.do("battery staple", "# ")
	s.do("top", "# ")
	s.do("compare", "# ")
	s.do("commit confirmed 5", "# ")
	s.do("set flows stage outputs hub uplink wan0", "# ")
	s.do("commit confirmed 5 comment \"longer latency\"", "# ")
	s.do("confirm", "# ")
	s.do("exit", "> ")
	text := strings.ReplaceAll(s.shown()[begin:], "\r\n", "\n")
	for line := range strings.Lines(text) {
		if n := columns(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	golden(t, "configure", text[:strings.LastIndexByte(text, '\n')+1])
	// What can follow is one screen, too.
	begin = len(s.shown()) - len("van-3> ")
	s.do("configure", "# ")
	s.send("set flows stage outputs hub srt ?")
	s.expect("hub srt ")
	s.expect("hub srt ")
	s.send("\x15")
	s.do("exit", "> ")
	help := strings.ReplaceAll(s.shown()[begin:], "\r\n", "\n")
	help = help[strings.Index(help, "srt ")+4:]
	help = strings.TrimLeft(help[:strings.LastIndex(help, "van-3# set")], "?\n")
	if n := strings.Count(help, "\n"); n > 23 {
		t.Errorf("help of %d lines", n)
	}
	golden(t, "configure-help", help)
}

// The box is called what the configuration in force says, also once it is
// changed or goes back.
func TestBoxIsCalled(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	if got := s.answered("run show version", "van-3# "); !strings.HasPrefix(got, "Box        van-3, SL-4\nDevice     sluice-0042 to the fleet\n") {
		t.Errorf("%q", got)
	}
	s.do("set device hostname van-4", "van-3# ")
	s.do("commit confirmed 5", "van-4# ")
	s.do("cancel", "van-3# ")
	s.do("exit", "van-3> ")
	b.change(func() { b.force["device"] = map[string]any{"hostname": "van-5"} })
	s.do("terminal script on", "van-5> ")
}

// edit enters what can be made, and the first set makes it. After an edit that
// failed, nothing that was pasted with it is done a level too high.
func TestConfigureEdit(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	for _, c := range []struct{ line, prompt, want string }{
		{"edit flows stage outputs wall", " [flows stage outputs wall]# ", "There is no flows stage outputs wall yet: the first set makes it.\n"},
		{"show", "wall]# ", "There is nothing here yet: the first set makes it.\n"},
		{"top", "van-3# ", ""},
		{"edit flows new outputs wall", " [flows new outputs wall]# ", "*"},
		{"up", " [flows new]# ", ""},
		{"exit", "> ", ""},
		{"configure", "# ", ""},
		{"compare", "# ", "There is no difference.\n"}, // it was not made
		{"edit flows side inputs in", " [flows side inputs in]# ", "There is no flows side inputs in yet: the first set makes it.\n"},
		{"set protocol RTP", "in]# ", ""},
		{"up", " [flows side]# ", ""},
		{"edit outputs rec", " [flows side outputs rec]# ", "There is no flows side outputs rec yet: the first set makes it.\n"},
		{"up", " [flows side]# ", ""},
		{"edit failovr", " [flows side]# ", "*"},
		{"set name Side", " [flows side]# ", "Nothing was done, as the edit before it failed: edit again, or go up or to the\n  top.\n"},
		{"delete inputs", " [flows side]# ", "Nothing was done, as the edit before it failed: edit again, or go up or to the\n  top.\n"},
		{"up", " [flows side]# ", ""},
		{"set name Side", " [flows side]# ", ""},
		{"edit outputs a/b", " [flows side]# ", "*"},
		{"edit inputs in", " [flows side inputs in]# ", ""},
		{"set rtp port 5004", "in]# ", ""},
		{"top", "van-3# ", ""},
		{"compare", "van-3# ", "+ flows side name Side\n+ flows side inputs in protocol RTP\n+ flows side inputs in rtp port 5004\n"},
	} {
		got := s.answered(c.line, c.prompt)
		if c.want != "*" && got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, c.want)
		}
	}
	s.do("discard", "# ")
	s.do("terminal script on", "# ")
	for _, c := range []struct{ line, want string }{
		{"edit flows stage outputs hub", "ok"},
		{"edit srt bonding", "error"},
		{"set latency_ms 300", "error"},
		{"edit srt", "error"}, // from where the edit before should have gone
		{"set latency_ms 300", "error"},
		{"up", "ok"},
		{"up", "ok"},
		{"set srt latency_ms 300", "ok"},
		{"edit nonsense", "error"},
		{"top", "ok"},
		{"set device hostname van-4", "ok"},
		{"edit uplinks wan1", "ok"},
		{"set match interface enp3s0", "ok"},
		{"top", "ok"},
	} {
		if got := s.answered(c.line, "# "); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %s", c.line, got, c.want)
		}
	}
	if got, want := s.answered("compare", "# "), "~ device hostname van-3 -> van-4\n+ uplinks wan1 match interface enp3s0\n~ flows stage outputs hub srt latency_ms 200 -> 300\nok\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A candidate that was begun on another version than is in force undoes nothing
// that nobody looked at.
func TestConfigureOutdated(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	s.do("set flows stage name Hall", "# ")
	b.change(func() {
		b.force, b.version = deepCopy(b.force), 8
		b.force["device"] = map[string]any{"hostname": "van-9"}
	})
	const refused = "The candidate was begun on version 7, and version 8 is in force now (fleet): compare shows what it would change of that, " +
		"rebase takes it over onto version 8 as it is, discard drops it.\n"
	for _, c := range []struct{ line, want string }{
		{"check", refused},
		{"commit", refused},
		{"set flows stage name Hall-8", ""}, // goes on from where it was begun
		{"commit confirmed 5", refused},
		{"compare", "~ device hostname van-9 -> van-3\n~ flows stage name Main stage -> Hall-8\n"},
		{"set device hostname van-9", ""},
		{"rebase", "The candidate is on version 8 now: compare shows all that it changes of that, commit takes it.\n"},
		{"rebase", "There is nothing to take over: it is on version 8.\n"},
		{"commit", "Version 9 is in force.\n"},
		{"compare 1", "~ device hostname van-3 -> van-9\n~ flows stage name Main stage -> Hall-8\n"},
	} {
		if got := strings.ReplaceAll(s.answered(c.line, "# "), "\n"+gap, " "); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, c.want)
		}
	}
}

// What setup shows last is what changes of the one in force: it is for that.
func TestSetupTakesOver(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() { b.documents["info"] = `{"interfaces": []}` })
	s := configuring(t, b)
	s.do("set device hostname van-4", "# ")
	s.do("exit", "> ")
	b.change(func() { b.version = 8 })
	s.send("setup\r")
	s.play(
		turn{"Name of this box [van-4]", ""},
		turn{"Time servers [none]", ""},
		turn{"Fleet broker [none]", ""},
		turn{"Set up a flow [yes]", "no"},
		turn{"Put it in force [yes]", ""},
	)
	s.expect("Version 9 is in force")
}

// The broker's password is not sent to another broker than it was set for.
func TestBrokerPasswordStays(t *testing.T) {
	b := newMemoryBox(t, `{"device": {"management": {"broker": {"url": "mqtts://a.example.com", "username": "box", "password": "planted"}}}}`)
	s := configuring(t, b)
	for _, c := range []struct{ line, want string }{
		{"set device management broker url mqtts://A.example.com:8884", ""},
		{"set device management broker url mqtts://b.example.com", "Give the password anew: it was set for another broker.\n" +
			"With it went what does not belong to it:\n- device management broker password\n"},
		{"compare", "~ device management broker url mqtts://a.example.com -> mqtts://b.example.com\n- device management broker password (set)\n"},
		{"discard", "The candidate is dropped: there is what is in force.\n"},
		{"delete device management broker url", ""},
		{"set device management broker url mqtts://b.example.com", ""},
		{"show device management broker", "url mqtts://b.example.com\nusername box\n"},
	} {
		if got := s.answered(c.line, "# "); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.line, got, c.want)
		}
	}
}

// What is in the way of any candidate is told once, as it is.
func TestCommitRefused(t *testing.T) {
	b := newMemoryBox(t, vanState)
	b.refuses = `version 8 is in force until its commit "local-8" is confirmed`
	s := configuring(t, b)
	s.do("set device hostname van-4", "# ")
	if got, want := s.answered("commit", "# "), "The candidate is not in force: version 8 is in force until its commit \"local-8\"\n  is confirmed.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A password in a URL is not taken, not repeated, and not called up again.
func TestBrokerWithPassword(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	got := s.answered("set device management broker url mqtts://box:planted@a.example.com", "# ")
	if want := "Url is to hold no user and no password, as it is shown: set username and\n  password beside it.\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.answered("set device management broker url a.example.com", "# ")
	seen := len(s.shown())
	s.send("\x1b[A\x1b[A") // the line before the last
	s.do("\x15", "# ")
	if again := s.shown()[seen:]; strings.Contains(again, "planted") || !strings.Contains(again, "url a.example.com") {
		t.Errorf("called up is %q", again)
	}
	if len(b.asked) > 0 {
		t.Errorf("asked %v", b.asked)
	}
}
