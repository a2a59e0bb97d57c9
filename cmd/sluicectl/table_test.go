package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
)

var update = flag.Bool("update", false, "write the golden files")

// still is a box whose documents never change.
type still map[string]string

func (s still) Document(_ context.Context, name string) (json.RawMessage, error) {
	if body, ok := s[name]; ok {
		return json.RawMessage(body), nil
	}
	return nil, fmt.Errorf("%w %q", control.ErrNoDocument, name)
}

func (s still) Peek(ctx context.Context, name string) (json.RawMessage, bool) {
	body, err := s.Document(ctx, name)
	return body, err == nil
}

func (s still) Apply(context.Context, []byte) (config.Accepted, error) {
	return config.Accepted{}, errors.New("nothing changes")
}

func (still) Settle(context.Context, string, string) (uint64, error) { return 0, nil }

func (s still) Request(context.Context, string, any) (json.RawMessage, error) {
	return nil, errors.New("nothing happens")
}
func (s still) Watch(context.Context, func(string, json.RawMessage) error) error { return nil }
func (s still) Close()                                                           {}

// A box without a broker is not told to be one that has lost it.
func TestNoBroker(t *testing.T) {
	var out, errs screen
	c := &command{in: strings.NewReader(""), out: &out, err: &errs, width: 80, now: time.Now, box: still{"reported": "{}", "state": "{}"}}
	if status := c.run(t.Context(), []string{"status"}); status != 0 || !strings.Contains(out.String(), "Fleet     no broker is configured\n") {
		t.Errorf("%d\n%s%s", status, &out, &errs)
	}
}

// boxOf is a box with the documents of a file.
func boxOf(t *testing.T, file string) still {
	t.Helper()
	documents := still{}
	raw, err := os.ReadFile(file)
	check(t, err)
	var all map[string]json.RawMessage
	check(t, json.Unmarshal(raw, &all))
	for name, body := range all {
		documents[name] = string(body)
	}
	return documents
}

// prints runs a command on a terminal of so many columns, and compares what it
// prints with a golden file.
func prints(t *testing.T, b box, width int, args, golden string) {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var out, errs screen
	c := &command{in: strings.NewReader(""), out: &out, err: &errs, width: width, now: func() time.Time { return now }, box: b}
	if status := c.run(t.Context(), strings.Fields(args)); status != 0 {
		t.Errorf("%s: %d\n%s", args, status, &errs)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); width > 0 && n > width {
			t.Errorf("%s: a line of %d columns: %s", args, n, line)
		}
		if strings.ContainsAny(line, "\x1b\x07") {
			t.Errorf("%s: a control character: %q", args, line)
		}
	}
	golden = "testdata/" + golden + ".golden"
	if *update {
		check(t, os.WriteFile(golden, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if out.String() != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", args, &out, want)
	}
}

func TestTables(t *testing.T) {
	documents := boxOf(t, "testdata/box.json")
	for _, args := range []string{"status", "uplinks", "flows", "outputs", "outputs stage", "outputs stage/wall"} {
		prints(t, documents, 80, args, strings.NewReplacer(" ", "-", "/", "-").Replace(args))
	}
}

// Of two destinations, each has its state and reason.
func TestDestinations(t *testing.T) {
	documents := boxOf(t, "testdata/destinations.json")
	prints(t, documents, 80, "outputs stage/hub", "outputs-stage-hub")
}

func TestRedact(t *testing.T) {
	got := string(redact([]byte(`{"schema": "x", "version": 12345678901234567, "surprise": "s1", "secrets": {"a": "s2", "b": {"x": "s3"}},
		"state": {"flows": [{"id": "f", "outputs": [
			{"id": "o", "srt": {"passphrase": "s4", "passphrse": "s5", "port": 9000}, "allow": "10.0.0.0/8"},
			{"id": "p", "rtmp": {"destinations": [{"url": "rtmp://h/a", "stream_key": "s6"}]}},
			{"id": "q", "rtmp": {"stream_key": "public"}, "rtsp": {"password": ["s7"], "username": {"deep": "s8"}}}]}]}}`)))
	for _, secret := range []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"} {
		if strings.Contains(got, `"`+secret+`"`) {
			t.Errorf("%s is shown: %s", secret, got)
		}
	}
	for _, kept := range []string{"12345678901234567", `"stream_key":"public"`, `"allow":"10.0.0.0/8"`, `"passphrase":{"set":true}`, `"a":{"set":true}`, "rtmp://h/a"} {
		if !strings.Contains(got, kept) {
			t.Errorf("%s is lost: %s", kept, got)
		}
	}
	if got := string(redact([]byte(`not json: "s1"`))); strings.Contains(got, "s1") {
		t.Errorf("what cannot be read is shown: %s", got)
	}
}
