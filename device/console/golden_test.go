package console

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"sluice/device/control"
)

var update = flag.Bool("update", false, "write the golden files")

// socketOf serves a box at a socket, as the daemon does, and returns a client.
func socketOf(t testing.TB, f *fakeBox) *control.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := control.Listen(path)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, backendOf{f}, slog.New(slog.DiscardHandler)) }()
	c := control.NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the socket: %v", err)
		}
	})
	return c
}

// backendOf is a box as the socket's backend.
type backendOf struct{ *fakeBox }

func (b backendOf) Document(name string) (json.RawMessage, bool) {
	d, err := b.fakeBox.Document(context.Background(), name)
	return d, err == nil
}

func (b backendOf) Apply(ctx context.Context, document []byte, by control.Caller) (int, json.RawMessage) {
	status, answer, _ := b.fakeBox.Apply(ctx, document)
	return status, answer
}

func (b backendOf) Request(ctx context.Context, name string, body []byte, by control.Caller) (int, json.RawMessage) {
	b.SetSession(by.Session)
	status, answer, _ := b.fakeBox.Request(ctx, name, body)
	return status, answer
}

func (b backendOf) Watch(ctx context.Context, _ func(string, json.RawMessage) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// stageBox is the box of the golden screens.
func stageBox(t testing.TB) *fakeBox {
	t.Helper()
	f := newFakeBox(t, "testdata/box.json")
	raw, err := os.ReadFile("testdata/answers.json")
	check(t, err)
	var answers map[string]json.RawMessage
	check(t, json.Unmarshal(raw, &answers))
	for name, a := range answers {
		f.answers[name] = string(a)
	}
	return f
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

const erased = "\b \b"

// screens types a command, turns its pages, and returns what was shown.
func (s *seat) screens(t *testing.T, line, prompt string) string {
	t.Helper()
	s.send(line + "\r")
	s.expect("\r\n")
	var all, page strings.Builder
	paged := false
	for {
		part := s.expectAny(more, prompt)
		page.WriteString(strings.TrimSuffix(strings.TrimSuffix(part, prompt), more))
		if n := strings.Count(page.String(), "\n"); n > 23 {
			t.Errorf("%s: a screen of %d lines and its last", line, n)
		}
		text := strings.TrimPrefix(page.String(), strings.Repeat(erased, len(more)))
		all.WriteString(text)
		page.Reset()
		if strings.HasSuffix(part, prompt) {
			break
		}
		paged = true
		s.send(" ")
	}
	text := strings.ReplaceAll(all.String(), "\r\n", "\n")
	for shown := range strings.Lines(text) {
		shown = strings.TrimSuffix(shown, "\n")
		if n := columns(shown); n > 80 {
			t.Errorf("%s: a line of %d columns: %s", line, n, shown)
		}
		if strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: a control character: %q", line, shown)
		}
	}
	if n := strings.Count(text, "\n"); !paged && n > 23 {
		t.Errorf("%s: %d lines and a prompt without a page", line, n)
	}
	return text
}

// expectAny is expect for whichever comes first.
func (s *seat) expectAny(texts ...string) string {
	s.t.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		shown, closed := string(s.screen[s.seen:]), s.closed
		first := -1
		for _, text := range texts {
			if i := strings.Index(shown, text); i >= 0 && (first < 0 || i+len(text) < first) {
				first = i + len(text)
			}
		}
		if first >= 0 {
			s.seen += first
			s.mu.Unlock()
			return shown[:first]
		}
		s.mu.Unlock()
		if closed {
			s.t.Fatalf("the console ended without any of %q:\n%q", texts, shown)
		}
		select {
		case <-s.came:
		case <-timeout.C:
			s.t.Fatalf("none of %q comes:\n%q", texts, shown)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name + ".golden"
	if *update {
		check(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

var looks = []string{
	"show version", "show hardware", "show uplinks", "show flows", "show outputs", "show outputs stage",
	"show output stage/wall", "show output stage/hub", "show input stage", "show srt", "show srt stage/hub",
	"show fleet", "show clock", "show alarms", "show log", "show config", "show config candidate", "show config saved",
	"show config desired", "show commits", "explain output stage/hub", "test ping 192.0.2.1 via wan1",
	"request identify 5", "request output kick stage/wall TXOJ", "request output disable stage/hub", "confirm", "help",
	"show output stage/none", "show outputs none", "show vresion", "show", "sh c", "test tcp host 70000", "show log 0",
}

// Every screen fits 80 columns, and 24 lines or is paged.
func TestScreens(t *testing.T) {
	s := sit(t, Options{Client: socketOf(t, stageBox(t)), Name: "root", Now: noon})
	s.expect("van-3> ")
	for _, line := range looks {
		got := s.screens(t, line, "van-3> ")
		golden(t, fileName(line), got)
	}
}

// The block that is shown before the login fits one screen with it.
func TestStatusBlock(t *testing.T) {
	for name, change := range map[string]func(*fakeBox){
		"banner": func(*fakeBox) {},
		"banner-factory": func(f *fakeBox) {
			f.documents = map[string]json.RawMessage{
				"console":  json.RawMessage(`{"name":"sluice-0042","serial_number":"SL4-2026-0042","model":"Edge 4","version":"1.2.3","factory":true,"first_password":"kite-59-lamp"}`),
				"reported": json.RawMessage(`{"version":0,"status":"applied","origin":"factory","state":{}}`),
				"state":    json.RawMessage(`{"uplinks":[],"flows":[],"alarms":[]}`),
			}
		},
		"banner-full": func(f *fakeBox) {
			var st stateDocument
			check(t, json.Unmarshal(f.documents["state"], &st))
			for len(st.Uplinks) < 16 {
				st.Uplinks = append(st.Uplinks, st.Uplinks[0])
			}
			raw, err := json.Marshal(st)
			check(t, err)
			f.documents["state"] = raw
		},
	} {
		f := stageBox(t)
		change(f)
		s := sit(t, Options{Client: socketOf(t, f), Login: true, Now: noon})
		s.send("\r")
		got := strings.ReplaceAll(s.expect("login: "), "\r\n", "\n")
		if n := strings.Count(got, "\n"); n > 22 {
			t.Errorf("%s: %d lines, with the password's", name, n)
		}
		for line := range strings.Lines(got) {
			if n := columns(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: a line of %d columns: %s", name, n, line)
			}
		}
		golden(t, name, got)
	}
}

// marked puts into every string of a document what would clear a screen, ring
// a bell and begin a line.
func marked(v any) any {
	switch v := v.(type) {
	case string:
		return v + "\x1b[2J\a\u009b1A\r\n"
	case map[string]any:
		for name := range v {
			v[name] = marked(v[name])
		}
	case []any:
		for i := range v {
			v[i] = marked(v[i])
		}
	}
	return v
}

// Nothing that the box was told by others moves the cursor, wherever it is
// shown.
func TestTextOfOthers(t *testing.T) {
	f := stageBox(t)
	mark := func(raw []byte) []byte {
		var v any
		check(t, json.Unmarshal(raw, &v))
		out, err := json.Marshal(marked(v))
		check(t, err)
		// These are read by the console itself.
		return regexp.MustCompile(`(20\d\d-\d\d-\d\dT[\d:]*Z|0001-01-01T00:00:00Z)\\u001b\[2J\\u0007\x{9b}1A\\r\\n`).ReplaceAll(out, []byte("$1"))
	}
	for name, d := range f.documents {
		f.documents[name] = mark(d)
	}
	for name, a := range f.answers {
		f.answers[name] = string(mark([]byte(a)))
	}
	f.answers["identify"] = `{"status":"error","error":{"code":500,"message":"\u001b[2J\u0007"}}`
	s := sit(t, Options{Client: f, Login: true, Now: noon})
	f.says = `\u001b[2J\u0007`
	s.send("\r")
	s.expect("login: ")
	s.send("anna\r")
	s.expect("password: ")
	s.send("wrong\r")
	s.login()
	s.do("terminal dumb", "> ")
	begin := len(s.shown())
	all := append(slices.Clone(looks), "show output stage.[2J..1A../wall.[2J..1A..", "terminal script on", "request reboot", "request support-bundle", "request identify", "show commits", "show output x/y")
	for _, line := range all {
		s.send(line + "\r")
		for !strings.HasSuffix(s.expectAny(more, "> "), "> ") {
			s.send(" ")
		}
	}
	if n := strings.Count(s.shown(), ".[2J"); n < 200 {
		t.Errorf("only %d texts of others are shown", n)
	}
	for _, part := range []string{s.shown()[begin:], s.shown()[:strings.Index(s.shown(), "terminal dumb")]} {
		for line := range strings.SplitSeq(strings.ReplaceAll(part, erased, ""), "\r\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) && !strings.HasPrefix(line, "login: ") {
				t.Errorf("%q", line)
			}
		}
	}
}
