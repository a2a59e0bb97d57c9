package uplink

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/test/harness"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually waits until is holds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestParseLocal(t *testing.T) {
	if l, err := ParseLocal("lan0=eth0"); err != nil || l != (Local{"lan0", "eth0"}) {
		t.Fatalf("got %v, %v", l, err)
	}
	for _, bad := range []string{"", "lan0", "=eth0", "lan0=", "lan0=sixteencharacter"} {
		if _, err := ParseLocal(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFind(t *testing.T) {
	mac := func(s string) net.HardwareAddr { m, _ := net.ParseMAC(s); return m }
	nics := []nic{
		{name: "eth0", permanent: mac("02:00:5e:00:00:01"), address: mac("02:00:5e:00:00:99"), path: "pci-0000:02:00.0"},
		{name: "eth1", altNames: []string{"enp3s0"}, permanent: mac("02:00:5e:00:00:02"), address: mac("02:00:5e:00:00:02"), path: "pci-0000:03:00.0"},
		{name: "eth1.7", address: mac("02:00:5e:00:00:02")}, // a VLAN shows its parent's address
		{name: "veth0", address: mac("02:00:5e:00:00:07")},
		{name: "veth1", address: mac("02:00:5e:00:00:07")},
	}
	for _, c := range []struct {
		match      *Match
		want, code string
	}{
		{&Match{Interface: "eth0"}, "eth0", ""},
		{&Match{Interface: "enp3s0"}, "eth1", ""},
		{&Match{MAC: "02:00:5e:00:00:01"}, "eth0", ""},
		{&Match{MAC: "02:00:5e:00:00:99"}, "", "nic_absent"}, // not its permanent one
		{&Match{MAC: "02-00-5E-00-00-02"}, "eth1", ""},
		{&Match{MAC: "02:00:5e:00:00:07"}, "", "nic_ambiguous"},
		{&Match{Path: "pci-0000:03:00.0"}, "eth1", ""},
		{&Match{Path: "pci-0000:04:00.0"}, "", "nic_absent"},
		{&Match{Interface: "wlan0"}, "", "nic_absent"},
		{&Match{}, "", "nic_absent"}, // must not take the NICs without a path
		{nil, "", "nic_absent"},
	} {
		n, why := find(nics, c.match)
		switch {
		case c.code != "" && (why == nil || why.Code != c.code):
			t.Errorf("%+v: got %v, want code %s", c.match, why, c.code)
		case c.code == "" && (n == nil || n.name != c.want):
			t.Errorf("%+v: got %v %v, want %s", c.match, n, why, c.want)
		}
	}
}

func TestSysPath(t *testing.T) {
	for in, want := range map[string]string{
		"/sys/devices/pci0000:00/0000:00:03.0/virtio2":                                              "pci-0000:00:03.0",
		"/sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0":                                         "pci-0000:02:00.0",
		"/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0":                                     "pci-0000:00:14.0-usb-0:2:1.0",
		"/sys/devices/platform/soc/fd580000.ethernet":                                               "platform-fd580000.ethernet",
		"/sys/devices/platform/a003e00.virtio_mmio/virtio0":                                         "platform-a003e00.virtio_mmio",
		"/sys/devices/platform/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb2/2-1/2-1:1.0": "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1:1.0",
		"/sys/devices/virtual/net/veth0":                                                            "",
	} {
		if got := sysPath(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestParseServers(t *testing.T) {
	got := parseServers("# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.53\noptions edns0\nnameserver\nnameserver x\nnameserver 2001:db8::53\n")
	want := []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestLoopback(t *testing.T) {
	harness.NeedRules(t)
	m := New([]Local{{"lan0", "lo"}, {"wan0", "nosuchnic0"}}, quiet())
	if m.Default() != "lan0" {
		t.Errorf("the default is %q, want the first local role", m.Default())
	}
	lan := m.Get("")
	if lan.Name() != "lan0" || lan.Ready() != nil || lan.Interface() != "lo" {
		t.Fatalf("default uplink: %s %v on %q", lan.Name(), lan.Ready(), lan.Interface())
	}
	if !slices.Contains(lan.Addresses(), netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("addresses: %v", lan.Addresses())
	}
	if s := m.Status(); len(s) != 2 || !s[0].Ready || s[1].Ready || s[1].Reason.Code != "nic_absent" {
		t.Errorf("status: %+v", s)
	}

	// A TCP connection through the role, by name, both ends bound to lo.
	l, err := lan.ListenConfig().Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := lan.Dialer().DialContext(t.Context(), "tcp4", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	// A UDP port that is taken is an error, never shared.
	u, err := lan.ListenConfig().ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if again, err := lan.ListenConfig().ListenPacket(t.Context(), "udp4", u.LocalAddr().String()); err == nil {
		again.Close()
		t.Error("a UDP port can be taken twice")
	}
}

func TestNoNICMeansNoSocket(t *testing.T) {
	m := New([]Local{{"wan0", "nosuchnic0"}}, quiet())
	for _, u := range []endpoint.Uplink{m.Get("wan0"), m.Get("unknown"), New(nil, quiet()).Get("")} {
		if u.Ready() == nil {
			t.Fatalf("%q is ready", u.Name())
		}
		if c, err := u.Dialer().Dial("udp4", "127.0.0.1:9"); err == nil {
			c.Close()
			t.Errorf("%q dials", u.Name())
		}
		if l, err := u.ListenConfig().ListenPacket(t.Context(), "udp4", "127.0.0.1:0"); err == nil {
			l.Close()
			t.Errorf("%q listens", u.Name())
		}
		if _, err := u.Resolver().LookupHost(t.Context(), "example.invalid"); err == nil {
			t.Errorf("%q resolves", u.Name())
		}
	}
}

func TestSet(t *testing.T) {
	harness.NeedRules(t)
	m := New([]Local{{"lan0", "lo"}}, quiet())
	held := m.Get("wan0") // before it is configured
	configs := []Config{
		{Name: "lan0", AdvertiseHost: "stage.example.com"},
		{Name: "wan0", Match: &Match{Interface: "lo"}, Default: true},
	}
	for range 2 {
		if err := m.Set(configs); err != nil {
			t.Fatal(err)
		}
	}
	if m.Default() != "wan0" || m.Get("") != held {
		t.Errorf("the document's default is not used: %q", m.Default())
	}
	if held.Ready() != nil || held.Generation() != 0 {
		t.Errorf("wan0: %v, generation %d", held.Ready(), held.Generation())
	}
	if lan := m.Get("lan0"); lan.Interface() != "lo" || lan.AdvertiseHost() != "stage.example.com" {
		t.Errorf("lan0 is not merged: %q %q", lan.Interface(), lan.AdvertiseHost())
	}
	m.Set(nil)
	if held.Ready() == nil || held.Ready().Code != "uplink_unknown" || held.Generation() == 0 {
		t.Errorf("a removed role: %v, generation %d", held.Ready(), held.Generation())
	}
	if len(m.Status()) != 1 {
		t.Errorf("status: %+v", m.Status())
	}
}

func TestNameserver(t *testing.T) {
	harness.NeedRules(t)
	m := New([]Local{{"lan0", "lo"}}, quiet())
	m.Set([]Config{
		{Name: "wan0", Match: &Match{Interface: "nosuchnic0"}, Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}},
		{Name: "wan1", Match: &Match{Interface: "nosuchnic0"}},
	})
	wan := m.Get("wan0").(*role)
	var asked []string
	for range 3 {
		s, err := wan.nameserver("127.0.0.53:53")
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, s)
	}
	if got := strings.Join(asked, " "); got != "192.0.2.1:53 192.0.2.2:53 192.0.2.1:53" {
		t.Errorf("asked %s", got)
	}
	if s, err := m.Get("lan0").(*role).nameserver("127.0.0.53:53"); err != nil || s != "127.0.0.53:53" {
		t.Errorf("the loopback asks %q, %v", s, err)
	}
	if s, err := m.Get("wan1").(*role).nameserver("192.0.2.9:53"); err != nil || s != "192.0.2.9:53" {
		t.Errorf("wan1 asks %q, %v", s, err)
	}
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New([]Local{{"lan0", "lo"}}, quiet()).Run(ctx) }()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
}
