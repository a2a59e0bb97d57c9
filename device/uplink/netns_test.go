package uplink

import (
	"context"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"sluice/relay/endpoint"
	"sluice/test/harness"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An outside is a second namespace, where the other ends of the cables are.
type outside struct{ ns netns.NsHandle }

func newOutside(t *testing.T) *outside {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	ns, err := netns.New()
	must(t, err)
	must(t, netns.Set(home))
	t.Cleanup(func() { ns.Close() })
	o := &outside{ns}
	o.do(t, func() { up(t, "lo", "") })
	return o
}

// do runs f, which must make its sockets on its own goroutine, outside.
func (o *outside) do(t *testing.T, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	must(t, netns.Set(o.ns))
	defer func() { must(t, netns.Set(home)) }()
	f()
}

// cable connects a NIC here to one outside.
func (o *outside) cable(t *testing.T, here, hereAddr, there, thereAddr string) {
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there}))
	peer, err := netlink.LinkByName(there)
	must(t, err)
	must(t, netlink.LinkSetNsFd(peer, int(o.ns)))
	up(t, here, hereAddr)
	o.do(t, func() { up(t, there, thereAddr) })
}

func up(t *testing.T, name, addr string) {
	link, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		must(t, err)
		must(t, netlink.AddrAdd(link, a))
	}
}

// received returns what one read brings within wait, or nothing.
func received(t *testing.T, c net.PacketConn, wait time.Duration) string {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(wait)))
	b := make([]byte, 100)
	n, _, err := c.ReadFrom(b)
	if err != nil && !os.IsTimeout(err) {
		t.Fatal(err)
	}
	return string(b[:n])
}

// Two NICs, two uplinks: what belongs to one never passes through the other.
func TestSocketsStayOnTheirNIC(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	// Two peers: one alone would answer for all its addresses on both cables.
	lan, wan := newOutside(t), newOutside(t)
	lan.cable(t, "a0", "10.1.0.1/24", "a1", "10.1.0.2/24")
	wan.cable(t, "b0", "10.2.0.1/24", "b1", "10.2.0.2/24")
	m := New([]Local{{"lan0", "a0"}, {"wan0", "b0"}}, quiet())
	a, b := m.Get("lan0"), m.Get("wan0")
	eventually(t, "both uplinks ready", func() bool { m.Set(nil); return a.Ready() == nil && b.Ready() == nil })

	// The same port on both: each gets what comes in on its own NIC.
	la, err := a.ListenConfig().ListenPacket(t.Context(), "udp4", "0.0.0.0:5004")
	must(t, err)
	defer la.Close()
	lb, err := b.ListenConfig().ListenPacket(t.Context(), "udp4", "0.0.0.0:5004")
	must(t, err)
	defer lb.Close()
	for to, from := range map[string]*outside{"10.2.0.1:5004": wan, "10.1.0.1:5004": lan} {
		from.do(t, func() {
			c, err := net.Dial("udp4", to)
			must(t, err)
			defer c.Close()
			_, err = c.Write([]byte(to))
			must(t, err)
		})
	}
	if got := received(t, lb, 10*time.Second); got != "10.2.0.1:5004" {
		t.Errorf("wan0 received %q", got)
	}
	if got := received(t, la, 10*time.Second); got != "10.1.0.1:5004" {
		t.Errorf("lan0 received %q: want only what came in on its NIC", got)
	}
	if got := received(t, la, 50*time.Millisecond); got != "" {
		t.Errorf("lan0 received %q too", got)
	}

	// A peer behind wan0 cannot be reached through lan0.
	var l net.Listener
	wan.do(t, func() { l, err = net.Listen("tcp4", "10.2.0.2:7000") })
	must(t, err)
	defer l.Close()
	c, err := dial(t, b, 10*time.Second)
	must(t, err)
	c.Close()
	if c, err := dial(t, a, 300*time.Millisecond); err == nil {
		c.Close()
		t.Error("lan0 reached a peer behind wan0")
	}
}

func dial(t *testing.T, u endpoint.Uplink, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return u.Dialer().DialContext(ctx, "tcp4", "10.2.0.2:7000")
}

// Readiness follows the NIC; only what sockets cannot survive is a new
// generation.
func TestReadinessFollowsTheNIC(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	m := New([]Local{{"wan0", "b0"}}, quiet())
	u := m.Get("wan0")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()

	ready := func() bool { return u.Ready() == nil }
	reason := func(code string) func() bool {
		return func() bool { r := u.Ready(); return r != nil && r.Code == code }
	}
	out := newOutside(t)
	eventually(t, "no NIC", reason("nic_absent"))
	out.cable(t, "b0", "10.2.0.1/24", "b1", "10.2.0.2/24")
	eventually(t, "ready", ready)

	born := u.Generation()
	carrier := func(on bool) {
		out.do(t, func() {
			peer, err := netlink.LinkByName("b1")
			must(t, err)
			if on {
				must(t, netlink.LinkSetUp(peer))
			} else {
				must(t, netlink.LinkSetDown(peer))
			}
		})
	}
	carrier(false)
	eventually(t, "no carrier", reason("no_carrier"))
	carrier(true)
	eventually(t, "ready again", ready)
	if u.Generation() != born {
		t.Error("a pulled cable made a new generation")
	}

	link, err := netlink.LinkByName("b0")
	must(t, err)
	first, second := address(t, "10.2.0.1/24"), address(t, "10.3.0.1/24")
	must(t, netlink.AddrAdd(link, second))
	eventually(t, "two addresses", func() bool { return len(u.Addresses()) == 2 })
	if u.Generation() != born {
		t.Error("a further address made a new generation")
	}
	must(t, netlink.AddrDel(link, first))
	eventually(t, "a new generation for a lost address", func() bool { return u.Generation() > born })
	must(t, netlink.AddrDel(link, second))
	eventually(t, "no address", reason("no_address"))
	must(t, netlink.LinkSetDown(link))
	eventually(t, "switched off", reason("link_down"))
	must(t, netlink.LinkDel(link))
	eventually(t, "no NIC", reason("nic_absent"))
	if n := u.Interface(); n != "" {
		t.Errorf("the interface is %q", n)
	}
}

func address(t *testing.T, s string) *netlink.Addr {
	a, err := netlink.ParseAddr(s)
	must(t, err)
	return a
}
