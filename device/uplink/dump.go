package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxDumped bounds each list of a Dump: a box that carries a full routing table
// is none of ours.
const maxDumped = 2000

// A Dump is what the kernel has of network, ours and others', for people who
// look for a fault. What could not be listed is in Errors.
type Dump struct {
	Links  []DumpedLink  `json:"links"`
	Routes []DumpedRoute `json:"routes"` // of every table
	Rules  []DumpedRule  `json:"rules"`
	Errors []string      `json:"errors,omitempty"`
}

// DumpedLink is a NIC with its addresses.
type DumpedLink struct {
	Index     int      `json:"index"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	State     string   `json:"state"`
	Flags     string   `json:"flags"`
	MTU       int      `json:"mtu"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses"`
	RxBytes   uint64   `json:"rx_bytes"`
	TxBytes   uint64   `json:"tx_bytes"`
	RxErrors  uint64   `json:"rx_errors"`
	TxErrors  uint64   `json:"tx_errors"`
	RxDropped uint64   `json:"rx_dropped"`
	TxDropped uint64   `json:"tx_dropped"`
}

// DumpedRoute is a route, with its next hops.
type DumpedRoute struct {
	Table    int      `json:"table"`
	Type     string   `json:"type"`
	To       string   `json:"to"`
	Via      []string `json:"via"` // gateway%NIC
	Source   string   `json:"source,omitempty"`
	Metric   int      `json:"metric"`
	Protocol int      `json:"protocol"`
}

// DumpedRule is a rule that says which table is looked at.
type DumpedRule struct {
	Priority int    `json:"priority"`
	Family   string `json:"family"`
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	In       string `json:"iif,omitempty"`
	Out      string `json:"oif,omitempty"`
	Mark     uint32 `json:"mark,omitempty"`
	Table    int    `json:"table"`
	Protocol int    `json:"protocol"`
}

// NewDump lists what the kernel has now.
func NewDump() Dump {
	var d Dump
	failed := func(what string, err error) {
		if err != nil {
			d.Errors = append(d.Errors, what+": "+err.Error())
		}
	}
	links, err := whole(netlink.LinkList)
	failed("links", err)
	names := map[int]string{}
	for _, l := range links[:min(len(links), maxDumped)] {
		names[l.Attrs().Index] = l.Attrs().Name
		d.Links = append(d.Links, dumpLink(l, failed))
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		})
		failed("routes", err)
		for _, r := range routes {
			if len(d.Routes) < maxDumped {
				d.Routes = append(d.Routes, dumpRoute(r, names))
			}
		}
		rules, err := whole(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		failed("rules", err)
		for _, r := range rules {
			if len(d.Rules) < maxDumped {
				d.Rules = append(d.Rules, dumpRule(r, family))
			}
		}
	}
	slices.SortStableFunc(d.Routes, func(a, b DumpedRoute) int { return a.Table - b.Table })
	slices.SortStableFunc(d.Rules, func(a, b DumpedRule) int { return a.Priority - b.Priority })
	return d
}

func dumpLink(l netlink.Link, failed func(string, error)) DumpedLink {
	a := l.Attrs()
	d := DumpedLink{
		Index: a.Index, Name: a.Name, Type: l.Type(), State: a.OperState.String(), Flags: a.Flags.String(),
		MTU: a.MTU, MAC: a.HardwareAddr.String(), Addresses: []string{},
	}
	if s := a.Statistics; s != nil {
		d.RxBytes, d.TxBytes, d.RxErrors, d.TxErrors = s.RxBytes, s.TxBytes, s.RxErrors, s.TxErrors
		d.RxDropped, d.TxDropped = s.RxDropped, s.TxDropped
	}
	addresses, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	failed("addresses of "+a.Name, err)
	for _, addr := range addresses {
		d.Addresses = append(d.Addresses, addr.IPNet.String())
	}
	return d
}

func dumpRoute(r netlink.Route, names map[int]string) DumpedRoute {
	d := DumpedRoute{Table: r.Table, Type: routeType(r.Type), To: "default", Metric: r.Priority, Protocol: int(r.Protocol), Via: []string{}}
	if r.Dst != nil {
		d.To = r.Dst.String()
	}
	if r.Src != nil {
		d.Source = r.Src.String()
	}
	hop := func(gateway string, index int) {
		if name := names[index]; name != "" {
			gateway += "%" + name
		}
		if gateway != "" {
			d.Via = append(d.Via, gateway)
		}
	}
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	if len(r.MultiPath) == 0 {
		hop(text(addrFrom(r.Gw)), r.LinkIndex)
	}
	for _, n := range r.MultiPath {
		hop(text(addrFrom(n.Gw)), n.LinkIndex)
	}
	return d
}

func routeType(t int) string {
	switch t {
	case unix.RTN_UNICAST:
		return "unicast"
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BROADCAST:
		return "broadcast"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	}
	return fmt.Sprintf("type %d", t)
}

func dumpRule(r netlink.Rule, family int) DumpedRule {
	d := DumpedRule{
		Priority: r.Priority, Family: "inet", In: r.IifName, Out: r.OifName, Mark: r.Mark,
		Table: r.Table, Protocol: int(r.Protocol),
	}
	if family == unix.AF_INET6 {
		d.Family = "inet6"
	}
	if r.Src != nil {
		d.From = r.Src.String()
	}
	if r.Dst != nil {
		d.To = r.Dst.String()
	}
	return d
}

// String shows it in lines, as ip(8) does.
func (d Dump) String() string {
	var b strings.Builder
	for _, l := range d.Links {
		fmt.Fprintf(&b, "%d: %s (%s) %s mtu %d %s <%s>\n    rx %d bytes, %d errors, %d dropped; tx %d bytes, %d errors, %d dropped\n",
			l.Index, l.Name, l.Type, l.State, l.MTU, l.MAC, l.Flags, l.RxBytes, l.RxErrors, l.RxDropped, l.TxBytes, l.TxErrors, l.TxDropped)
		for _, a := range l.Addresses {
			fmt.Fprintf(&b, "    %s\n", a)
		}
	}
	for _, r := range d.Routes {
		fmt.Fprintf(&b, "table %d: %s %s via %s src %s metric %d proto %d\n", r.Table, r.Type, r.To, strings.Join(r.Via, " "), r.Source, r.Metric, r.Protocol)
	}
	for _, r := range d.Rules {
		fmt.Fprintf(&b, "rule %d: %s from %s to %s iif %s oif %s mark %d table %d proto %d\n",
			r.Priority, r.Family, r.From, r.To, r.In, r.Out, r.Mark, r.Table, r.Protocol)
	}
	for _, e := range d.Errors {
		fmt.Fprintf(&b, "not listed: %s\n", e)
	}
	return b.String()
}
