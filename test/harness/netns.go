package harness

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"sluice/relay/relaytest"
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
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EINVAL) {
		relaytest.EmulatorLacks(t, "clone(CLONE_NEWNET)", err)
	}
	if err != nil {
		t.Fatalf("in a network namespace (this needs root, or user namespaces): %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")) {
		t.Skipf("in a network namespace: %s", bytes.TrimSpace(out))
	}
	return false
}
