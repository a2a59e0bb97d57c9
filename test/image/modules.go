package image

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Modules returns the files of the named kernel modules and of all that they
// depend on, in the order in which they are to be loaded. What the kernel has
// built in needs none.
func (d Distribution) Modules(t *testing.T, names ...string) []string {
	t.Helper()
	dir := d.one(t, "lib/modules/*")
	files := make(map[string]string)
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".ko") {
			files[moduleName(p)] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	builtin := make(map[string]bool)
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(list)); s.Scan(); {
		builtin[moduleName(s.Text())] = true
	}

	var order []string
	seen := make(map[string]bool)
	var load func(string) error
	load = func(name string) error {
		if seen[name] || builtin[name] {
			return nil
		}
		seen[name] = true
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		needs, err := depends(file)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := load(n); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		order = append(order, file)
		return nil
	}
	for _, n := range names {
		if err := load(n); err != nil {
			t.Fatal(err)
		}
	}
	return order
}

// moduleName is that of a file, as the kernel writes it.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

// depends reads which modules one needs, from its section of lines that end
// with a zero byte.
func depends(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s: no .modinfo", file)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for line := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(line, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(strings.ReplaceAll(string(list), "-", "_"), ","), nil
		}
	}
	return nil, nil
}
