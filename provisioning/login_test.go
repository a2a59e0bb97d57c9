package provisioning

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/relaytest"
)

// local asks as someone at the box does, and returns the whole answer.
func (b *box) local(by control.Caller, name, data string) (int, string) {
	status, answer := b.Request(context.Background(), name, []byte(`{"data":`+data+`}`), by)
	return status, string(answer)
}

// loginAs returns the status, and the session where there is one.
func (b *box) loginAs(t *testing.T, by control.Caller, name, password string) (int, string) {
	t.Helper()
	status, answer := b.local(by, "console-login", fmt.Sprintf(`{"name":%q,"password":%q,"line":"ttyS1"}`, name, password))
	session, _ := field(t, answer, "data", "session").(string)
	return status, session
}

func (b *box) firstPassword(t *testing.T) string {
	t.Helper()
	body, _ := b.Document("console")
	first, _ := field(t, string(body), "first_password").(string)
	return first
}

// eventsOf returns the events of a kind, the oldest first.
func (b *box) eventsOf(t *testing.T, kind string) (all []string) {
	for _, e := range b.fleet.on("event") {
		if field(t, e.body, "type") == kind {
			all = append(all, e.body)
		}
	}
	return all
}

// The first password is shown until somebody came in with it; then its hash
// alone is left, also on disk and after a restart.
func TestFirstPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7, PID: 8}
		first := b.firstPassword(t)
		if !regexp.MustCompile(`^[a-hjkmnp-z2-9]{4}(-[a-hjkmnp-z2-9]{4}){2}$`).MatchString(first) {
			t.Fatalf("first password %q", first)
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		if again := b.firstPassword(t); again != first {
			t.Errorf("after a restart it is %q, and was %q", again, first)
		}
		status, session := b.loginAs(t, by, "anna", first)
		if status != 200 || len(session) < 26 {
			t.Fatalf("login: %d %q", status, session)
		}
		if e := b.eventsOf(t, "login"); len(e) != 1 || field(t, e[0], "data", "name") != "anna" || field(t, e[0], "data", "line") != "ttyS1" ||
			field(t, e[0], "data", "uid") != 7.0 || field(t, e[0], "data", "pid") != 8.0 {
			t.Errorf("events %v", e)
		}
		if got := b.firstPassword(t); got != "" {
			t.Errorf("after the first login it is still shown: %q", got)
		}
		stored, err := os.ReadFile(filepath.Join(b.dir, passwordName))
		if err != nil || strings.Contains(string(stored), first) || !strings.Contains(string(stored), "$argon2id$v=19$m=19456,t=2,p=1$") {
			t.Errorf("stored: %q %v", stored, err)
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		if status, _ := b.loginAs(t, by, "anna", first); status != 200 {
			t.Errorf("after a restart: %d", status)
		}
		if said := b.fleet.everything() + b.log.String(); strings.Contains(said, first) {
			t.Errorf("told: %s", said)
		}
	})
}

// What someone who logged in asks for is his in the events, and not his user's.
func TestRequestsAreOfWhoLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7, PID: 8}
		_, by.Session = b.loginAs(t, by, "anna", b.firstPassword(t))
		for _, caller := range []control.Caller{by, {UID: 7, PID: 9}} {
			if status, answer := b.local(caller, "flow-restart", `{"flow":"f"}`); status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
		}
		e := b.eventsOf(t, "request")
		if len(e) != 2 || field(t, e[0], "message") != "flow-restart was carried out for anna on the box" || field(t, e[0], "data", "name") != "anna" ||
			field(t, e[0], "data", "line") != "ttyS1" || field(t, e[0], "data", "uid") != 7.0 {
			t.Errorf("events %v", e)
		}
		if field(t, last(e), "message") != "flow-restart was carried out for user 7 on the box" || field(t, last(e), "data", "name") != nil {
			t.Errorf("without a session: %v", last(e))
		}
	})
}

// Each failure makes the next attempt wait longer, a right password too; no
// wait is for ever, and a success ends them.
func TestLoginFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by, first := control.Caller{UID: 7}, b.firstPassword(t)
		begin := time.Now()
		for i, wait := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			status, answer := b.local(by, "console-login", `{"name":"eve","password":"planted-guess","line":"ttyS1"}`)
			if status != 401 || field(t, answer, "data", "retry_after_s") != float64(wait) {
				t.Fatalf("failure %d: %d %s", i+1, status, answer)
			}
			time.Sleep(time.Duration(wait)*time.Second - time.Millisecond)
			status, answer = b.local(by, "console-login", fmt.Sprintf(`{"name":"anna","password":%q,"line":""}`, first))
			if status != 429 || field(t, answer, "data", "retry_after_s") != 1.0 {
				t.Fatalf("the right one too early, after failure %d: %d %s", i+1, status, answer)
			}
			time.Sleep(time.Millisecond)
		}
		if status, _ := b.loginAs(t, by, "anna", first); status != 200 {
			t.Errorf("after the wait: %d", status)
		}
		if _, answer := b.local(by, "console-login", `{"name":"eve","password":"x","line":""}`); field(t, answer, "data", "retry_after_s") != 1.0 {
			t.Errorf("after a success: %s", answer)
		}
		// Three are told at once, and then one in a minute.
		told := b.eventsOf(t, "login_failed")
		if minutes := int(time.Since(begin) / time.Minute); len(told) > 3+minutes+1 || len(told) < 5 || field(t, told[2], "data", "failures") != 3.0 {
			t.Errorf("%d failures told in %d minutes: %v", len(told), minutes, told)
		}
		if said := b.fleet.everything() + b.log.String(); strings.Contains(said, "planted") {
			t.Errorf("a guess is told: %s", said)
		}
	})
}

// Guesses that are made at the same time are as slow as one after another.
func TestGuessesAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) { o.PasswordFile = passwordFile(t, "battery staple\n") })
		var guesses sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for range 20 {
			guesses.Go(func() {
				status, _ := b.local(control.Caller{}, "console-login", `{"name":"eve","password":"x","line":""}`)
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			})
		}
		guesses.Wait()
		if statuses[401] != 1 || statuses[429] != 19 {
			t.Errorf("statuses %v", statuses)
		}
	})
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A credential file gives the password of the first start, and of no other.
func TestPasswordFile(t *testing.T) {
	cheap := newHash("by hash", cost{memory: 64, time: 1, threads: 1}).String()
	for _, c := range []struct{ text, password string }{
		{"battery staple\n", "battery staple"},
		{"correct horse\r\n", "correct horse"},
		{cheap + "\n", "by hash"},
	} {
		synctest.Test(t, func(t *testing.T) {
			path := passwordFile(t, c.text)
			b := startBox(t, "", func(o *Options) { o.PasswordFile = path })
			if got := b.firstPassword(t); got != "" {
				t.Errorf("it is shown: %q", got)
			}
			b.stop()
			if err := os.WriteFile(path, []byte("another one"), 0o600); err != nil {
				t.Fatal(err)
			}
			b = startBox(t, b.dir, func(o *Options) { o.PasswordFile = path })
			if status, _ := b.loginAs(t, control.Caller{}, "anna", "another one"); status != 401 {
				t.Errorf("the second file: %d", status)
			}
			time.Sleep(time.Second)
			if status, _ := b.loginAs(t, control.Caller{}, "anna", c.password); status != 200 {
				t.Errorf("%q: %d", c.password, status)
			}
		})
	}
	for _, text := range []string{"", "short", strings.Repeat("x", 65), strings.Repeat("x", 2000), "tab\tinside", "$argon2id$v=19$m=9999999,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"} {
		a := &Agent{o: Options{Store: openStore(t), PasswordFile: passwordFile(t, text)}}
		if _, err := a.loadPassword(); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	a := &Agent{o: Options{Store: openStore(t), PasswordFile: filepath.Join(t.TempDir(), "none")}}
	if p, err := a.loadPassword(); err == nil {
		t.Errorf("a file that is not there: %v", p.First != "")
	}
}

func TestChangePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7}
		first := b.firstPassword(t)
		_, mine := b.loginAs(t, by, "anna", first)
		_, other := b.loginAs(t, by, "berta", first)
		by.Session = mine
		for _, bad := range []string{"seven77", strings.Repeat("y", 65), "bell\a in it"} {
			if status, answer := b.local(by, "console-password", fmt.Sprintf(`{"password":%q}`, bad)); status != 400 || strings.Contains(answer, bad) {
				t.Errorf("%q: %d %s", bad, status, answer)
			}
		}
		if status, answer := b.local(by, "console-password", `{"password":"planted-new"}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		if name, line := b.who(by); name != "anna" || line != "ttyS1" {
			t.Errorf("the session of who changed it: %q on %q", name, line)
		}
		by.Session = other
		if name, _ := b.who(by); name != "" {
			t.Errorf("another session goes on: %q", name)
		}
		if status, _ := b.local(by, "console-password", `{"password":"by one who is out"}`); status != 401 {
			t.Errorf("by a session that ended: %d", status)
		}
		if e := b.eventsOf(t, "password_changed"); len(e) != 1 || field(t, e[0], "data", "name") != "anna" || field(t, e[0], "data", "line") != "ttyS1" {
			t.Errorf("events %v", e)
		}
		if status, _ := b.loginAs(t, by, "anna", first); status != 401 {
			t.Errorf("with the old one: %d", status)
		}
		time.Sleep(time.Second)
		if status, _ := b.loginAs(t, by, "anna", "planted-new"); status != 200 {
			t.Errorf("with the new one: %d", status)
		}
		if said := b.fleet.everything() + b.log.String(); strings.Contains(said, "planted") {
			t.Errorf("told: %s", said)
		}
	})
}

// Sessions end when they are idle, at a logout, and the oldest of too many; a
// token is of no use to another user.
func TestSessions(t *testing.T) {
	relaytest.TakesSeconds(t)
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7}
		first := b.firstPassword(t)
		in := func(token string) bool {
			name, _ := b.who(control.Caller{UID: 7, Session: token})
			return name == "anna"
		}
		_, token := b.loginAs(t, by, "anna", first)
		if !in(token) || in("") || in(token[1:]) {
			t.Error("the session is not told from others")
		}
		if name, _ := b.who(control.Caller{UID: 8, Session: token}); name != "" {
			t.Error("another user has the session")
		}
		time.Sleep(sessionIdle)
		if !in(token) {
			t.Error("it ended before its time")
		}
		time.Sleep(sessionIdle + time.Second)
		if in(token) {
			t.Error("an idle session goes on")
		}
		_, token = b.loginAs(t, by, "anna", first)
		b.local(control.Caller{UID: 7, Session: token}, "console-logout", `{}`)
		if in(token) || len(b.eventsOf(t, "logout")) != 1 {
			t.Errorf("after the logout: %v, %v", in(token), b.eventsOf(t, "logout"))
		}
		if status, _ := b.local(control.Caller{UID: 7, Session: token}, "console-logout", `{}`); status != 200 || len(b.eventsOf(t, "logout")) != 1 {
			t.Errorf("a second logout: %d", status)
		}
		var tokens []string
		for range maxSessions + 1 {
			time.Sleep(time.Second)
			_, token := b.loginAs(t, by, "anna", first)
			tokens = append(tokens, token)
			in(tokens[0]) // it is in use
		}
		if !in(tokens[0]) || in(tokens[1]) || !in(tokens[2]) || len(b.login.sessions) != maxSessions {
			t.Errorf("of %d sessions: %v %v %v", len(b.login.sessions), in(tokens[0]), in(tokens[1]), in(tokens[2]))
		}
	})
}

// What cannot be a name may be the password, typed where the name was asked.
func TestLoginDataIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		for _, data := range []string{
			`{"name":"Planted!","password":"x","line":""}`, `{"name":"` + strings.Repeat("planted", 9) + `","password":"x","line":""}`,
			`{"name":"anna","password":"x","line":"planted\u0007"}`, `{"name":"anna","planted":"x"}`, `"planted"`,
		} {
			status, answer := b.local(control.Caller{}, "console-login", data)
			if status != 400 || strings.Contains(strings.ToLower(answer), "planted") {
				t.Errorf("%s: %d %s", data, status, answer)
			}
		}
		if said := b.fleet.everything() + b.log.String(); strings.Contains(strings.ToLower(said), "planted") {
			t.Errorf("told: %s", said)
		}
		// Nobody logs in from afar.
		if r, _ := b.perform(t.Context(), "console-login", config.Request{}, nil); r.Error == nil || r.Error.Code != 404 {
			t.Errorf("by the fleet: %v", r)
		}
	})
}

// Whatever stands in a PHC string, it is refused or can be paid for, and what
// is taken is written as it was read.
func FuzzHash(f *testing.F) {
	f.Add(newHash("x", cost{memory: 8, time: 1, threads: 1}).String())
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2i$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967296,t=0,p=256$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			if len(s) > 20 && strings.Contains(err.Error(), s) {
				t.Errorf("%q is quoted: %v", s, err)
			}
			return
		}
		if h.memory > 64<<10 || h.time > 10 || h.threads > 4 || h.memory < 8 || h.time < 1 || h.threads < 1 {
			t.Errorf("%q costs %v", s, h.cost)
		}
		if h.String() != s {
			t.Errorf("%q becomes %q", s, h)
		}
	})
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A session that is not known asks for nothing: its caller is to log in again.
// Whoever names none did not log in, and need not.
func TestSessionThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7, PID: 8}
		_, by.Session = b.loginAs(t, by, "anna", b.firstPassword(t))
		if status, answer := b.local(by, "console-session", `{}`); status != 200 || field(t, answer, "data", "name") != "anna" || field(t, answer, "data", "line") != "ttyS1" {
			t.Errorf("a session: %d %s", status, answer)
		}
		if status, answer := b.local(by, "console-logout", `{}`); status != 200 {
			t.Errorf("logout: %d %s", status, answer)
		}
		for _, name := range []string{"console-session", "log-tail"} {
			if status, answer := b.local(by, name, `{}`); status != 401 || field(t, answer, "error", "message") != sessionEnded {
				t.Errorf("%s: %d %s", name, status, answer)
			}
		}
		if status, answer := b.Apply(t.Context(), []byte(`{"schema":"sluice.config/v1","state":{}}`), by); status != 401 {
			t.Errorf("a document: %d %s", status, answer)
		}
		if status, answer := b.local(by, "console-logout", `{}`); status != 200 {
			t.Errorf("logout again: %d %s", status, answer)
		}
		by.Session = ""
		if status, answer := b.local(by, "console-session", `{}`); status != 200 || field(t, answer, "data", "name") != "" {
			t.Errorf("no session: %d %s", status, answer)
		}
	})
}

// The console calls the box what its host is called, and a box without a host
// name by its id.
func TestConsoleName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		for _, c := range []struct{ device, want string }{{`{}`, "box"}, {`{"hostname":"ob-van-3"}`, "ob-van-3"}, {`{}`, "box"}} {
			if status, answer := b.edit(`{"schema":"sluice.config/v1","state":{"device":` + c.device + `}}`); status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
			body, _ := b.Document("console")
			if got := field(t, string(body), "name"); got != c.want {
				t.Errorf("%s: it is called %v, want %s", c.device, got, c.want)
			}
		}
	})
}
