package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// listRouting returns the routes of the main table, and those routes and rules
// that are ours.
func listRouting() (main []route, ours routing, err error) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := whole(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, routing{}, fmt.Errorf("list rules: %w", err)
		}
		for _, r := range rules {
			if one := ruleFrom(r); r.Protocol == protocol && one.ours() {
				ours.rules = append(ours.rules, one)
			}
		}
		routes, err := whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, routing{}, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			switch {
			case r.Protocol == protocol && ourTable(r.Table):
				ours.routes = append(ours.routes, routesFrom(r)...)
			case r.Table == unix.RT_TABLE_MAIN && r.Type == unix.RTN_UNICAST:
				main = append(main, routesFrom(r)...)
			}
		}
	}
	return main, ours, nil
}

// routesFrom returns one route for each next hop.
func routesFrom(l netlink.Route) []route {
	r := route{
		table: l.Table, dst: all4,
		dev: l.LinkIndex, metric: l.Priority, mtu: l.MTU, scope: uint8(l.Scope),
		onLink: l.Flags&unix.RTNH_F_ONLINK != 0,
	}
	if l.Family == unix.AF_INET6 {
		r.dst = all6
	}
	if l.Dst != nil && l.Dst.IP != nil {
		ones, _ := l.Dst.Mask.Size()
		r.dst = netip.PrefixFrom(addrFrom(l.Dst.IP), ones)
	}
	if l.Type == unix.RTN_UNREACHABLE {
		r.dev = 0 // IPv6 shows the loopback
	}
	r.via, r.src = addrFrom(l.Gw), addrFrom(l.Src)
	if len(l.MultiPath) == 0 {
		return []route{r}
	}
	var all []route
	for _, hop := range l.MultiPath {
		one := r
		one.dev, one.via, one.onLink = hop.LinkIndex, addrFrom(hop.Gw), hop.Flags&unix.RTNH_F_ONLINK != 0
		all = append(all, one)
	}
	return all
}

// addrFrom returns the address, not valid for nil.
func addrFrom(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func ruleFrom(l netlink.Rule) rule {
	r := rule{priority: l.Priority, table: l.Table, six: l.Family == unix.AF_INET6, oif: l.OifName}
	if l.Src != nil {
		r.from = addrFrom(l.Src.IP)
	}
	return r
}

func (r route) netlink() *netlink.Route {
	l := &netlink.Route{
		Table: r.table, Protocol: protocol, Priority: r.metric, MTU: r.mtu,
		Dst:   &net.IPNet{IP: r.dst.Addr().AsSlice(), Mask: net.CIDRMask(r.dst.Bits(), r.dst.Addr().BitLen())},
		Scope: netlink.Scope(r.scope),
		Type:  unix.RTN_UNREACHABLE,
	}
	if r.dev != 0 {
		l.Type, l.LinkIndex = unix.RTN_UNICAST, r.dev
	}
	if r.via.IsValid() {
		l.Gw = r.via.AsSlice()
	}
	if r.src.IsValid() {
		l.Src = r.src.AsSlice()
	}
	if r.onLink {
		l.Flags = unix.RTNH_F_ONLINK
	}
	return l
}

func (r rule) netlink() *netlink.Rule {
	l := netlink.NewRule()
	l.Priority, l.Table, l.OifName, l.Protocol = r.priority, r.table, r.oif, protocol
	l.Family = unix.AF_INET
	if r.six {
		l.Family = unix.AF_INET6
	}
	if r.from.IsValid() {
		bits := r.from.BitLen()
		l.Src = &net.IPNet{IP: r.from.AsSlice(), Mask: net.CIDRMask(bits, bits)}
	}
	return l
}

// apply carries a change out, as far as it can. It returns what failed, by
// table. Traffic finds a whole table at every moment: rules come after the
// routes that they lead to, and go before them.
func (c change) apply() map[int]error {
	failed := make(map[int]error)
	note := func(table int, err error, gone error) {
		if err != nil && !errors.Is(err, gone) {
			failed[table] = errors.Join(failed[table], err)
		}
	}
	for _, r := range c.addRoutes {
		note(r.table, wrap(netlink.RouteReplace(r.netlink()), "route to %s", r.dst), unix.EEXIST)
	}
	for _, r := range c.addRules {
		note(r.table, wrap(netlink.RuleAdd(r.netlink()), "rule %d", r.priority), unix.EEXIST)
	}
	for _, r := range c.removeRules {
		note(r.table, wrap(netlink.RuleDel(r.netlink()), "remove rule %d", r.priority), unix.ENOENT)
	}
	for _, r := range c.removeRoutes {
		note(r.table, wrap(netlink.RouteDel(r.netlink()), "remove route to %s", r.dst), unix.ESRCH)
	}
	return failed
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// keepARP has a NIC answer and ask ARP for its own addresses alone. Otherwise
// each of two NICs in one subnet answers for the other's addresses too, and
// peers send to the wrong one. More cautious settings are left alone.
func keepARP(nic string) error {
	for setting, value := range map[string]string{"arp_ignore": "1", "arp_announce": "2"} {
		file := "/proc/sys/net/ipv4/conf/" + nic + "/" + setting
		now, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if len(now) > 0 && string(now[:1]) >= value {
			continue
		}
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}
