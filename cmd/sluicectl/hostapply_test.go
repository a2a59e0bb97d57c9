package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The command does what is wanted and answers; a request that is none is in its
// log, and fails nothing.
func TestHostApply(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(text))
	}
	put("proc/sys/kernel/hostname", "sluice\n")
	run := func(request string) (status int, said string) {
		put("run/wanted/settings.json", request)
		var out bytes.Buffer
		c := &command{in: &out, out: &out, err: &out, now: time.Now}
		status = c.run(t.Context(), []string{"host-apply", "--root", root, "--dir", filepath.Join(root, "run")})
		return status, out.String()
	}
	if status, said := run(`{"sequence": 7, "settings": {"hostname": "ob-van-3"}}`); status != exitOK {
		t.Errorf("status %d: %s", status, said)
	}
	if is, said := get("proc/sys/kernel/hostname"), get("run/applied.json"); is != "ob-van-3" || !strings.Contains(said, `"sequence":7,`) || !strings.Contains(said, `"done":true`) {
		t.Errorf("the host is called %q, the answer is %s", is, said)
	}
	if status, said := run(`{`); status != exitOK || !strings.Contains(said, "refused") {
		t.Errorf("a request that is none: status %d: %s", status, said)
	}
}
