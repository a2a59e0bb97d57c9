package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is what a command prints, read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args       string
		status     int
		out, error string
	}{
		{"--help", 0, "--mqtt-password-file", ""},
		{"--version", 0, "sluice-fleet ", ""},
		{"--nonsense", 2, "", "unknown flag"},
		{"extra", 2, "", "argument too many"},
		{"--mqtt-listen 0.0.0.0:0", 2, "", "--mqtt-password-file"},
		{"--mqtt-listen :1883", 2, "", "--mqtt-password-file"},
		{"--broker http://example.com", 2, "", "scheme"},
		{"--broker mqtt://me:secret@example.com", 2, "", "holds a user"},
		{"--broker mqtt://example.com --state x", 2, "", "--state"},
		{"--listen 127.0.0.1:0 --mqtt-listen 127.0.0.1:0 --mqtt-password-file /nonexistent", 1, "", "no such file"},
		{"--listen nonsense --mqtt-listen 127.0.0.1:0", 1, "", "page"},
	} {
		var out, errs output
		if status := run(t.Context(), strings.Fields(c.args), &out, &errs); status != c.status ||
			!strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.error) {
			t.Errorf("%s: status %d\n%s%s", c.args, status, &out, &errs)
		}
		if strings.Contains(errs.String(), "secret") {
			t.Errorf("%s: a password is shown: %s", c.args, &errs)
		}
	}
}

func TestServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs output
	done := make(chan int, 1)
	state := filepath.Join(t.TempDir(), "state")
	go func() {
		done <- run(ctx, []string{"--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--state", state}, &out, &errs)
	}()
	address := regexp.MustCompile(`http://\S+/`)
	deadline := time.Now().Add(10 * time.Second)
	for !address.MatchString(errs.String()) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not start:\n%s", &errs)
		}
		time.Sleep(5 * time.Millisecond)
	}
	resp, err := http.Get(address.FindString(errs.String()))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || !bytes.Contains(body, []byte("No box has been heard of")) {
		t.Errorf("%d\n%s", resp.StatusCode, body)
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d\n%s", status, &errs)
	}
	if _, err := os.Stat(state); err != nil {
		t.Error(err)
	}
}
