package port

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultLockDir is where programs for serial lines leave their lock files
// (FHS 5.9: /run/lock/LCK..ttyS1, the pid in ten columns and a newline).
const DefaultLockDir = "/run/lock"

// A lock is what keeps other processes off a port. There are two, because there
// are two customs: flock(2) on the device (picocom, and ourselves), which the
// kernel ends with the process and which is therefore never stale, and a lock
// file (minicom, cu, uucp), which is taken over where its process is gone. A
// lock file that we may not write is done without.
type lock struct {
	file string // "" where there is none
}

// take locks the device that own is open on.
func take(own *os.File, dir string) (*lock, error) {
	path := own.Name()
	name := lockFile(dir, path)
	if pid := fileHolder(name, path); pid != 0 {
		return nil, inUse(path, pid)
	}
	if err := flock(own); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, inUse(path, holder(path))
		}
		return nil, fmt.Errorf("%s cannot be locked: %w", path, err)
	}
	// What is left of it belongs to nobody.
	_ = os.Remove(name)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		if pid := fileHolder(name, path); pid != 0 { // faster than we
			return nil, inUse(path, pid)
		}
		return &lock{}, nil
	}
	_, err = fmt.Fprintf(f, "%10d\n", os.Getpid())
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name)
		return &lock{}, nil
	}
	return &lock{file: name}, nil
}

// flock locks the open file for as long as it is open.
func flock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) { refused = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	return refused
}

// release removes the lock file, before the device is closed. The other lock
// ends with that.
func (l *lock) release() {
	if l.file != "" {
		_ = os.Remove(l.file)
	}
}

// inUse is an ErrInUse for people.
func inUse(path string, pid int) error {
	if pid == 0 {
		return fmt.Errorf("%s is %w by another process", path, ErrInUse)
	}
	who := fmt.Sprintf("process %d", pid)
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		who += fmt.Sprintf(" (%s)", strings.TrimSpace(string(name)))
	}
	return fmt.Errorf("%s is %w by %s: end that first", path, ErrInUse, who)
}

// lockFile is the lock file of a device. A link stands for what it leads to.
func lockFile(dir, path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	name := strings.TrimPrefix(path, "/dev/")
	return filepath.Join(dir, "LCK.."+strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", "_"))
}

// fileHolder returns the process that a lock file names, and 0 where there is
// none, or where the process is gone or is another one by now.
func fileHolder(name, path string) int {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLockFile+1))
	if err != nil {
		return 0
	}
	pid := lockPID(b)
	// A file that names ourselves is left from a process that had our pid: of
	// what this process has open the other lock knows.
	if pid == 0 || pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	if has, known := hasOpen(pid, path); known && !has {
		return 0
	}
	return pid
}

// maxLockFile bounds what a lock file may hold, in bytes: minicom writes its
// own name and the user's after the pid.
const maxLockFile = 128

// lockPID reads a lock file. 0: it names no process.
func lockPID(b []byte) int {
	fields := bytes.Fields(b)
	if len(b) > maxLockFile || len(fields) == 0 {
		return 0
	}
	pid, err := strconv.ParseInt(string(fields[0]), 10, 32)
	if err != nil || pid < 0 {
		return 0
	}
	return int(pid)
}

// hasOpen tells whether a process has the device open. known is false where we
// may not look.
func hasOpen(pid int, path string) (has, known bool) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, false
	}
	var device, open unix.Stat_t
	if unix.Stat(path, &device) != nil {
		return false, false
	}
	for _, e := range entries {
		if unix.Stat(filepath.Join(dir, e.Name()), &open) == nil && open.Mode&unix.S_IFMT == unix.S_IFCHR && open.Rdev == device.Rdev {
			return true, true
		}
	}
	return false, true
}

// holder returns the process with a flock on the device, 0 if there is none.
func holder(path string) int {
	var device unix.Stat_t
	if unix.Stat(path, &device) != nil {
		return 0
	}
	// proc_locks(5): 1: FLOCK ADVISORY WRITE 1234 00:05:89 0 EOF
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(device.Dev)), unix.Minor(uint64(device.Dev)), device.Ino)
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == inode {
			pid, _ := strconv.Atoi(f[4])
			return pid
		}
	}
	return 0
}
