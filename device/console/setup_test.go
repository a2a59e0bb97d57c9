package console

import (
	"strings"
	"testing"
	"time"
	"unicode"
)

// A turn is what is waited for, and what is typed then.
type turn struct{ ask, answer string }

// play answers questions. Each is the last line on the screen when it is.
func (s *seat) play(turns ...turn) {
	s.t.Helper()
	for _, turn := range turns {
		s.expect(turn.ask + ": ")
		if turn.answer == "?" { // is answered at once
			s.send("?")
		} else {
			s.send(turn.answer + "\r")
		}
	}
}

// beginSetup types setup at a box.
func beginSetup(t testing.TB, b *memoryBox) *seat {
	t.Helper()
	s := sit(t, Options{Client: b, Name: "anna", Now: func() time.Time { return b.now }})
	s.expect("> ")
	s.do("terminal dumb", "> ")
	s.send("setup\r")
	return s
}

// talk is all that was shown since setup was typed. No line may be too long,
// and no screen too high without somebody having a say.
func (s *seat) talk() string {
	s.t.Helper()
	_, text, _ := strings.Cut(strings.ReplaceAll(s.shown(), "\r\n", "\n"), "> setup\n")
	text = strings.ReplaceAll(text, more+strings.Repeat(erased, len(more)), "")
	rows := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := columns(line); n > 80 {
			s.t.Errorf("a line of %d columns: %s", n, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			s.t.Errorf("a control character: %q", line)
		}
		if rows++; strings.Contains(line, ": ") {
			rows = 0
		}
		if rows > 23 {
			s.t.Errorf("a screen of more than 24 lines before: %s", line)
		}
	}
	return text[:strings.LastIndexByte(text, '\n')+1]
}

// From nothing to streaming, without a fleet: what is committed goes back
// unless somebody says that it is to be kept.
func TestSetupAlone(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	s := beginSetup(t, b)
	s.play(
		turn{"Name of this box [van-3]", "?"},
		turn{"Name of this box [van-3]", "ob_van"},
		turn{"Name of this box [van-3]", "ob-van-3"},
		turn{"Role of enp1s0 (02:00:5e:00:00:01, 1.0 Gb/s) [lan0]", ""},
		turn{"Address of lan0 (enp1s0) [dhcp]", "10.0.0.9"},
		turn{"Address of lan0 (enp1s0) [dhcp]", "10.0.0.9/24"},
		turn{"Gateway of lan0 (enp1s0) [none]", ""},
		turn{"Name servers of lan0 (enp1s0) [none]", ""},
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [wan0]", "lan0"},
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [wan0]", "<"},
		turn{"Name servers of lan0 (enp1s0) [none]", ""},
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [wan0]", ""},
		turn{"Address of wan0 (enp2s0) [dhcp]", ""},
		turn{"Which is the default uplink [wan0]", ""},
		turn{"Time servers [none]", "pool.ntp.org"},
		turn{"Fleet broker [none]", ""},
		turn{"Set up a flow [yes]", ""},
		turn{"Name of the flow [Main]", "Main stage"},
		turn{"Input [SRT]", "s"},
		turn{"Port that the encoder sends to [9000]", "90000"},
		turn{"Port that the encoder sends to [9000]", ""},
		turn{"Passphrase (Enter for none)", "correct horse"},
		turn{"The same again", "correct horse"},
		turn{"Uplink that the encoder is on [lan0]", ""},
		turn{"Output [RTMP]", ""},
		turn{"URL of the server, without the key", "live.example.com"},
		turn{"URL of the server, without the key", "rtmp://live.example.com/app"},
		turn{"Stream key", "e18c3c4dd05aef02"},
		turn{"The same again", "e18c3c4dd05aef02"},
		turn{"Uplink that leads to the receiver [wan0]", ""},
		turn{"Put it in force [yes]", ""},
		turn{"Keep it (yes, no; Enter looks again)", "yes"},
	)
	s.expect("ob-van-3> ")
	golden(t, "setup", "van-3> setup\n"+s.talk()) // as docs/console.md shows it
	const want = `{"device":{"hostname":"ob-van-3","ntp":["pool.ntp.org"]},"flows":[{"id":"main-stage",` +
		`"inputs":[{"id":"in-1","protocol":"SRT","srt":{"mode":"listener","passphrase":"correct horse","port":9000},"uplink":"lan0"}],"name":"Main stage",` +
		`"outputs":[{"id":"out-1","name":"Output 1","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"stream_key":"e18c3c4dd05aef02","url":"rtmp://live.example.com/app"}]},"uplink":"wan0"}]}],` +
		`"uplinks":[{"addresses":["10.0.0.9/24"],"match":{"mac":"02:00:5e:00:00:01"},"name":"lan0"},` +
		`{"default":true,"dhcp4":true,"match":{"mac":"02:00:5e:00:00:02"},"name":"wan0"}]}`
	if got := b.inForce(); got != want {
		t.Errorf("in force is\n%s, want\n%s", got, want)
	}
	if b.pending != nil || b.comments[0] != "setup" || b.before == nil {
		t.Errorf("pending is %v, comments %v", b.pending, b.comments)
	}
	if shown := s.shown(); strings.Contains(shown, "horse") || strings.Contains(shown, "e18c3") {
		t.Error("a secret is shown")
	}
}

// With a fleet the session with it confirms.
func TestSetupWithFleet(t *testing.T) {
	for name, c := range map[string]struct {
		then func(b *memoryBox)
		want string
	}{
		"kept": {func(b *memoryBox) {
			b.documents["fleet"] = `{"broker": "mqtts://fleet.example.com", "state": "ready", "via": "lan0"}`
			b.pending = nil
		}, "ready through lan0\r\nVersion 8 is kept."},
		"back": {func(b *memoryBox) {
			b.force, b.version, b.pending = b.before, 7, nil
		}, "Version 8 went back, as the fleet was not reached: version 7 is in force."},
	} {
		b := newMemoryBox(t, `{"uplinks": [{"name": "lan0", "match": {"interface": "enp1s0"}, "addresses": ["10.0.0.9/24"], "gateway4": "10.0.0.1"}]}`)
		b.how = func(int) string { return "session" }
		s := beginSetup(t, b)
		s.play(
			turn{"Name of this box [van-3]", ""},
			turn{"Role of enp1s0 (02:00:5e:00:00:01, 1.0 Gb/s) [lan0]", ""},
			turn{"Address of lan0 (enp1s0) [10.0.0.9/24]", ""},
			turn{"Gateway of lan0 (enp1s0) [10.0.0.1]", "10.0.0.9"},
			turn{"Gateway of lan0 (enp1s0) [10.0.0.1]", "192.0.2.1"},
			turn{"Gateway of lan0 (enp1s0) [10.0.0.1]", "10.0.0.254"},
			turn{"Name servers of lan0 (enp1s0) [none]", "10.0.0.254 9.9.9.9"},
			turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [wan0]", "none"},
			turn{"Time servers [none]", ""},
			turn{"Fleet broker [none]", "fleet.example.com"},
			turn{"Fleet broker [none]", "mqtts://box:secret@fleet.example.com"},
			turn{"Fleet broker [none]", "mqtts://fleet.example.com"},
			turn{"User at the broker [van-3]", ""},
			turn{"Password at the broker", ""},
			turn{"Password at the broker", "tr0ub4dor"},
			turn{"The same again", "tr0ub4dor"},
			turn{"Set up a flow [yes]", "no"},
			turn{"Put it in force [yes]", ""},
		)
		s.expect("Waiting for the fleet. k keeps it now, q leaves it to the fleet.")
		s.expect("init")
		b.change(func() { c.then(b) })
		s.expect(c.want)
		s.expect("> ")
		golden(t, "setup-fleet-"+name, s.talk())
		if name == "kept" {
			const want = `{"device":{"hostname":"van-3","management":{"broker":{"password":"tr0ub4dor","url":"mqtts://fleet.example.com","username":"van-3"}}},` +
				`"uplinks":[{"addresses":["10.0.0.9/24"],"default":true,"gateway4":"10.0.0.254","match":{"interface":"enp1s0"},"name":"lan0","nameservers":["10.0.0.254","9.9.9.9"]}]}`
			if got := b.inForce(); got != want {
				t.Errorf("in force is\n%s, want\n%s", got, want)
			}
		}
		if strings.Contains(s.shown(), "tr0ub4dor") {
			t.Error("the password is shown")
		}
	}
}

// Who waits for the fleet may keep what was committed, or leave.
func TestSetupFleetByHand(t *testing.T) {
	for key, want := range map[string]string{
		"k":    "Version 8 is kept.",
		"q":    "It goes back at 10:02:00, unless the fleet is reached or confirm is typed",
		"\x03": "It goes back at 10:02:00",
	} {
		b := newMemoryBox(t, `{"device": {"management": {"broker": {"url": "mqtt://a", "username": "u", "password": "p"}}}}`)
		b.how = func(int) string { return "session" }
		b.change(func() {
			b.documents["fleet"] = `{"broker": "mqtt://a", "state": "ready"}`
			b.documents["info"] = `{"interfaces": []}`
		})
		s := beginSetup(t, b)
		s.play(
			turn{"Name of this box [van-3]", "van-4"},
			turn{"Time servers [none]", ""},
			turn{"Fleet broker [mqtt://a]", "mqtt://b"}, // has not the password of a
			turn{"User at the broker [u]", ""},
			turn{"Password at the broker", "<"},
			turn{"User at the broker [u]", "<"},
			turn{"Fleet broker [mqtt://b]", "mqtt://a:1884"},
			turn{"User at the broker [u]", ""},
			turn{"Password at the broker (Enter keeps the one that is set)", ""},
			turn{"Set up a flow [yes]", "no"},
			turn{"Put it in force [yes]", ""},
		)
		s.expect("Waiting for the fleet.")
		s.expect("ready")
		s.send(key)
		s.expect(want)
		s.expect("> ")
		if got := b.inForce(); !strings.Contains(got, `"password":"p"`) || !strings.Contains(got, "mqtt://a:1884") {
			t.Errorf("in force is %s", got)
		}
		if kept := b.pending == nil; kept != (key == "k") {
			t.Errorf("%q: pending is %v", key, b.pending)
		}
	}
}

// Who is in no hurry may say later that it is to be kept: the time runs.
func TestSetupKeepLater(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() { b.documents["info"] = `{"interfaces": []}` })
	s := beginSetup(t, b)
	s.play(turn{"[van-3]", "van-4"}, turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [yes]", "no"}, turn{"Put it in force [yes]", ""})
	s.expect("Keep it (yes, no; Enter looks again): ")
	s.send("\x03")
	s.expect("It goes back at 10:10:00, unless confirm is typed before.")
	s.expect("> ")
	s.send("confirm\r")
	s.expect("> ")
	if got := b.inForce(); b.pending != nil || !strings.Contains(got, "van-4") {
		t.Errorf("in force is %s, pending %v", got, b.pending)
	}
}

// Ctrl-C at any question leaves without a change, and so does no.
func TestSetupLeaves(t *testing.T) {
	all := []turn{
		{"Name of this box [van-3]", "van-4"},
		{"[lan0]", ""},
		{"[dhcp]", "none"},
		{"[wan0]", ""},
		{"[dhcp]", ""},
		{"Which is the default uplink [wan0]", ""},
		{"Time servers [none]", ""},
		{"Fleet broker [none]", ""},
		{"Set up a flow [yes]", "no"},
		{"Put it in force [yes]", "no"},
	}
	for n := range len(all) + 1 {
		b := newMemoryBox(t, `{}`)
		s := beginSetup(t, b)
		s.play(all[:n]...)
		if n < len(all) {
			s.expect(all[n].ask + ": ")
			s.send("\x03")
		} else {
			s.expect("Nothing was changed.")
		}
		s.expect("> ")
		if len(b.asked) > 0 {
			t.Errorf("after %d answers: the box was asked for %v", n, b.asked)
		}
	}
}

// < goes back to the question that was asked before, whichever that was, and
// from the last one to the first, with the answers in brackets.
func TestSetupGoesBack(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() { b.documents["info"] = `{"interfaces": [{"name": "eth0"}]}` })
	s := beginSetup(t, b)
	s.play(
		turn{"Name of this box [van-3]", "<"},
		turn{"This is the first question.\r\nName of this box [van-3]", "van-9"},
		turn{"Role of eth0 (-, no link) [wan0]", ""},
		turn{"Address of wan0 (eth0) [dhcp]", "192.0.2.9/24"},
		turn{"Gateway of wan0 (eth0) [192.0.2.1]", ""},
		turn{"Name servers of wan0 (eth0) [none]", "<"},
		turn{"Gateway of wan0 (eth0) [192.0.2.1]", "<"},
		turn{"Address of wan0 (eth0) [192.0.2.9/24]", "dhcp"},
		turn{"Time servers [none]", "<"},
		turn{"Address of wan0 (eth0) [dhcp]", ""},
		turn{"Time servers [none]", ""},
		turn{"Fleet broker [none]", "mqtts://fleet.example.com"},
		turn{"User at the broker [van-9]", ""},
		turn{"Password at the broker", "<"},
		turn{"User at the broker [van-9]", "<"},
		turn{"Fleet broker [mqtts://fleet.example.com]", "none"},
		turn{"Set up a flow [yes]", "no"},
		turn{"Put it in force [yes]", "<"},
		turn{"Name of this box [van-9]", ""},
		turn{"Role of eth0 (-, no link) [wan0]", ""},
		turn{"Address of wan0 (eth0) [dhcp]", ""},
		turn{"Time servers [none]", ""},
		turn{"Fleet broker [none]", ""},
		turn{"Set up a flow [no]", ""},
		turn{"Put it in force [yes]", ""},
		turn{"Keep it (yes, no; Enter looks again)", ""},
		turn{"Keep it (yes, no; Enter looks again)", "no"},
	)
	s.expect("Version 8 is taken back: what was before is in force.")
	s.expect("> ")
	if got := b.inForce(); got != "{}" {
		t.Errorf("in force is %s", got)
	}
}

// Faults are shown where they are, nothing is left behind, and the questions
// begin again.
func TestSetupRejected(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.faults = func(state string) []fault {
		if strings.Contains(state, "van-4") {
			return []fault{{Pointer: "/state/device/hostname", Message: "hostname is taken: use another"}}
		}
		return nil
	}
	b.change(func() { b.documents["info"] = `{"interfaces": []}` })
	s := beginSetup(t, b)
	rest := []turn{{"Time servers [none]", ""}, {"Fleet broker [none]", ""}, {"Set up a flow [", "no"}, {"Put it in force [yes]", ""}}
	s.play(turn{"Name of this box [van-3]", "van-4"})
	s.playAny(rest...)
	s.expect("device hostname van-4\r\n                ^^^^^\r\n  Hostname is taken: use another.\r\n")
	s.play(turn{"Name of this box [van-4]", "van-5"})
	if d := b.draft(); d != "null" {
		t.Errorf("a candidate is left: %s", d)
	}
	s.playAny(rest...)
	s.play(turn{"Keep it (yes, no; Enter looks again)", "yes"})
	s.expect("Version 8 is kept.")
	if got := b.inForce(); got != `{"device":{"hostname":"van-5"}}` {
		t.Errorf("in force is %s", got)
	}
}

// playAny is play for questions whose proposals do not matter.
func (s *seat) playAny(turns ...turn) {
	s.t.Helper()
	for _, turn := range turns {
		s.expect(turn.ask)
		s.expect(": ")
		s.send(turn.answer + "\r")
	}
}

// A program answers the same questions, each on a line of its own.
func TestSetupScript(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() { b.documents["info"] = `{"interfaces": [{"name": "eth0"}]}` })
	s := sit(t, Options{Client: b, Name: "anna", Now: func() time.Time { return b.now }})
	s.expect("> ")
	s.do("terminal script on", "> ")
	s.send("setup\r")
	s.play(
		turn{"Name of this box [van-3]", "van-4"},
		turn{"Role of eth0 (-, no link) [wan0]", ""},
		turn{"Address of wan0 (eth0) [dhcp]", ""},
		turn{"Time servers [none]", ""},
		turn{"Fleet broker [none]", ""},
		turn{"Set up a flow [yes]", "yes"},
		turn{"Name of the flow [Main]", ""},
		turn{"Input [SRT]", "rtp"},
		turn{"Port that the encoder sends to [5004]", ""},
		turn{"Multicast group [none]", "239.1.1.1"},
		turn{"Output [RTMP]", "SRT-l"},
		turn{"Port that receivers call [9100]", ""},
		turn{"Latency in ms [120]", "200"},
		turn{"Passphrase (Enter for none)", "battery staple"}, // once: a program does not mistype
		turn{"Put it in force [yes]", ""},
		turn{"Keep it (yes, no; Enter looks again)", "yes"},
	)
	s.expect("ok\r\n")
	golden(t, "setup-script", s.talk())
	const want = `"inputs":[{"id":"in-1","protocol":"RTP","rtp":{"multicast":"239.1.1.1","port":5004}}],"name":"Main",` +
		`"outputs":[{"id":"out-1","name":"Output 1","protocol":"SRT","srt":{"latency_ms":200,"mode":"listener","passphrase":"battery staple","port":9100}}]`
	if got := b.inForce(); !strings.Contains(got, want) {
		t.Errorf("in force is\n%s, want\n%s", got, want)
	}
}

// Every way of a first flow can be typed, and is as the schema has it.
func TestSetupFlows(t *testing.T) {
	for input, ask := range map[string][]turn{
		"RTMP": {{"[1935]", ""}, {"Stream key that the encoder uses", ""}, {"Stream key that the encoder uses", "k1"}, {"The same again", "k2"}, {"Stream key that the encoder uses", "k1"}, {"The same again", "k1"}},
		"SRT":  {{"[9000]", ""}, {"Passphrase (Enter for none)", "short"}, {"The same again", "short"}, {"Passphrase (Enter for none)", ""}},
	} {
		for output, answers := range map[string][]turn{
			"SRT-caller": {{"Address of the receiver", "hub.example.com"}, {"Port of the receiver [9000]", "7000"}, {"Latency in ms [120]", "20000"}, {"Latency in ms [120]", ""}, {"Passphrase (Enter for none)", ""}},
			"RTP":        {{"Address of the receiver", "239.1.1.1"}, {"Port of the receiver [5004]", ""}},
			none:         nil,
		} {
			b := newMemoryBox(t, `{}`)
			b.change(func() { b.documents["info"] = `{"interfaces": []}` })
			s := beginSetup(t, b)
			s.play(turn{"[van-3]", ""}, turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [yes]", ""}, turn{"[Main]", ""}, turn{"Input [SRT]", input})
			s.play(ask...)
			s.play(turn{"Output [RTMP]", output})
			s.play(answers...)
			s.play(turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "y"})
			s.expect("Version 8 is kept.")
			got := b.inForce()
			want := map[string]string{
				"SRT-caller": `"srt":{"destinations":[{"host":"hub.example.com","port":7000}],"latency_ms":120,"mode":"caller"}`,
				"RTP":        `"rtp":{"destinations":[{"host":"239.1.1.1","port":5004}]}`,
				none:         `"name":"Main"}]`,
			}[output]
			if !strings.Contains(got, want) {
				t.Errorf("%s, %s: in force is %s", input, output, got)
			}
		}
	}
}

// What the box has is proposed, and left as it is by Enter alone.
func TestSetupKeepsWhatIsThere(t *testing.T) {
	b := newMemoryBox(t, vanState)
	before := b.inForce()
	s := beginSetup(t, b)
	s.play(
		turn{"Name of this box [van-3]", ""},
		turn{"[lan0]", ""}, turn{"Address of lan0 (enp1s0) [none]", ""},
		turn{"[wan0]", ""}, turn{"Address of wan0 (enp2s0) [none]", ""},
		turn{"Which is the default uplink [wan0]", ""},
		turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [no]", ""},
	)
	s.expect("The answers change nothing: the box is set up as they say.")
	s.expect("> ")
	if got := b.inForce(); got != before || len(b.asked) > 0 {
		t.Errorf("in force is %s; asked was %v", got, b.asked)
	}
}

// Roles may change places, and one of a NIC that is not there is not proposed
// for another.
func TestSetupRoles(t *testing.T) {
	b := newMemoryBox(t, `{"uplinks": [{"name": "lan0", "match": {"interface": "enp1s0"}, "default": true}, {"name": "wan0", "match": {"mac": "02-00-5E-00-00-02"}},
		{"name": "wan1", "match": {"path": "pci-0000:09:00.0"}}]}`)
	s := beginSetup(t, b)
	s.play(
		turn{"Name of this box [van-3]", ""},
		turn{"Role of enp1s0 (02:00:5e:00:00:01, 1.0 Gb/s) [lan0]", "wan0"},
		turn{"Address of wan0 (enp1s0) [none]", "dhcp"},
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [wan0]", "lan0"},
		turn{"Address of lan0 (enp2s0) [none]", "10.0.0.0/24"},
		turn{"Address of lan0 (enp2s0) [none]", "10.0.0.1/24"},
		turn{"Gateway of lan0 (enp2s0) [none]", ""},
		turn{"Name servers of lan0 (enp2s0) [none]", "dns"},
		turn{"Name servers of lan0 (enp2s0) [none]", ""},
		turn{"Which is the default uplink [lan0]", "wan1"},
		turn{"Which is the default uplink [lan0]", "wan0"},
	)
	s.play(turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [yes]", "no"},
		turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "yes"})
	s.expect("Version 8 is kept.")
	const want = `{"device":{"hostname":"van-3"},"uplinks":[{"match":{"path":"pci-0000:09:00.0"},"name":"wan1"},` +
		`{"default":true,"dhcp4":true,"match":{"mac":"02:00:5e:00:00:01"},"name":"wan0"},{"addresses":["10.0.0.1/24"],"match":{"mac":"02:00:5e:00:00:02"},"name":"lan0"}]}`
	if got := b.inForce(); got != want {
		t.Errorf("in force is\n%s, want\n%s", got, want)
	}

	// What a role had of its other NIC, or of its other address, goes.
	b = newMemoryBox(t, `{"device": {"hostname": "van-3"}, "uplinks": [
		{"name": "lan0", "match": {"interface": "enp1s0"}, "default": true, "addresses": ["10.0.0.9/24"], "gateway4": "10.0.0.1", "nameservers": ["9.9.9.9"]},
		{"name": "wan0", "match": {"path": "pci-0000:09:00.0"}}]}`)
	s = beginSetup(t, b)
	s.play(turn{"[van-3]", ""}, turn{"[lan0]", ""}, turn{"[10.0.0.9/24]", "dhcp"}, turn{"[wan1]", "wan0"}, turn{"Address of wan0 (enp2s0) [dhcp]", "none"},
		turn{"[lan0]", "wan0"}, turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [yes]", "no"},
		turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "yes"})
	s.expect("Version 8 is kept.")
	const moved = `{"device":{"hostname":"van-3"},"uplinks":[{"dhcp4":true,"match":{"interface":"enp1s0"},"name":"lan0"},` +
		`{"default":true,"match":{"mac":"02:00:5e:00:00:02"},"name":"wan0"}]}`
	if got := b.inForce(); got != moved {
		t.Errorf("in force is\n%s, want\n%s", got, moved)
	}

	b = newMemoryBox(t, `{"uplinks": [{"name": "lan0", "match": {"path": "pci-0000:09:00.0"}}]}`)
	s = beginSetup(t, b)
	s.play(turn{"Name of this box [van-3]", ""}, turn{"1.0 Gb/s) [wan0]", ""}, turn{"[dhcp]", ""})
	s.expect("Role of enp2s0 (02:00:5e:00:00:02, no link) [wan1]: ")
	// A cable that was plugged in meanwhile is seen.
	s.send("<\r")
	b.change(func() { b.documents["info"] = strings.ReplaceAll(boxInfo, "false", "true") })
	s.play(turn{"[dhcp]", "<"}, turn{"1.0 Gb/s) [wan0]", ""}, turn{"[dhcp]", ""})
	s.expect("Role of enp2s0 (02:00:5e:00:00:02, link) [wan1]: ")
	s.send("\x03")
	s.expect("> ")
}

// Who types ? with Enter has asked for help, and has not said yes.
func TestSetupHelpWithEnter(t *testing.T) {
	for _, terminal := range []string{"dumb", "vt100"} {
		b := newMemoryBox(t, `{}`)
		b.change(func() { b.documents["info"] = `{"interfaces": []}` })
		s := sit(t, Options{Client: b, Name: "anna", Now: func() time.Time { return b.now }})
		s.expect("> ")
		s.do("terminal "+terminal, "> ")
		s.send("setup\r")
		for _, ask := range []string{"Name of this box [van-3]", "Time servers [none]", "Fleet broker [none]", "Set up a flow [yes]", "Put it in force [yes]"} {
			s.expect(ask + ": ")
			s.send("?")
			s.expect(ask + ": ") // after the help
			s.send("\r")
			s.expect(ask + ": ")
			if ask == "Set up a flow [yes]" {
				s.send("no")
			}
			s.send("\r")
		}
		s.expect("Version 8 is in force")
		if got := strings.Join(b.asked, " "); got != "candidate-put candidate-commit" {
			t.Errorf("asked %s", got)
		}
	}
}

// Hosts and URLs are checked where they are asked for.
func TestSetupHosts(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() { b.documents["info"] = `{"interfaces": []}` })
	s := beginSetup(t, b)
	s.play(
		turn{"[van-3]", ""},
		turn{"Time servers [none]", "pool.ntp.org http://x"},
	)
	s.expect("Ntp is \"http://x\": use an IP address or a DNS name.")
	s.play(turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", "fleet.example.com:8883"})
	s.expect("A broker is such as")
	s.play(turn{"Fleet broker [none]", "mqtts://box:planted@a"})
	if got := s.expect("Leave user and password out of it"); strings.Count(got, "planted") != 1 {
		t.Errorf("it is repeated: %q", got)
	}
	s.play(turn{"Fleet broker [none]", "mqtts://a:70000"})
	s.expect("Url has a port that there is not: use 1 to 65535.")
	s.send("\x03")
	s.expect("> ")
}

// A NIC keeps the role that the command line gave to it, and nothing is said of
// that in the document.
func TestSetupLocals(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	b.change(func() {
		b.documents["state"] = `{"uplinks": [{"name": "cams", "interface": "enp2s0", "ready": true}, {"name": "lan0", "interface": "", "ready": false}], "flows": [], "alarms": []}`
	})
	s := beginSetup(t, b)
	s.play(turn{"Name of this box [van-3]", ""})
	if table := s.expect("Role of enp1s0"); !strings.Contains(table, "no link   cams\r\n") {
		t.Errorf("the table is\n%s", table)
	}
	s.play(turn{"[wan0]", "cams"})
	s.expect("The command line of the box gives the role cams to another NIC: use another")
	s.play(
		turn{"[wan0]", "lan0"},
		turn{"[wan0]", ""},
		turn{"Address of wan0 (enp1s0) [dhcp]", ""},
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [cams]", "none"},
	)
	s.expect("The command line of the box gives enp2s0 the role cams: it keeps that.")
	s.play(
		turn{"Role of enp2s0 (02:00:5e:00:00:02, no link) [cams]", ""},
		turn{"Address of cams (enp2s0) [none]", ""},
		turn{"Which is the default uplink [cams]", ""},
		turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""},
		turn{"Set up a flow [yes]", ""}, turn{"[Main]", ""}, turn{"Input [SRT]", ""}, turn{"[9000]", ""}, turn{"Passphrase (Enter for none)", ""},
		turn{"Uplink that the encoder is on [lan0]", "cams"}, turn{"Output [RTMP]", "none"},
		turn{"Put it in force [yes]", "<"},
		// Once more: what was answered is in the brackets.
		turn{"Name of this box [van-3]", ""}, turn{"[wan0]", ""}, turn{"[dhcp]", ""}, turn{"[cams]", ""}, turn{"[none]", ""},
		turn{"Which is the default uplink [cams]", ""},
		turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [yes]", ""}, turn{"[Main]", ""}, turn{"Input [SRT]", ""},
		turn{"[9000]", ""}, turn{"Passphrase (Enter for none)", ""}, turn{"Uplink that the encoder is on [cams]", ""}, turn{"Output [none]", ""},
		turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "yes"},
	)
	s.expect("Version 8 is kept.")
	const want = `{"device":{"hostname":"van-3"},"flows":[{"id":"main","inputs":[{"id":"in-1","protocol":"SRT","srt":{"mode":"listener","port":9000},"uplink":"cams"}],"name":"Main"}],` +
		`"uplinks":[{"dhcp4":true,"match":{"mac":"02:00:5e:00:00:01"},"name":"wan0"}]}`
	if got := b.inForce(); got != want {
		t.Errorf("in force is\n%s, want\n%s", got, want)
	}
	s.expect("> ")

	// Another address or default of it is the document's.
	s.send("setup\r")
	s.play(turn{"[van-3]", ""}, turn{"[wan0]", ""}, turn{"[dhcp]", ""}, turn{"[cams]", ""}, turn{"Address of cams (enp2s0) [none]", "10.0.0.1/24"},
		turn{"Gateway of cams (enp2s0) [none]", ""}, turn{"Name servers of cams (enp2s0) [none]", ""}, turn{"Which is the default uplink [cams]", "wan0"},
		turn{"Time servers [none]", ""}, turn{"Fleet broker [none]", ""}, turn{"Set up a flow [no]", ""},
		turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "yes"})
	s.expect("Version 9 is kept.")
	const changed = `"uplinks":[{"default":true,"dhcp4":true,"match":{"mac":"02:00:5e:00:00:01"},"name":"wan0"},{"addresses":["10.0.0.1/24"],"name":"cams"}]}`
	if got := b.inForce(); !strings.HasSuffix(got, changed) {
		t.Errorf("in force is\n%s, want\n%s", got, changed)
	}
}

// What was answered of a role that is taken back goes with it.
func TestSetupTakesRolesBack(t *testing.T) {
	b := newMemoryBox(t, `{}`)
	s := beginSetup(t, b)
	rest := []turn{{"Time servers [none]", ""}, {"Fleet broker [none]", ""}}
	s.play(turn{"[van-3]", ""}, turn{"[lan0]", ""}, turn{"[dhcp]", ""}, turn{"[wan0]", ""}, turn{"[dhcp]", ""}, turn{"Which is the default uplink [wan0]", ""})
	s.play(rest...)
	s.play(turn{"Set up a flow [yes]", "no"}, turn{"Put it in force [yes]", "<"})
	s.play(turn{"[van-3]", ""}, turn{"[lan0]", ""}, turn{"[dhcp]", ""}, turn{"[wan0]", "wan1"}, turn{"[dhcp]", ""}, turn{"Which is the default uplink [wan1]", ""})
	s.play(rest...)
	s.play(turn{"Set up a flow [no]", ""}, turn{"Put it in force [yes]", "<"})
	s.play(turn{"[van-3]", ""}, turn{"[lan0]", "none"}, turn{"[wan1]", "none"})
	s.play(rest...)
	s.play(turn{"Set up a flow [no]", ""}, turn{"Put it in force [yes]", ""}, turn{"Keep it (yes, no; Enter looks again)", "yes"})
	s.expect("Version 8 is kept.")
	if got, want := b.inForce(), `{"device":{"hostname":"van-3"}}`; got != want {
		t.Errorf("in force is\n%s, want\n%s", got, want)
	}
}

func TestFlowID(t *testing.T) {
	for name, want := range map[string]string{
		"Main stage": "main-stage", " -- ": "flow", "도시": "flow", "A/B  7": "a-b-7",
		strings.Repeat("x", 31) + " y": strings.Repeat("x", 31),
	} {
		if got := flowID(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}
