package port

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A second opener is refused by a sentence with the pid of the first, and gets
// the port once that one gave it back.
func TestOnePortOneProcess(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	first := openPort(t, c)
	name := lockFile(c.LockDir, w.name)
	if b, err := os.ReadFile(name); err != nil || string(b) != fmt.Sprintf("%10d\n", os.Getpid()) {
		t.Errorf("the lock file: %q, %v", b, err)
	}
	_, err := Open(t.Context(), c)
	want := fmt.Sprintf("%s is in use by process %d (", w.name, os.Getpid())
	if !errors.Is(err, ErrInUse) || !strings.HasPrefix(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	// Nor with another directory for lock files, nor by another name.
	link := filepath.Join(t.TempDir(), "tty")
	check(t, os.Symlink(w.name, link))
	other := config(t, link)
	if _, err := Open(t.Context(), other); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("by the lock on the device: %v", err)
	}
	check(t, first.Close())
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the lock file is left: %v", err)
	}
	openPort(t, other)
}

// A lock file holds for as long as its process is alive and has the port.
func TestLockFilesOfOthers(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	name := lockFile(c.LockDir, w.name)
	idle := child(t, nil)
	user := child(t, w)
	check(t, os.WriteFile(name, fmt.Appendf(nil, "%10d minicom root\n", user.Process.Pid), 0o600))
	_, err := Open(t.Context(), c)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (cat)", user.Process.Pid)) {
		t.Errorf("of a process that has the port: %v", err)
	}
	check(t, user.Process.Kill())
	_ = user.Wait()
	for what, text := range map[string]string{
		"a process that is gone":      fmt.Sprint(user.Process.Pid),
		"another process by that pid": fmt.Sprint(idle.Process.Pid),
		"our own pid":                 fmt.Sprint(os.Getpid()),
		"nobody":                      "",
		"garbage":                     "\x00\xff nonsense",
		"a number that is no pid":     "-1",
		"a page":                      strings.Repeat("1 ", 4096),
	} {
		check(t, os.WriteFile(name, []byte(text), 0o600))
		p, err := Open(t.Context(), c)
		if err != nil {
			t.Errorf("of %s: %v", what, err)
			continue
		}
		if b, _ := os.ReadFile(name); string(b) != fmt.Sprintf("%10d\n", os.Getpid()) {
			t.Errorf("of %s: it is not taken over: %q", what, b)
		}
		p.Close()
	}
}

// A directory in which nothing can be written costs the lock file alone.
func TestNoLockFile(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	c.LockDir = filepath.Join(c.LockDir, "none")
	openPort(t, c)
	if _, err := Open(t.Context(), c); !errors.Is(err, ErrInUse) {
		t.Errorf("a second time: %v", err)
	}
}

// child is a process that waits, with the device open where there is one.
func child(t *testing.T, w *wire) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	check(t, err)
	if w != nil {
		f, err := os.OpenFile(w.name, os.O_RDWR, 0)
		check(t, err)
		defer f.Close()
		cmd.ExtraFiles = []*os.File{f}
	}
	check(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	// Until it is cat, it is a copy of the test.
	deadline := time.Now().Add(within)
	for {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); err == nil && string(b) == "cat\n" {
			return cmd
		}
		if time.Now().After(deadline) {
			t.Fatal("cat does not start")
		}
		<-time.After(time.Millisecond)
	}
}

func TestLockFileNames(t *testing.T) {
	for path, want := range map[string]string{
		"/dev/no-such-tty":    "/l/LCK..no-such-tty",
		"/dev/pts/none":       "/l/LCK..pts_none",
		"/none/serial/by-id":  "/l/LCK..none_serial_by-id",
		"/dev/../dev/no-such": "/l/LCK..no-such",
	} {
		if got := lockFile("/l", filepath.Clean(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func FuzzLockPID(f *testing.F) {
	for _, s := range []string{"      1234\n", "12 minicom root", "", "-1", "99999999999999999999", "\x00\x01\x02\x03"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if pid := lockPID(b); pid < 0 || pid > 1<<31-1 {
			t.Errorf("%q: %d", b, pid)
		}
	})
}
