package uplink

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// Two NICs in one subnet: eth1 with a gateway of the document, eth2 as the
// system has it.
var (
	eth1 = &nic{index: 2, name: "eth1", up: true, carrier: true, addresses: []netip.Addr{ip("192.0.2.9")}, subnets: []netip.Prefix{prefix("192.0.2.0/24")}}
	eth2 = &nic{index: 3, name: "eth2", up: true, carrier: true, addresses: []netip.Addr{ip("192.0.2.10"), ip("2001:db8::10")}, subnets: []netip.Prefix{prefix("192.0.2.0/24")}, six: true}

	mainTable = []route{
		{table: unix.RT_TABLE_MAIN, dst: all4, via: ip("192.0.2.1"), src: ip("192.0.2.10"), dev: 3, metric: 10},
		{table: unix.RT_TABLE_MAIN, dst: all4, via: ip("192.0.2.1"), dev: 2, metric: 100},
		{table: unix.RT_TABLE_MAIN, dst: prefix("192.0.2.0/24"), src: ip("192.0.2.9"), dev: 2, scope: unix.RT_SCOPE_LINK},
		{table: unix.RT_TABLE_MAIN, dst: prefix("192.0.2.0/24"), src: ip("192.0.2.10"), dev: 3, scope: unix.RT_SCOPE_LINK},
		{table: unix.RT_TABLE_MAIN, dst: prefix("2001:db8::/64"), dev: 3, metric: 256},
		{table: unix.RT_TABLE_MAIN, dst: all6, via: ip("fe80::1"), dev: 3, metric: 1024},
		{table: unix.RT_TABLE_MAIN, dst: all6, via: ip("fe80::2"), dev: 3, metric: 1024}, // a second router
	}
)

func TestWanted(t *testing.T) {
	gateway, far := ip("192.0.2.254"), ip("198.51.100.1")
	for name, c := range map[string]struct {
		owners []owner
		want   routing
	}{
		"the document's gateway takes the place of the main table's": {
			[]owner{{slot: 0, nic: eth1, gateway4: &gateway}},
			routing{
				[]route{
					{table: 8300, dst: all4, metric: lastMetric},
					{table: 8300, dst: prefix("192.0.2.0/24"), src: ip("192.0.2.9"), dev: 2, scope: unix.RT_SCOPE_LINK},
					{table: 8300, dst: all4, via: gateway, dev: 2, metric: gatewayMetric},
				},
				[]rule{
					{priority: 8300, table: 8300, oif: "eth1"},
					{priority: 8600, table: 8300, from: ip("192.0.2.9")},
				},
			},
		},
		"a gateway outside the subnets is on the link": {
			[]owner{{slot: 7, nic: &nic{index: 9, name: "eth9", up: true, addresses: []netip.Addr{ip("192.0.2.9")}}, gateway4: &far}},
			routing{
				[]route{
					{table: 8307, dst: all4, metric: lastMetric},
					{table: 8307, dst: all4, via: far, dev: 9, metric: gatewayMetric, onLink: true},
				},
				[]rule{
					{priority: 8307, table: 8307, oif: "eth9"},
					{priority: 8607, table: 8307, from: ip("192.0.2.9")},
				},
			},
		},
		"as the system has it, both families": {
			[]owner{{slot: 1, nic: eth2}},
			routing{
				[]route{
					{table: 8301, dst: all4, metric: lastMetric},
					{table: 8301, dst: all6, metric: lastMetric},
					{table: 8301, dst: all4, via: ip("192.0.2.1"), src: ip("192.0.2.10"), dev: 3, metric: 10},
					{table: 8301, dst: prefix("192.0.2.0/24"), src: ip("192.0.2.10"), dev: 3, scope: unix.RT_SCOPE_LINK},
					{table: 8301, dst: prefix("2001:db8::/64"), dev: 3, metric: 256},
					{table: 8301, dst: all6, via: ip("fe80::1"), dev: 3, metric: 1024},
				},
				[]rule{
					{priority: 8301, table: 8301, oif: "eth2"},
					{priority: 8301, table: 8301, oif: "eth2", six: true},
					{priority: 8601, table: 8301, from: ip("192.0.2.10")},
					{priority: 8601, table: 8301, from: ip("2001:db8::10"), six: true},
				},
			},
		},
		"off: nothing but the end": {
			[]owner{{slot: 0, nic: &nic{index: 2, name: "eth1"}, gateway4: &gateway}},
			routing{
				[]route{{table: 8300, dst: all4, metric: lastMetric}},
				[]rule{{priority: 8300, table: 8300, oif: "eth1"}},
			},
		},
		"no address of the gateway's family": {
			[]owner{{slot: 0, nic: &nic{index: 9, name: "eth9", up: true}, gateway4: &gateway}},
			routing{
				[]route{{table: 8300, dst: all4, metric: lastMetric}},
				[]rule{{priority: 8300, table: 8300, oif: "eth9"}},
			},
		},
		"the loopback has none": {
			[]owner{{slot: 0, nic: &nic{index: 1, name: "lo", up: true, loopback: true}}},
			routing{},
		},
		"the first uplink of a NIC rules": {
			[]owner{{slot: 4, nic: &nic{index: 9, name: "eth9"}}, {slot: 2, nic: &nic{index: 9, name: "eth9"}}},
			routing{
				[]route{{table: 8304, dst: all4, metric: lastMetric}},
				[]rule{{priority: 8304, table: 8304, oif: "eth9"}},
			},
		},
	} {
		got := wanted(c.owners, mainTable)
		if !slices.Equal(got.routes, c.want.routes) {
			t.Errorf("%s: routes\n%v\nwant\n%v", name, got.routes, c.want.routes)
		}
		if !slices.Equal(got.rules, c.want.rules) {
			t.Errorf("%s: rules\n%v\nwant\n%v", name, got.rules, c.want.rules)
		}
	}
}

func TestDifference(t *testing.T) {
	link := route{table: 8300, dst: prefix("192.0.2.0/24"), dev: 2, scope: unix.RT_SCOPE_LINK}
	last := route{table: 8300, dst: all4, metric: lastMetric}
	old := route{table: 8300, dst: all4, via: ip("192.0.2.1"), dev: 2, metric: 1}
	next := route{table: 8300, dst: all4, via: ip("192.0.2.2"), dev: 2, metric: 1}
	stray := route{table: 8301, dst: all4, via: ip("192.0.2.1"), dev: 2, metric: 1}
	out := rule{priority: 8300, table: 8300, oif: "eth1"}
	was := rule{priority: 8600, table: 8300, from: ip("192.0.2.8")}
	is := rule{priority: 8600, table: 8300, from: ip("192.0.2.9")}

	want := routing{[]route{next, last, link}, []rule{out, is}}
	if c := difference(want, routing{[]route{link, next, last}, []rule{is, out}}); !c.empty() {
		t.Errorf("equal but for the order: %+v", c)
	}
	c := difference(routing{[]route{last, old, stray}, []rule{out, was}}, want)
	if !slices.Equal(c.addRoutes, []route{link, next}) {
		t.Errorf("add %v: want the subnet before what is reached through it", c.addRoutes)
	}
	if !slices.Equal(c.removeRoutes, []route{stray}) {
		t.Errorf("remove %v: want the stray alone, the other is replaced", c.removeRoutes)
	}
	if !slices.Equal(c.addRules, []rule{is}) || !slices.Equal(c.removeRules, []rule{was}) {
		t.Errorf("rules: add %v, remove %v", c.addRules, c.removeRules)
	}
	if c := difference(want, routing{}); len(c.removeRoutes) != 3 || len(c.removeRules) != 2 {
		t.Errorf("at the end: %+v", c)
	}
}

func TestOurs(t *testing.T) {
	for _, r := range []rule{
		{priority: 8300, table: 8300},
		{priority: 8855, table: 8555},
	} {
		if !r.ours() {
			t.Errorf("%+v is not ours", r)
		}
	}
	for _, r := range []rule{
		{priority: 8299, table: 8300},
		{priority: 8556, table: 8300},
		{priority: 8856, table: 8300},
		{priority: 8300, table: unix.RT_TABLE_MAIN},
		{priority: 8300, table: 8556},
	} {
		if r.ours() {
			t.Errorf("%+v is ours", r)
		}
	}
}

func TestUnroutable(t *testing.T) {
	gateway4, gateway6 := ip("192.0.2.1"), ip("2001:db8::1")
	wan := &nic{index: 2, name: "eth1", addresses: []netip.Addr{ip("192.0.2.9")}}
	leased := &nic{index: 2, name: "eth1", addresses: wan.addresses, lease: lease{router: true}}
	for name, c := range map[string]struct {
		config   Config
		nic      *nic
		routed   *Match
		gateways []netip.Addr
		ready    bool
	}{
		"an encoder LAN":                 {nic: wan, ready: true},
		"a gateway":                      {config: Config{Gateway4: &gateway4}, nic: wan, gateways: []netip.Addr{gateway4}, ready: true},
		"a gateway without its route":    {config: Config{Gateway4: &gateway4}, nic: wan},
		"one of two":                     {config: Config{Gateway4: &gateway4, Gateway6: &gateway6}, nic: wan, gateways: []netip.Addr{gateway4}},
		"DHCP":                           {nic: leased, gateways: []netip.Addr{gateway4}, ready: true},
		"DHCP, its route yet to come":    {nic: leased},
		"a default route that went away": {nic: wan, routed: &Match{}},
	} {
		s := sight{role: newRole("wan0"), config: &c.config, nic: c.nic}
		s.role.routed = c.routed
		if why := s.unroutable(c.gateways, nil); (why == nil) != c.ready {
			t.Errorf("%s: %v", name, why)
		} else if why != nil && why.Code != "no_route" {
			t.Errorf("%s: code %s", name, why.Code)
		}
	}
}

func TestParseLease(t *testing.T) {
	l := parseLease("# comment\nADDRESS=192.0.2.9\nROUTER=192.0.2.1\nDNS=192.0.2.53 x 192.0.2.54\n")
	if !l.router || !slices.Equal(l.servers, []netip.Addr{ip("192.0.2.53"), ip("192.0.2.54")}) {
		t.Errorf("got %+v", l)
	}
	if l := parseLease("ADDRESS=192.0.2.9\nROUTER=\n"); l.router {
		t.Error("an empty router is one")
	}
}

func TestShares(t *testing.T) {
	other := &nic{subnets: []netip.Prefix{prefix("192.0.3.0/24")}}
	if !eth1.shares(eth2) || eth1.shares(other) {
		t.Error("NICs in one subnet are not told from others")
	}
}
