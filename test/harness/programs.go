// Package harness is what the tests of the built programs share: the programs
// themselves, those of others beside them, and who watches a stream.
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// bin is where Main puts the programs.
var bin string

// Main builds the programs and runs the tests, a few at a time: they wait more
// than they compute. It returns the exit status for TestMain.
func Main(m *testing.M, parallel int) int {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // some are run by other users
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "sluice/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Program returns the path of one of our own programs.
func Program(name string) string { return filepath.Join(bin, name) }

// Need returns the path of a program of others, or says what to install.
func Need(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	t.Fatalf("%s is not installed: apt-get install %s (make test does)", name, pkg)
	return ""
}

// Long tells whether tests may take minutes: make test-full says so.
func Long() bool { return os.Getenv("SLUICE_TEST_LONG") != "" }
