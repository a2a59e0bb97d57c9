package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fake is a box that remembers what it was asked.
type fake struct {
	documents map[string]string
	applied   chan []byte
	by        chan Caller
	watching  chan struct{} // closed once somebody watches
	changes   chan Change
}

func newFake() *fake {
	return &fake{
		documents: map[string]string{"state": `{"flows":[]}`},
		applied:   make(chan []byte, 8), by: make(chan Caller, 8),
		watching: make(chan struct{}), changes: make(chan Change),
	}
}

func (f *fake) Document(name string) (json.RawMessage, bool) {
	d, ok := f.documents[name]
	return json.RawMessage(d), ok
}

func (f *fake) Apply(_ context.Context, document []byte, by Caller) (int, json.RawMessage) {
	f.applied <- document
	f.by <- by
	if !json.Valid(document) {
		return 400, json.RawMessage(`{"code":400,"message":"1 fault"}`)
	}
	return 200, json.RawMessage(`{"version":8,"status":"applied"}`)
}

func (f *fake) Request(_ context.Context, name string, request []byte, by Caller) (int, json.RawMessage) {
	f.by <- by
	return 200, json.RawMessage(`{"status":"ok","data":"` + name + `"}`)
}

func (f *fake) Watch(ctx context.Context, send func(string, json.RawMessage) error) error {
	close(f.watching)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-f.changes:
			if err := send(c.Name, c.Body); err != nil {
				return err
			}
		}
	}
}

// serve runs a server of f until the test ends, and checks that it ends.
func serve(t *testing.T, f Backend) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, f, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not end")
		}
	}
	t.Cleanup(stop)
	return path, stop
}

func TestDocuments(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f)
	c := NewClient(path)
	defer c.Close()
	body, err := c.Document(t.Context(), "state")
	if err != nil || string(body) != `{"flows":[]}` {
		t.Fatalf("state: %s, %v", body, err)
	}
	if _, err = c.Document(t.Context(), "no/such"); err == nil || err.Error() != `there is no document "no/such"` {
		t.Errorf("an unknown document: %v", err)
	}
	status, answer, err := c.Apply(t.Context(), []byte(`{"version":8}`))
	if err != nil || status != 200 || string(answer) != `{"version":8,"status":"applied"}` {
		t.Errorf("apply: %d %s %v", status, answer, err)
	}
	if got := <-f.applied; string(got) != `{"version":8}` {
		t.Errorf("the box got %s", got)
	}
	if by := <-f.by; by != (Caller{UID: os.Getuid(), PID: os.Getpid()}) {
		t.Errorf("the caller is %+v", by)
	}
	if status, answer, err := c.Request(t.Context(), "identify", []byte(`{}`)); err != nil || status != 200 || !strings.Contains(string(answer), "identify") {
		t.Errorf("request: %d %s %v", status, answer, err)
	}
	if by := <-f.by; by.UID != os.Getuid() {
		t.Errorf("the caller is %+v", by)
	}
}

func TestSessionOfTheCaller(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f)
	c := NewClient(path)
	defer c.Close()
	for _, session := range []string{"", "3f2a", strings.Repeat("x", maxSession), ""} {
		c.SetSession(session)
		if status, answer, err := c.Request(t.Context(), "identify", nil); err != nil || status != 200 {
			t.Fatalf("%.10q: %d %s %v", session, status, answer, err)
		}
		if by := <-f.by; by != (Caller{UID: os.Getuid(), PID: os.Getpid(), Session: session}) {
			t.Errorf("%.10q: the caller is %+v", session, by)
		}
	}
	c.SetSession(strings.Repeat("x", maxSession+1))
	if status, answer, err := c.Apply(t.Context(), []byte(`{}`)); err != nil || status != 400 || !strings.Contains(string(answer), "Sluice-Session") {
		t.Errorf("too long: %d %s %v", status, answer, err)
	}
}

func TestBadBodies(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f)
	c := NewClient(path)
	defer c.Close()
	status, answer, err := c.Apply(t.Context(), []byte("\x00{"))
	if err != nil || status != 400 || !strings.Contains(string(answer), "1 fault") {
		t.Errorf("not JSON: %d %s %v", status, answer, err)
	}
	<-f.applied
	status, answer, err = c.Apply(t.Context(), bytes.Repeat([]byte(" "), MaxBody+1))
	if err != nil || status != 413 || !strings.Contains(string(answer), "256 KiB") {
		t.Errorf("too large: %d %s %v", status, answer, err)
	}
	if status, _, err = c.Apply(t.Context(), bytes.Repeat([]byte(" "), MaxBody)); err != nil || status != 400 {
		t.Errorf("just small enough: %d %v", status, err)
	}
	if got := <-f.applied; len(got) != MaxBody {
		t.Errorf("the box got %d bytes", len(got))
	}

	for sent, want := range map[string]string{
		"DELETE /v1/documents/state HTTP/1.1\r\nHost: box\r\n\r\n": "HTTP/1.1 404 ",
		"GET /v1/nothing HTTP/1.1\r\nHost: box\r\n\r\n":            "HTTP/1.1 404 ",
		"not http\r\n\r\n": "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": "HTTP/1.1 431 ",
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, sent)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, len(want))
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != want {
			t.Errorf("%.40q: got %q, %v, want %q", sent, b, err, want)
		}
		conn.Close()
	}
}

func TestWatch(t *testing.T) {
	f := newFake()
	path, stop := serve(t, f)
	c := NewClient(path)
	got := make(chan Change, 1)
	done := make(chan error, 1)
	go func() {
		done <- c.Watch(t.Context(), func(name string, body json.RawMessage) error {
			got <- Change{name, body}
			return nil
		})
	}()
	for _, name := range []string{"state", "telemetry"} {
		f.changes <- Change{name, json.RawMessage(`{"a":1}`)}
		if ch := <-got; ch.Name != name || string(ch.Body) != `{"a":1}` {
			t.Errorf("got %+v", ch)
		}
	}
	stop() // a watcher does not hold up the end
	if err := <-done; err == nil || !strings.Contains(err.Error(), "ended the watch") {
		t.Errorf("Watch: %v", err)
	}
}

func TestWatcherThatLeavesEndsItsWatch(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewClient(path).Watch(ctx, func(string, json.RawMessage) error { return nil }) }()
	<-f.watching
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	old := syscall.Umask(0o077)
	l, err := Listen(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a socket in use: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a socket left behind: %v", err)
	}
	again.Close()

	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	if _, err := Listen(file); err == nil {
		t.Error("a file is taken for a socket")
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

func TestNoDaemon(t *testing.T) {
	_, err := NewClient(filepath.Join(t.TempDir(), "none")).Document(t.Context(), "state")
	if err == nil || !strings.Contains(err.Error(), "is sluiced running?") {
		t.Errorf("got %v", err)
	}
}
