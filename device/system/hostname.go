package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The kernel's host name is the one that counts: who asks for it as a D-Bus
// property is told this one, and writing to /proc wakes those who wait for a
// change. What a box is called by itself (/etc/hostname) stays.
const kernelHostname = "proc/sys/kernel/hostname"

func (a *Applier) hostname() (string, error) {
	text, err := os.ReadFile(filepath.Join(a.root, kernelHostname))
	return strings.TrimSpace(string(text)), err
}

func (a *Applier) setHostname(name string) error {
	if is, err := a.hostname(); err == nil && is == name {
		return nil
	}
	if err := os.WriteFile(filepath.Join(a.root, kernelHostname), []byte(name), 0o644); err != nil {
		return fmt.Errorf("the host name cannot be set: %w", err)
	}
	return nil
}

// giveName gives the host a name, or its own back where none is wanted.
func (a *Applier) giveName(name string) error {
	kept := filepath.Join(a.dir, "hostname")
	own, err := os.ReadFile(kept)
	switch {
	case errors.Is(err, fs.ErrNotExist) && name == "":
		return nil // it has its own
	case errors.Is(err, fs.ErrNotExist):
		is, err := a.hostname()
		if err != nil {
			return err
		}
		if err := writeWhole(kept, []byte(is+"\n")); err != nil {
			return err
		}
	case err != nil:
		return err
	case name == "":
		name = strings.TrimSpace(string(own))
	}
	return a.setHostname(name)
}

// bootID tells this start of the box from any other.
func bootID(root string) string {
	text, _ := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	return strings.TrimSpace(string(text))
}
