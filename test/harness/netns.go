package harness

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// InNetns runs the test once more as a process of its own in a fresh network
// namespace, and reports whether this is that process. What it does to the
// network is gone with the process. Who is not root gets a user namespace
// around it, which not every system allows.
func InNetns(t testing.TB) bool {
	t.Helper()
	const name = "SLUICE_TEST_NETNS"
	if os.Getenv(name) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), name+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace (this needs root, or user namespaces): %v\n%s", err, out)
	}
	return false
}
