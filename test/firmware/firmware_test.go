// Package firmware holds what can be said of the box's firmware without booting
// it: the packages, the systemd units, the Buildroot tree and the scripts.
package firmware

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/test/harness"
)

// root is where the module begins.
var root, _ = filepath.Abs(filepath.Join("..", ".."))

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files returns the files below a directory of the repository, as paths from
// its root.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			p, err = filepath.Rel(root, p)
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// shell runs a script in the root of the repository, with $1 and so on, and
// returns what it prints.
func shell(t *testing.T, script string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Every shell script is one, and shellcheck has nothing to say of it.
func TestShellScripts(t *testing.T) {
	t.Parallel()
	shellcheck := harness.Need(t, "shellcheck", "shellcheck")
	found := 0
	for _, dir := range []string{"scripts", "systemd", "buildroot", ".ci"} {
		for _, file := range files(t, dir) {
			first, _, _ := strings.Cut(read(t, file), "\n")
			interpreter, ok := strings.CutPrefix(first, "#!")
			if !ok {
				if strings.HasSuffix(file, ".sh") {
					t.Errorf("%s does not say what runs it", file)
				}
				continue
			}
			found++
			words := strings.Fields(interpreter)
			sh := words[len(words)-1]
			if out, err := exec.Command(sh, "-n", filepath.Join(root, file)).CombinedOutput(); err != nil {
				t.Errorf("%s -n %s: %v\n%s", sh, file, err, out)
			}
			if out, err := exec.Command(shellcheck, filepath.Join(root, file)).CombinedOutput(); err != nil {
				t.Errorf("shellcheck: %s", out)
			}
			if info, err := os.Stat(filepath.Join(root, file)); err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s cannot be run: its mode is %v", file, info.Mode())
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d scripts only", found)
	}
}
