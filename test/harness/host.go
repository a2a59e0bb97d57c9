package harness

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Host is one machine of a topology: a network namespace without a name,
// which is gone with the last process that uses it, however the test ends.
type Host struct {
	Name string
	ns   netns.NsHandle
}

// NewHost makes a host with nothing but its loopback.
func NewHost(t *testing.T, name string) *Host {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("a network namespace needs root: %v", err)
	}
	must(t, netns.Set(home))
	t.Cleanup(func() { ns.Close() })
	h := &Host{name, ns}
	h.Sh(t, `ip link set lo up`)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Do runs f on the host. Sockets that f makes on its own goroutine, and
// programs that it starts, stay there.
func (h *Host) Do(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	must(t, netns.Set(h.ns))
	defer func() { must(t, netns.Set(home)) }()
	f()
}

// Sh runs a shell script on the host, to its end or its first failure.
func (h *Host) Sh(t *testing.T, script string) string {
	t.Helper()
	var out []byte
	var err error
	h.Do(t, func() {
		cmd := exec.Command("sh", "-e")
		cmd.Stdin = strings.NewReader("PATH=$PATH:/usr/sbin:/sbin\n" + script)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("on %s: %v\n%s\n%s", h.Name, err, script, out)
	}
	return string(out)
}

// Start runs a program on the host, until the test ends.
func (h *Host) Start(t *testing.T, path string, args []string, prepare func(*exec.Cmd)) (p *Process) {
	t.Helper()
	h.Do(t, func() { p = Start(t, path, args, prepare) })
	return p
}

// Cable connects a NIC of one host to one of another. Both are new, and up.
func Cable(t *testing.T, a *Host, nicA string, b *Host, nicB string) {
	t.Helper()
	a.Do(t, func() {
		must(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: nicA}, PeerName: nicB, PeerNamespace: netlink.NsFd(b.ns),
		}))
	})
	a.Sh(t, "ip link set "+nicA+" up")
	b.Sh(t, "ip link set "+nicB+" up")
}
