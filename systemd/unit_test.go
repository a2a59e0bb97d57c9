package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// systemd itself finds no fault with the unit, and rates its exposure at 2.0
// or better (of 10, less is better).
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd here to ask (apt-get install systemd)")
	}
	unit, err := os.ReadFile("sluiced.service")
	if err != nil {
		t.Fatal(err)
	}
	// The program need not be installed where the tests run.
	unit = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAll(unit, []byte("ExecStart=/bin/true"))
	file := filepath.Join(t.TempDir(), "sluiced.service")
	if err := os.WriteFile(file, unit, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold=20", file).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
