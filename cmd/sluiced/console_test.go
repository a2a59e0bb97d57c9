package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// A visitor is someone at the box's control socket.
type visitor struct {
	t *testing.T
	*control.Client
}

func visit(t *testing.T, p *process) visitor {
	c := control.NewClient(p.socket)
	t.Cleanup(c.Close)
	return visitor{t, c}
}

// ask makes a request and returns the answer's data, or what refused it.
func (v visitor) ask(name string, data any) (status int, answer map[string]any) {
	v.t.Helper()
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), 30*time.Second)
	defer cancel()
	status, raw, err := v.Request(ctx, name, body)
	if err != nil {
		v.t.Fatalf("%s: %v", name, err)
	}
	var r struct {
		Data  map[string]any
		Error map[string]any
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		v.t.Fatalf("%s: %s", name, raw)
	}
	if r.Error != nil {
		return status, r.Error
	}
	return status, r.Data
}

func (v visitor) document(name string) map[string]any {
	v.t.Helper()
	raw, err := v.Document(v.t.Context(), name)
	if err != nil {
		v.t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(raw, &d); err != nil {
		v.t.Fatal(err)
	}
	return d
}

// Somebody comes with the first password, writes a candidate, commits it, asks
// why it does not work, takes a bundle home, and leaves the box as it was made:
// over the socket of the whole daemon.
func TestVisit(t *testing.T) {
	harness.NeedRules(t)
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	p := start(t, "--state", state)
	v := visit(t, p)
	first, _ := v.document("console")["first_password"].(string)
	if v.document("console")["factory"] != true || first == "" {
		t.Fatalf("console: %v", v.document("console"))
	}
	if status, why := v.ask("console-login", map[string]any{"name": "anna", "password": "planted-guess", "line": "ttyS1"}); status != 401 {
		t.Errorf("with a wrong password: %d %v", status, why)
	}
	if status, why := v.ask("console-login", map[string]any{"name": "anna", "password": first, "line": "ttyS1"}); status != 429 {
		t.Errorf("too early: %d %v", status, why)
	}
	eventually(t, "the pause is over", func() bool {
		status, in := v.ask("console-login", map[string]any{"name": "anna", "password": first, "line": "ttyS1"})
		if session, ok := in["session"].(string); ok {
			v.SetSession(session)
		}
		return status == 200
	})
	if got := v.document("console")["first_password"]; got != nil {
		t.Errorf("it is still shown: %v", got)
	}
	if status, why := v.ask("console-password", map[string]any{"password": "planted-password"}); status != 200 {
		t.Errorf("a new password: %d %v", status, why)
	}

	// One flow refuses the other for its passphrase.
	in, other := relaytest.FreePort(t), relaytest.FreePort(t)
	document := json.RawMessage(fmt.Sprintf(`{"schema":"sluice.config/v1","state":{"flows":[
		{"id":"a","name":"A","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":%d}}],
		 "outputs":[{"id":"call","name":"Call","protocol":"SRT","srt":{"mode":"caller","destinations":[{"host":"127.0.0.1","port":%d}],"passphrase":"planted-wrong-one"}}]},
		{"id":"b","name":"B","inputs":[{"id":"i","protocol":"SRT","srt":{"mode":"listener","port":%d,"passphrase":{"secret":"right"}}}]}]},
		"secrets":{"right":"planted-right-one"}}`, other, in, in))
	status, put := v.ask("candidate-put", map[string]any{"revision": 0, "document": document})
	if status != 200 {
		t.Fatalf("put: %d %v", status, put)
	}
	if c := v.document("candidate"); c["by"] != "anna" || c["changed"] != true || c["revision"] != put["revision"] {
		t.Errorf("candidate %v", c)
	}
	if status, check := v.ask("candidate-check", map[string]any{}); status != 200 || check["rejected"] != nil {
		t.Errorf("check: %d %v", status, check)
	}
	if status, done := v.ask("candidate-commit", map[string]any{"comment": "first light"}); status != 200 || done["accepted"] == nil {
		t.Fatalf("commit: %d %v", status, done)
	}
	var text string
	eventually(t, "it is told why the call is refused", func() bool {
		_, why := v.ask("output-explain", map[string]any{"flow": "a", "output": "call"})
		text, _ = why["text"].(string)
		return strings.HasPrefix(text, "a/call is rejected: ")
	})
	if !strings.Contains(text, "; nothing comes to the input i, lan0 is ready on lo") {
		t.Errorf("why: %s", text)
	}
	eventually(t, "the state tells it too", func() bool {
		raw, err := v.Document(t.Context(), "state")
		return err == nil && strings.Contains(string(raw), `"rejected"`)
	})
	if status, result := v.ask("test", map[string]any{"test": "output", "flow": "a", "output": "call"}); status != 200 || result["ok"] != true {
		t.Errorf("test: %d %v", status, result)
	}
	if status, _ := v.ask("identify", map[string]any{}); status != 501 {
		t.Errorf("identify: %d", status)
	}

	status, bundle := v.ask("support-bundle", map[string]any{})
	if status != 200 {
		t.Fatalf("bundle: %d %v", status, bundle)
	}
	files := filesOf(t, bundle["base64"].(string))
	for name, want := range map[string]string{
		"log.txt": "running", "events.ndjson": `"type":"local_edit"`, "network.txt": "127.0.0.1/8", "sockets.txt": fmt.Sprintf(":%d -> ", in),
		"commits.json": "first light", "reported.json": `"set": true`, "state.json": "rejected", "goroutines.txt": "relay",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
	for name, body := range files {
		for _, secret := range []string{"planted", first, "argon2id$", "AGE-SECRET", "PRIVATE KEY"} {
			if i := strings.Index(body, secret); i >= 0 {
				t.Errorf("%s tells a secret: ...%s...", name, body[max(0, i-200):min(len(body), i+60)])
			}
		}
	}
	if said := p.out.String() + p.err.String(); strings.Contains(said, "planted") || strings.Contains(said, first) {
		t.Errorf("the log tells a secret: %s", said)
	}

	// The daemon ends by itself, with status 0, and starts empty.
	if status, why := v.ask("factory-reset", map[string]any{"serial_number": "not this one"}); status != 409 {
		t.Errorf("another box: %d %v", status, why)
	}
	serial, _ := v.document("info")["serial_number"].(string)
	if serial == "" {
		serial = "test-box"
	}
	if status, why := v.ask("factory-reset", map[string]any{"serial_number": serial}); status != 200 {
		t.Fatalf("reset: %d %v", status, why)
	}
	select {
	case status := <-p.done:
		if status != 0 {
			t.Errorf("it ends with %d", status)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(filepath.Join(state, "candidate")); err == nil {
		t.Error("the candidate is left")
	}
	p = start(t, "--state", state)
	defer p.end(t)
	if c := visit(t, p).document("console"); c["factory"] != true || c["first_password"] == first || c["first_password"] == nil {
		t.Errorf("after the reset: %v", c)
	}
}

// filesOf unpacks a bundle.
func filesOf(t *testing.T, text string) map[string]string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	files, archive := map[string]string{}, tar.NewReader(zipped)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "sluice-test-box/")] = string(body)
	}
}

// The password may be given in a file, or as a credential of the service
// manager; a file that cannot be used is told of at the start.
func TestConsolePasswordFile(t *testing.T) {
	dir := t.TempDir()
	credential := filepath.Join(dir, "console.password")
	if err := os.WriteFile(credential, []byte("from the label\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"flag": {"--console-password-file", credential}, "credential": nil} {
		if args == nil {
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
		}
		p := start(t, args...)
		v := visit(t, p)
		if got := v.document("console")["first_password"]; got != nil {
			t.Errorf("%s: it is shown: %v", name, got)
		}
		if status, why := v.ask("console-login", map[string]any{"name": "anna", "password": "from the label", "line": ""}); status != 200 {
			t.Errorf("%s: %d %v", name, status, why)
		}
		p.end(t)
	}
	var errs output
	args := []string{"--state", filepath.Join(dir, "other"), "--device", "x", "--control", filepath.Join(dir, "x.sock"), "--console-password-file", filepath.Join(dir, "none")}
	if status := run(args, nil, io.Discard, &errs); status != 1 || !strings.Contains(errs.String(), "the console's password") {
		t.Errorf("a file that is not there: %d %s", status, &errs)
	}
}
