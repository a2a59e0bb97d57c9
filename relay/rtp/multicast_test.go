package rtp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// inNetns runs the test in a network namespace, with a cable between veth0
// (10.9.0.1, 10.9.0.2, fd09::1) and veth1, and reports whether this is there.
// The loopback does not do multicast.
func inNetns(t *testing.T) bool {
	t.Helper()
	if !harness.InNetns(t) {
		return false
	}
	layCable(t)
	return true
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func layCable(t *testing.T) {
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth1"}))
	for _, name := range []string{"lo", "veth1", "veth0"} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
		if name != "veth0" {
			continue
		}
		for _, s := range []string{"10.9.0.1/24", "10.9.0.2/24", "fd09::1/64"} {
			a, err := netlink.ParseAddr(s)
			must(t, err)
			a.Flags |= syscall.IFA_F_NODAD
			must(t, netlink.AddrAdd(link, a))
		}
	}
	eventually(t, "the cable carries IPv6", func() bool {
		pc, err := net.ListenPacket("udp6", "[fd09::1]:0")
		if err == nil {
			pc.Close()
		}
		return err == nil
	})
}

// sendFrom returns a socket that sends from one address to a group through
// veth0, where the box itself hears it too.
func sendFrom(t *testing.T, from, group string, port int) *net.UDPConn {
	t.Helper()
	ifi, err := net.InterfaceByName("veth0")
	must(t, err)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	if net.ParseIP(from).To4() != nil {
		must(t, ipv4.NewPacketConn(conn).SetMulticastInterface(ifi))
	} else {
		must(t, ipv6.NewPacketConn(conn).SetMulticastInterface(ifi))
	}
	return conn
}

func TestMulticast(t *testing.T) {
	if !inNetns(t) {
		return
	}
	for name, c := range map[string]struct {
		group, source, other string // other: what must not be heard
		from                 string
	}{
		"any source IPv4": {group: "239.1.1.1", from: "10.9.0.1", other: "239.1.1.2"},
		"one source IPv4": {group: "232.1.1.1", from: "10.9.0.1", source: "10.9.0.1", other: "232.1.1.2"},
		"any source IPv6": {group: "ff15::1", from: "fd09::1", other: "ff15::2"},
		"one source IPv6": {group: "ff35::1", from: "fd09::1", source: "fd09::1", other: "ff35::2"},
	} {
		t.Run(name, func(t *testing.T) {
			ein, eout := env("veth0"), env("veth0")
			port, back := relaytest.FreePort(t), relaytest.FreePort(t)
			in, f := startInput(t, InputConfig{Port: port, Multicast: c.group, Source: c.source, Encapsulation: EncapsulationUDP}, nil, ein)
			// Out to another group, and from there in again.
			again, f2 := startInput(t, InputConfig{Port: back, Multicast: c.other}, nil, env("veth0"))
			_, stop := startOutput(t, OutputConfig{Destinations: []Destination{{Host: c.other, Port: back}}}, f, eout, 1)
			cursor := f2.Open()
			conn := sendFrom(t, c.from, c.group, port)
			to := func(host string) *net.UDPAddr {
				return &net.UDPAddr{IP: net.ParseIP(host), Port: port, Zone: zone(host)}
			}
			g, noise := relaytest.NewTS(1), relaytest.NewTS(99)
			v := relaytest.NewVerifier(1)
			for n := range 100 {
				_, err := conn.WriteToUDP(g.Next(), to(c.group))
				must(t, err)
				_, err = conn.WriteToUDP(noise.Next(), to(c.other)) // another group
				must(t, err)
				_, err = conn.WriteToUDP(noise.Next(), to(c.from)) // the port, but no group
				must(t, err)
				keepPace(n * 8)
			}
			read(t, cursor, func(p media.Packet) bool {
				v.Feed(p.Data)
				return v.Report().Received < 100
			})
			if err := v.Report().Intact(); err != nil {
				t.Error(err)
			}
			if n := ein.Ledger.Sent.Load(); n != 100 {
				t.Errorf("the input published %d datagrams", n)
			}
			if in.Status().Phase != endpoint.Connected || again.Status().Phase != endpoint.Connected {
				t.Errorf("%+v %+v", in.Status(), again.Status())
			}
			_ = stop()
			checkLedger(t, "output", eout.Ledger)
		})
	}
}

// A source-specific join hears nobody else.
func TestSourceSpecificMulticast(t *testing.T) {
	if !inNetns(t) {
		return
	}
	port := relaytest.FreePort(t)
	e := env("veth0")
	_, f := startInput(t, InputConfig{Port: port, Multicast: "232.1.1.1", Source: "10.9.0.2", Encapsulation: EncapsulationUDP}, nil, e)
	cursor := f.Open()
	wanted, other := sendFrom(t, "10.9.0.2", "232.1.1.1", port), sendFrom(t, "10.9.0.1", "232.1.1.1", port)
	g, noise := relaytest.NewTS(1), relaytest.NewTS(99)
	to := &net.UDPAddr{IP: net.ParseIP("232.1.1.1"), Port: port}
	for range 30 {
		_, err := other.WriteToUDP(noise.Next(), to)
		must(t, err)
		_, err = wanted.WriteToUDP(g.Next(), to)
		must(t, err)
	}
	v := relaytest.NewVerifier(1)
	read(t, cursor, func(p media.Packet) bool {
		v.Feed(p.Data)
		return v.Report().Received < 30
	})
	if err := v.Report().Intact(); err != nil {
		t.Error(err)
	}
	if n := e.Ledger.Refused.Load(); n != 0 {
		t.Errorf("%d datagrams of others came as far as the program", n)
	}
}

func zone(host string) string {
	if a := netip.MustParseAddr(host); a.Is6() && a.IsMulticast() {
		return "veth0"
	}
	return ""
}

// Time to live and code point stand in the datagrams on the wire.
func TestTTLAndDSCPOnTheWire(t *testing.T) {
	if !inNetns(t) {
		return
	}
	ifi, err := net.InterfaceByName("veth0")
	must(t, err)
	for _, host := range []string{"127.0.0.1", "239.1.1.1", "::1", "ff15::1"} {
		t.Run(host, func(t *testing.T) {
			a := netip.MustParseAddr(host)
			e := env("veth0")
			e.DSCP = 34
			var conn *net.UDPConn
			var read func(b []byte) (ttl, class int)
			if a.Is4() {
				conn, err = net.ListenUDP("udp4", nil)
				must(t, err)
				p := ipv4.NewPacketConn(conn)
				must(t, p.SetControlMessage(ipv4.FlagTTL, true))
				must(t, setsockopt(conn, syscall.IPPROTO_IP, syscall.IP_RECVTOS, 1))
				if a.IsMulticast() {
					must(t, p.JoinGroup(ifi, &net.UDPAddr{IP: a.AsSlice()}))
				}
				read = func(b []byte) (ttl, class int) {
					oob := make([]byte, 256)
					_, n, _, _, err := conn.ReadMsgUDP(b, oob)
					must(t, err)
					return control(t, oob[:n], syscall.IPPROTO_IP, syscall.IP_TTL), control(t, oob[:n], syscall.IPPROTO_IP, syscall.IP_TOS)
				}
			} else {
				conn, err = net.ListenUDP("udp6", nil)
				must(t, err)
				p := ipv6.NewPacketConn(conn)
				must(t, p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagTrafficClass, true))
				if a.IsMulticast() {
					must(t, p.JoinGroup(ifi, &net.UDPAddr{IP: a.AsSlice()}))
				}
				read = func(b []byte) (ttl, class int) {
					_, cm, _, err := p.ReadFrom(b)
					must(t, err)
					return cm.HopLimit, cm.TrafficClass
				}
			}
			defer conn.Close()
			f, publish := generate(t, 1)
			startOutput(t, OutputConfig{
				Destinations: []Destination{{Host: host, Port: conn.LocalAddr().(*net.UDPAddr).Port}}, TTL: 23,
			}, f, e, 1)
			publish(1)
			must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			if ttl, class := read(make([]byte, 2000)); ttl != 23 || class != 34<<2 {
				t.Errorf("time to live %d, traffic class %#x", ttl, class)
			}
		})
	}
}

// control returns the first byte of a control message.
func control(t *testing.T, oob []byte, level, kind int32) int {
	t.Helper()
	messages, err := syscall.ParseSocketControlMessage(oob)
	must(t, err)
	for _, m := range messages {
		if m.Header.Level == level && m.Header.Type == kind {
			return int(m.Data[0])
		}
	}
	t.Fatalf("no control message %d/%d", level, kind)
	return 0
}
