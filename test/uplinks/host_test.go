package uplinks

import (
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"sluice/test/harness"
)

// A host is one machine of a topology: a network namespace without a name,
// which is gone with the last process that uses it, however the test ends.
type host struct {
	name string
	ns   netns.NsHandle
}

func newHost(t *testing.T, name string) *host {
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
	h := &host{name, ns}
	h.sh(t, `ip link set lo up`)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do runs f on the host. Sockets that f makes on its own goroutine, and
// programs that it starts, stay there.
func (h *host) do(t *testing.T, f func()) {
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

// sh runs a shell script on the host, to its end or its first failure.
func (h *host) sh(t *testing.T, script string) string {
	t.Helper()
	var out []byte
	var err error
	h.do(t, func() {
		cmd := exec.Command("sh", "-e")
		cmd.Stdin = strings.NewReader("PATH=$PATH:/usr/sbin:/sbin\n" + script)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		t.Fatalf("on %s: %v\n%s\n%s", h.name, err, script, out)
	}
	return string(out)
}

// start runs a program on the host, until the test ends.
func (h *host) start(t *testing.T, path string, args []string, prepare func(*exec.Cmd)) (p *harness.Process) {
	t.Helper()
	h.do(t, func() { p = harness.Start(t, path, args, prepare) })
	return p
}

// listenUDP opens a UDP port on the host.
func (h *host) listenUDP(t *testing.T, port int) (conn *net.UDPConn) {
	t.Helper()
	h.do(t, func() {
		var err error
		conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		must(t, err)
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// cable connects a NIC of one host to one of another. Both are new, and up.
func cable(t *testing.T, a *host, nicA string, b *host, nicB string) {
	t.Helper()
	a.do(t, func() {
		must(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: nicA}, PeerName: nicB, PeerNamespace: netlink.NsFd(b.ns),
		}))
	})
	a.sh(t, "ip link set "+nicA+" up")
	b.sh(t, "ip link set "+nicB+" up")
}
