package uplink

import (
	"net/netip"
	"slices"
)

// Each uplink has a routing table of its own: what the main table says of its
// NIC, the gateways of the document in place of the main table's, and at the
// end an unreachable default route. Two kinds of rules lead into it, so that
// neither a better default route through another NIC nor a second NIC in the
// same subnet draws packets away:
//
//	priority 8300 + slot: oif NIC       sockets that are bound to the NIC
//	priority 8600 + slot: from ADDRESS  what answers from its addresses, and
//	                                    the reverse path check of what comes in
//
// The table is number 8300 + slot, in IPv4 and IPv6 alike. Every route and rule
// carries the protocol number 83: what carries it in these ranges and is not
// wanted is removed, anything else is never touched.
const (
	protocol      = 83
	firstTable    = 8300
	firstOutRule  = 8300
	firstFromRule = 8600
	slots         = 256

	gatewayMetric = 1       // of the document's gateways
	lastMetric    = 1 << 30 // of the unreachable route: worse than any other
)

var (
	all4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	all6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

func ourTable(table int) bool { return table >= firstTable && table < firstTable+slots }

// A route is one route of the main table or of one of ours.
type route struct {
	table  int
	dst    netip.Prefix
	via    netip.Addr // router; not valid where dst is on the link
	src    netip.Addr // address to send from; not valid where the kernel chooses
	dev    int        // index of the NIC; 0: unreachable
	metric int
	mtu    int // bytes, 0: the NIC's
	scope  uint8
	onLink bool // via is on the link although no other route says so
}

// A place holds one route at a time.
type place struct {
	table  int
	dst    netip.Prefix
	metric int
}

func (r route) place() place { return place{r.table, r.dst, r.metric} }

// isDefault tells whether r leads everywhere.
func (r route) isDefault() bool { return r.dst.Bits() == 0 && r.dev != 0 }

// A rule leads into a table: by NIC or by source address, never both.
type rule struct {
	priority int
	table    int
	six      bool
	oif      string
	from     netip.Addr
}

// ours tells whether the rule is in our ranges.
func (r rule) ours() bool {
	out := r.priority >= firstOutRule && r.priority < firstOutRule+slots
	from := r.priority >= firstFromRule && r.priority < firstFromRule+slots
	return (out || from) && ourTable(r.table)
}

// routing is a set of routes and rules. An empty one is what a box without
// uplinks needs.
type routing struct {
	routes []route
	rules  []rule
}

// An owner is an uplink with its NIC, which is to have the table of the slot.
type owner struct {
	slot     int
	nic      *nic
	gateway4 *netip.Addr
	gateway6 *netip.Addr
}

// wanted returns the routes and rules that the owners are to have, for the
// main table as it is. Where two uplinks share a NIC the first one rules.
func wanted(owners []owner, main []route) routing {
	var w routing
	var seen []int
	for _, o := range owners {
		if o.nic.loopback || slices.Contains(seen, o.nic.index) {
			continue
		}
		seen = append(seen, o.nic.index)
		w.rules = append(w.rules, o.rules()...)
		w.routes = append(w.routes, o.routes(main)...)
	}
	return w
}

func (o owner) rules() (rules []rule) {
	table := firstTable + o.slot
	rules = append(rules, rule{priority: firstOutRule + o.slot, table: table, oif: o.nic.name})
	if o.nic.six {
		rules = append(rules, rule{priority: firstOutRule + o.slot, table: table, oif: o.nic.name, six: true})
	}
	for _, a := range o.nic.addresses {
		rules = append(rules, rule{priority: firstFromRule + o.slot, table: table, from: a, six: a.Is6()})
	}
	return rules
}

func (o owner) routes(main []route) (routes []route) {
	table := firstTable + o.slot
	taken := make(map[place]bool)
	add := func(r route) {
		r.table = table
		if !taken[r.place()] { // two routers may share a metric: the first counts
			taken[r.place()] = true
			routes = append(routes, r)
		}
	}
	add(route{dst: all4, metric: lastMetric})
	if o.nic.six {
		add(route{dst: all6, metric: lastMetric})
	}
	if !o.nic.up {
		return routes // the kernel takes none through a NIC that is off
	}
	for _, r := range main {
		replaced := r.isDefault() && (r.dst == all4 && o.gateway4 != nil || r.dst == all6 && o.gateway6 != nil)
		if r.dev == o.nic.index && !replaced {
			add(r)
		}
	}
	for _, g := range []*netip.Addr{o.gateway4, o.gateway6} {
		if g == nil || !o.nic.has(g.Is6()) {
			continue
		}
		r := route{dst: all4, via: *g, dev: o.nic.index, metric: gatewayMetric}
		if g.Is6() {
			r.dst = all6
		}
		r.onLink = !slices.ContainsFunc(routes, func(l route) bool {
			return l.dev != 0 && !l.via.IsValid() && l.dst.Contains(g.WithZone(""))
		})
		add(r)
	}
	return routes
}

// A change makes one routing out of another.
type change struct {
	addRoutes    []route // in order: what a router is reached by comes before it
	addRules     []rule
	removeRules  []rule
	removeRoutes []route
}

func (c change) empty() bool {
	return len(c.addRoutes)+len(c.addRules)+len(c.removeRules)+len(c.removeRoutes) == 0
}

// difference returns what makes have into want. A route that takes the place
// of another replaces it, so that there is no moment without one.
func difference(have, want routing) (c change) {
	c.addRoutes = without(want.routes, have.routes)
	c.addRules = without(want.rules, have.rules)
	c.removeRules = without(have.rules, want.rules)
	replaced := make(map[place]bool)
	for _, r := range c.addRoutes {
		replaced[r.place()] = true
	}
	for _, r := range without(have.routes, want.routes) {
		if !replaced[r.place()] {
			c.removeRoutes = append(c.removeRoutes, r)
		}
	}
	slices.SortStableFunc(c.addRoutes, func(a, b route) int { return rank(a) - rank(b) })
	return c
}

// rank orders routes by what they rest on.
func rank(r route) int {
	switch {
	case !r.via.IsValid():
		return 0
	case r.dst.Bits() > 0:
		return 1
	}
	return 2
}

// without returns what is in all but not in some.
func without[T comparable](all, some []T) (rest []T) {
	known := make(map[T]bool, len(some))
	for _, x := range some {
		known[x] = true
	}
	for _, x := range all {
		if !known[x] {
			rest = append(rest, x)
		}
	}
	return rest
}
