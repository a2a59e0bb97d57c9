package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/test/harness"
)

// The far address is behind every gateway; who answers there says which.
const far = "203.0.113.9"

// gateway makes o a router to the far address, and has it say name there.
func (o *outside) gateway(t *testing.T, name string) {
	o.do(t, func() {
		// Only who routes there gets there: the kernel looks on the link for
		// what it has no route to.
		must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0))
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.AddrAdd(lo, address(t, far+"/32")))
		l, err := net.Listen("tcp4", far+":7000")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintf(c, "%s heard %s", name, c.RemoteAddr().(*net.TCPAddr).IP)
				c.Close()
			}
		}()
	})
}

// heard returns what is said at the far address, reached through the uplink.
func heard(t *testing.T, u endpoint.Uplink, within time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := u.Dialer().DialContext(ctx, "tcp4", far+":7000")
	if err != nil {
		return "", err
	}
	defer c.Close()
	said, err := io.ReadAll(c)
	return string(said), err
}

// expect dials until the far end says what is expected.
func expect(t *testing.T, u endpoint.Uplink, want string) {
	t.Helper()
	got, err := heard(t, u, 10*time.Second)
	if err != nil || got != want {
		t.Errorf("through %s: %q, %v: want %q", u.Name(), got, err, want)
	}
}

func defaultRoute(t *testing.T, nic, via string, metric int) {
	t.Helper()
	link, err := netlink.LinkByName(nic)
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(via), Priority: metric}))
}

// run runs the manager until the test ends, or until the function returned.
func run(t *testing.T, m *Manager) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// Each uplink reaches the same far address through its own gateway, although
// the main table prefers one of them, and nothing gets around a cable that is
// out.
func TestOwnGateway(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	one, two := newOutside(t), newOutside(t)
	one.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	two.cable(t, "w1", "10.2.0.1/24", "p1", "10.2.0.2/24")
	one.gateway(t, "one")
	two.gateway(t, "two")
	defaultRoute(t, "w1", "10.2.0.2", 10) // better than any through w0
	gateway := ip("10.1.0.2")
	m := New(nil, quiet())
	configs := []Config{
		{Name: "wan0", Match: &Match{Interface: "w0"}, Gateway4: &gateway},
		{Name: "wan1", Match: &Match{Interface: "w1"}},
	}
	must(t, m.Set(configs))
	run(t, m)
	a, b := m.Get("wan0"), m.Get("wan1")
	ready := func() bool { return a.Ready() == nil && b.Ready() == nil }
	eventually(t, "both uplinks ready", ready)
	expect(t, a, "one heard 10.1.0.1")
	expect(t, b, "two heard 10.2.0.1")

	// Switched off and on again: the kernel has dropped the routes, and says
	// nothing of it.
	link, err := netlink.LinkByName("w0")
	must(t, err)
	must(t, netlink.LinkSetDown(link))
	eventually(t, "wan0 switched off", func() bool { return a.Ready() != nil })
	if said, err := heard(t, a, 300*time.Millisecond); err == nil {
		t.Errorf("wan0 is off, and somebody said %q", said)
	}
	must(t, netlink.LinkSetUp(link))
	eventually(t, "wan0 ready again", ready)
	expect(t, a, "one heard 10.1.0.1")
	expect(t, b, "two heard 10.2.0.1")

	// The route of the system goes: not ready, and nothing gets around by wan0.
	must(t, netlink.RouteDel(&netlink.Route{Gw: net.ParseIP("10.2.0.2"), Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Priority: 10}))
	eventually(t, "wan1 without a route", func() bool { r := b.Ready(); return r != nil && r.Code == "no_route" })
	if said, err := heard(t, b, 300*time.Millisecond); err == nil {
		t.Errorf("wan1 has no route, and somebody said %q", said)
	}
	defaultRoute(t, "w1", "10.2.0.2", 10)
	eventually(t, "wan1 ready again", ready)
	expect(t, b, "two heard 10.2.0.1")

	// No uplink has an IPv6 address: no socket, rather than another's address.
	if c, err := a.Dialer().Dial("udp6", "[2001:db8::9]:9"); err == nil {
		c.Close()
		t.Error("wan0 sends IPv6")
	}
}

// Two NICs in one subnet, each with its own cable: what is meant for one goes
// through it, and the answers come back through it.
func TestOneSubnet(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	one, two := newOutside(t), newOutside(t)
	one.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.254/24")
	two.cable(t, "w1", "10.1.0.2/24", "p1", "10.1.0.254/24")
	one.gateway(t, "one")
	two.gateway(t, "two")
	gateway := ip("10.1.0.254")
	m := New(nil, quiet())
	must(t, m.Set([]Config{
		{Name: "wan0", Match: &Match{Interface: "w0"}, Gateway4: &gateway},
		{Name: "wan1", Match: &Match{Interface: "w1"}, Gateway4: &gateway},
	}))
	run(t, m)
	a, b := m.Get("wan0"), m.Get("wan1")
	eventually(t, "both uplinks ready", func() bool { return a.Ready() == nil && b.Ready() == nil })
	expect(t, a, "one heard 10.1.0.1")
	expect(t, b, "two heard 10.1.0.2")
	for _, s := range m.Status() {
		if s.Routing != nil {
			t.Errorf("%s: %s", s.Name, s.Routing)
		}
	}
	for _, nic := range []string{"w0", "w1"} {
		if got, _ := os.ReadFile("/proc/sys/net/ipv4/conf/" + nic + "/arp_ignore"); strings.TrimSpace(string(got)) != "1" {
			t.Errorf("%s answers ARP for every address of the box: arp_ignore is %s", nic, got)
		}
	}
}

// IPv6: own table, own rules, a socket from its own address.
func TestIPv6(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	out := newOutside(t)
	out.cable(t, "w0", "", "p0", "")
	six := func(nic, addr string) {
		link, err := netlink.LinkByName(nic)
		must(t, err)
		a := address(t, addr)
		a.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(link, a))
	}
	six("w0", "2001:db8:1::1/64")
	var l net.Listener
	out.do(t, func() {
		six("p0", "2001:db8:1::2/64")
		six("lo", "2001:db8:f::9/128")
		var err error
		l, err = net.Listen("tcp6", "[2001:db8:f::9]:0")
		must(t, err)
	})
	defer l.Close()
	gateway := ip("2001:db8:1::2")
	m := New(nil, quiet())
	must(t, m.Set([]Config{{Name: "wan0", Match: &Match{Interface: "w0"}, Gateway6: &gateway}}))
	run(t, m)
	u := m.Get("wan0")
	eventually(t, "wan0 ready", func() bool { return u.Ready() == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := u.Dialer().DialContext(ctx, "tcp6", l.Addr().String())
	must(t, err)
	defer c.Close()
	if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got != ip("2001:db8:1::1") {
		t.Errorf("from %s", got)
	}
	settled(t, m)
}

// settled checks that a look changes nothing any more.
func settled(t *testing.T, m *Manager) {
	t.Helper()
	same := func() bool {
		m.looking.Lock()
		defer m.looking.Unlock()
		nics, err := list()
		must(t, err)
		main, have, err := listRouting()
		must(t, err)
		owners, _ := ownersOf(m.sights(nics))
		return difference(have, wanted(owners, main)).empty()
	}
	eventually(t, "routing as wanted", same)
}

// What an earlier run left is removed, what is somebody else's stays, and at
// the end nothing of ours is left.
func TestStrays(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	out := newOutside(t)
	out.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	link, err := netlink.LinkByName("w0")
	must(t, err)
	stray := route{table: 8377, dst: prefix("198.51.100.0/24"), via: ip("10.1.0.2"), dev: link.Attrs().Index}
	must(t, netlink.RouteAdd(stray.netlink()))
	strayRule := rule{priority: 8377, table: 8377, oif: "gone0"}
	must(t, netlink.RuleAdd(strayRule.netlink()))
	foreign := stray.netlink()
	foreign.Table, foreign.Protocol = 8300, unix.RTPROT_STATIC // in the very table that is used
	must(t, netlink.RouteAdd(foreign))
	foreignRule := rule{priority: 8300, table: 8377, oif: "other0"}.netlink()
	foreignRule.Protocol = unix.RTPROT_STATIC
	must(t, netlink.RuleAdd(foreignRule))
	elsewhere := stray.netlink()
	elsewhere.Table = 77 // our number, but not our range
	must(t, netlink.RouteAdd(elsewhere))

	m := New([]Local{{"wan0", "w0"}}, quiet())
	_, ours, err := listRouting()
	must(t, err)
	if len(ours.rules) < 2 || len(ours.routes) < 2 {
		t.Errorf("ours: %+v", ours)
	}
	for _, r := range ours.routes {
		if r.table != 8300 {
			t.Errorf("a stray is left: %+v", r)
		}
	}
	for _, r := range ours.rules {
		if r.table != 8300 {
			t.Errorf("a stray is left: %+v", r)
		}
	}
	stop := run(t, m)
	settled(t, m)
	stop()
	_, ours, err = listRouting()
	must(t, err)
	if len(ours.routes)+len(ours.rules) > 0 {
		t.Errorf("left at the end: %+v", ours)
	}
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	must(t, err)
	kept := 0
	for _, r := range routes {
		if r.Dst != nil && r.Dst.String() == "198.51.100.0/24" {
			kept++
		}
	}
	rules, err := netlink.RuleList(unix.AF_INET)
	must(t, err)
	for _, r := range rules {
		if r.OifName == "other0" {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("%d of 3 routes and rules of others are left", kept)
	}
}

// Thousands of events that do not fit the event socket end in the right state,
// long before the regular look.
func TestEventsLost(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	out := newOutside(t)
	out.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	gateway := ip("10.1.0.2")
	m := New(nil, quiet())
	m.eventBuffer = 1
	must(t, m.Set([]Config{{Name: "wan0", Match: &Match{Interface: "w0"}, Gateway4: &gateway}}))
	run(t, m)
	u := m.Get("wan0")
	eventually(t, "wan0 ready", func() bool { return u.Ready() == nil })
	link, err := netlink.LinkByName("w0")
	must(t, err)
	for i := range 1000 {
		a := address(t, fmt.Sprintf("10.9.%d.%d/32", i/200, 1+i%200))
		must(t, netlink.AddrAdd(link, a))
		if i != 999 {
			must(t, netlink.AddrDel(link, a))
		}
	}
	must(t, netlink.LinkSetDown(link)) // and its routes with it
	must(t, netlink.LinkSetUp(link))
	last := ip("10.9.4.200")
	eventually(t, "the last address", func() bool {
		all := u.Addresses()
		return u.Ready() == nil && len(all) == 2 && (all[0] == last || all[1] == last)
	})
	settled(t, m)
}

// With CAP_NET_ADMIN alone everything works. Without it the uplink says so,
// and its sockets are still bound to NIC and address.
func TestCapabilities(t *testing.T) {
	if child := os.Getenv("SLUICE_TEST_CHILD"); child != "" {
		withCapabilities(t, child)
		return
	}
	if !harness.InNetns(t) {
		return
	}
	one, two := newOutside(t), newOutside(t)
	one.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	two.cable(t, "w1", "10.2.0.1/24", "p1", "10.2.0.2/24")
	one.gateway(t, "one")
	two.gateway(t, "two")
	defaultRoute(t, "w0", "10.1.0.2", 100)
	defaultRoute(t, "w1", "10.2.0.2", 10)
	t.Run("with", func(t *testing.T) { capable(t, "with", unix.CAP_NET_ADMIN) })
	t.Run("without", func(t *testing.T) { capable(t, "without", -1) })
}

// capable runs the test in a process that has at most one capability.
func capable(t *testing.T, name string, only int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCapabilities$", "-test.v")
	cmd.Env = append(os.Environ(), "SLUICE_TEST_CHILD="+name)
	var out []byte
	var err error
	done := make(chan struct{})
	go func() { // on a thread that nobody uses afterwards
		defer close(done)
		runtime.LockOSThread()
		for c := 0; c <= unix.CAP_LAST_CAP; c++ {
			if c != only {
				_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
			}
		}
		out, err = cmd.CombinedOutput()
	}()
	<-done
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func withCapabilities(t *testing.T, which string) {
	m := New([]Local{{"wan0", "w0"}, {"wan1", "w1"}}, quiet())
	stop := run(t, m)
	defer stop()
	a, b := m.Get("wan0"), m.Get("wan1")
	eventually(t, "both uplinks ready", func() bool { return a.Ready() == nil && b.Ready() == nil })
	expect(t, a, "one heard 10.1.0.1")
	expect(t, b, "two heard 10.2.0.1")
	for _, s := range m.Status() {
		switch {
		case which == "with" && s.Routing != nil:
			t.Errorf("with CAP_NET_ADMIN: %s", s.Routing)
		case which == "without" && (s.Routing == nil || s.Routing.Code != "no_privilege" || !strings.Contains(s.Routing.Message, "CAP_NET_ADMIN")):
			t.Errorf("without CAP_NET_ADMIN: %v", s.Routing)
		}
	}
	if which == "without" {
		return
	}
	settled(t, m)
	if _, ours, err := listRouting(); err != nil || len(ours.routes) < 6 {
		t.Errorf("routes: %+v, %v", ours, err)
	}
}

// What people ask of an uplink goes through it, and says what is wrong.
func TestProbes(t *testing.T) {
	if !harness.InNetns(t) {
		return
	}
	out := newOutside(t)
	out.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	out.gateway(t, "one")
	gateway := ip("10.1.0.2")
	m := New(nil, quiet())
	must(t, m.Set([]Config{
		{Name: "wan0", Match: &Match{Interface: "w0"}, Gateway4: &gateway},
		{Name: "wan1", Match: &Match{Interface: "none0"}},
	}))
	run(t, m)
	u := m.Get("wan0")
	eventually(t, "wan0 ready", func() bool { return u.Ready() == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, kind := range []string{"raw", "datagram"} { // at first the namespace lets no group ping
		if took, err := Ping(ctx, u, ip(far)); err != nil || took <= 0 {
			t.Errorf("ping with a %s socket: %v, %v", kind, took, err)
		}
		must(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0))
	}
	if _, err := Connect(ctx, u, netip.AddrPortFrom(ip(far), 7000)); err != nil {
		t.Errorf("connect: %v", err)
	}
	if _, err := Connect(ctx, u, netip.AddrPortFrom(ip(far), 7001)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect to a closed port: %v", err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancelShort()
	if _, err := Ping(short, u, ip("10.1.0.77")); err == nil {
		t.Error("nobody answered")
	}
	if _, err := Ping(ctx, m.Get("wan1"), ip(far)); err == nil || !strings.Contains(err.Error(), "no NIC") {
		t.Errorf("through an absent NIC: %v", err)
	}
	if all, err := Resolve(ctx, u, far); err != nil || len(all) != 1 || all[0] != ip(far) {
		t.Errorf("an address resolves to %v, %v", all, err)
	}
}
