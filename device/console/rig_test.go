package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device/control"
)

// A fakeBox is a daemon in memory: a Client with the documents of a file, and
// a control.Backend of the same.
type fakeBox struct {
	mu        sync.Mutex
	documents map[string]json.RawMessage
	answers   map[string]string // of requests, by name; none: 501
	asked     []string          // requests, with their data
	session   string            // the one that is known
	named     string            // the one that the client names
	gone      error             // the daemon is not there
	slow      string            // a request that takes for ever
	password  string
	wait      float64 // of a refused login, in seconds
	says      string  // to a refused login
}

var _ Client = (*fakeBox)(nil)

func newFakeBox(t testing.TB, file string) *fakeBox {
	t.Helper()
	raw, err := os.ReadFile(file)
	check(t, err)
	f := &fakeBox{answers: map[string]string{}, password: "battery staple"}
	check(t, json.Unmarshal(raw, &f.documents))
	return f
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fakeBox) Document(ctx context.Context, name string) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return nil, f.gone
	}
	if d, ok := f.documents[name]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("%w %q", control.ErrNoDocument, name)
}

func (f *fakeBox) Request(ctx context.Context, name string, body []byte) (int, json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return 0, nil, f.gone
	}
	var r struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return 400, json.RawMessage(`{"status":"error","error":{"code":400,"message":"the request cannot be read"}}`), nil
	}
	f.asked = append(f.asked, name+" "+string(r.Data))
	switch {
	case name == "console-login":
		return f.login(r.Data)
	case f.session != "" && f.named != f.session:
		return 401, json.RawMessage(`{"status":"error","error":{"code":401,"message":"the session has ended"}}`), nil
	case name == "console-session":
		return 200, json.RawMessage(`{"status":"ok","data":{"name":"anna"}}`), nil
	case name == f.slow:
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return 0, nil, ctx.Err()
	}
	if a, ok := f.answers[name]; ok {
		var r struct {
			Error *struct{ Code int }
		}
		if json.Unmarshal([]byte(a), &r) == nil && r.Error != nil {
			return r.Error.Code, json.RawMessage(a), nil
		}
		return 200, json.RawMessage(a), nil
	}
	return 501, json.RawMessage(`{"status":"error","error":{"code":501,"message":"this build cannot do ` + name + `"}}`), nil
}

func (f *fakeBox) Apply(ctx context.Context, document []byte) (int, json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return 0, nil, f.gone
	}
	f.asked = append(f.asked, "apply "+string(document))
	return 200, json.RawMessage(`{"version":8,"status":"applied"}`), nil
}

func (f *fakeBox) login(data json.RawMessage) (int, json.RawMessage, error) {
	var l struct{ Name, Password string }
	if json.Unmarshal(data, &l) != nil || l.Name != "anna" || l.Password != f.password {
		return 401, json.RawMessage(fmt.Sprintf(
			`{"status":"error","data":{"retry_after_s":%v},"error":{"code":401,"message":"name and password do not fit%s"}}`, f.wait, f.says)), nil
	}
	f.session = "s1"
	return 200, json.RawMessage(`{"status":"ok","data":{"session":"s1"}}`), nil
}

func (f *fakeBox) SetSession(session string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named = session
}

func (f *fakeBox) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// requests returns those that were made, without logins.
func (f *fakeBox) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, a := range f.asked {
		if !strings.HasPrefix(a, "console-log") && !strings.HasPrefix(a, "console-session") {
			all = append(all, a)
		}
	}
	return all
}

// A seat is somebody in front of a console.
type seat struct {
	t      testing.TB
	line   net.Conn
	ended  chan error
	cancel context.CancelFunc

	mu     sync.Mutex
	screen []byte // all that was ever shown
	seen   int    // of it, by expect
	closed bool
	came   chan struct{}
}

// sit starts a console, and reads what it shows.
func sit(t testing.TB, o Options) *seat {
	t.Helper()
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	s := &seat{t: t, line: near, ended: make(chan error, 1), cancel: cancel, came: make(chan struct{}, 1)}
	go func() {
		s.ended <- Run(ctx, far, o)
		far.Close()
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := near.Read(buffer)
			s.mu.Lock()
			s.screen = append(s.screen, buffer[:n]...)
			s.closed = err != nil
			s.mu.Unlock()
			signal(s.came)
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		near.Close()
		<-read
	})
	return s
}

// send types bytes.
func (s *seat) send(text string) {
	s.t.Helper()
	if _, err := s.line.Write([]byte(text)); err != nil {
		s.t.Fatalf("typing %q: %v", text, err)
	}
}

// expect waits until text is shown, after what was expected before, and returns
// what came up to it, with it.
func (s *seat) expect(text string) string {
	s.t.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		shown, closed := string(s.screen[s.seen:]), s.closed
		if i := strings.Index(shown, text); i >= 0 {
			s.seen += i + len(text)
			s.mu.Unlock()
			return shown[:i+len(text)]
		}
		s.mu.Unlock()
		if closed {
			s.t.Fatalf("the console ended without %q:\n%q", text, shown)
		}
		select {
		case <-s.came:
		case <-timeout.C:
			s.t.Fatalf("%q does not come:\n%q", text, shown)
		}
	}
}

// do types a line and returns what is shown until the next prompt.
func (s *seat) do(line, prompt string) string {
	s.t.Helper()
	s.send(line + "\r")
	return strings.TrimSuffix(s.expect(prompt), prompt)
}

// ends waits for the end of Run.
func (s *seat) ends() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(10 * time.Second):
		s.t.Fatalf("Run does not end; on the screen:\n%s", s.shown())
		return nil
	}
}

func (s *seat) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.screen)
}

// login passes the silence and the login.
func (s *seat) login() {
	s.t.Helper()
	s.send("\r")
	s.expect("login: ")
	s.send("anna\r")
	s.expect("password: ")
	s.send("battery staple\r")
	s.expect("> ")
}
