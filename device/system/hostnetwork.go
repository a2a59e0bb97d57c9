package system

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Where systemd reads what is true until the next start of the box, and how
// all that is ours there is called.
const (
	networkDir  = "run/systemd/network"
	timesyncDir = "run/systemd/timesyncd.conf.d"
	ours        = "60-sluice"

	timesyncFile = timesyncDir + "/" + ours + ".conf"
)

// The metrics of routes: the default uplink's are better than those that
// networkd gives (1024), the others' worse.
const (
	defaultMetric = 100
	otherMetric   = 2000
)

// keepLease is how long the addresses that DHCP gave outlive the carrier. A cable
// that is out for longer may come back in another network.
const keepLease = 15 // seconds

func networkFile(link string) string { return networkDir + "/" + ours + "-" + link + ".network" }

// files returns the files that make the host be as the settings say, by their
// path below the root. The settings are valid.
func (s Settings) files() map[string]string {
	all := make(map[string]string)
	for _, l := range s.Links {
		all[networkFile(l.Name)] = l.network()
	}
	if len(s.NTP) > 0 {
		// The empty one does away with what other files name.
		all[timesyncFile] = made + "\n[Time]\nNTP=\nNTP=" + strings.Join(s.NTP, " ") + "\n"
	}
	return all
}

const made = "# Made by sluicectl host-apply. A change to it is lost.\n"

// network returns the link's file for networkd: systemd.network(5).
func (l Link) network() string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	static6 := l.Gateway6 != nil || slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() })
	metric := otherMetric
	if l.Default {
		metric = defaultMetric
	}

	b.WriteString(made)
	add("# Uplink %s.\n\n[Match]\n%s", l.Name, l.match())
	// A box with no network at all is a box that runs.
	add("\n[Link]\nRequiredForOnline=no")

	add("\n[Network]")
	if l.DHCP4 {
		// A restart of networkd keeps the lease.
		add("DHCP=ipv4\nKeepConfiguration=dhcp-on-stop\nIgnoreCarrierLoss=%ds", keepLease)
	} else {
		add("DHCP=no\nConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes")
	}
	add("LinkLocalAddressing=ipv6\nIPv6AcceptRA=%s", yes(!static6))
	for _, a := range l.Addresses {
		add("Address=%s", a)
	}
	for _, a := range l.Nameservers {
		add("DNS=%s", a)
	}
	add("DNSDefaultRoute=%s", yes(l.Default))

	for _, g := range []*netip.Addr{l.Gateway4, l.Gateway6} {
		if g != nil {
			add("\n[Route]\nGateway=%s\nMetric=%d", g, metric)
		}
	}
	if l.DHCP4 {
		// The box has its name from its document. Name servers of the document
		// stand in place of the network's.
		add("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\nUseRoutes=yes\nUseGateway=%s\nRouteMetric=%d\nUseDNS=%s",
			yes(l.Gateway4 == nil), metric, yes(len(l.Nameservers) == 0))
	}
	if !static6 {
		add("\n[IPv6AcceptRA]\nRouteMetric=%d\nUseDNS=%s", metric, yes(len(l.Nameservers) == 0))
	}
	return b.String()
}

func (l Link) match() string {
	switch {
	case l.Match.MAC != "":
		mac, _ := net.ParseMAC(l.Match.MAC)
		return "PermanentMACAddress=" + mac.String()
	case l.Match.Path != "":
		return "Path=" + l.Match.Path
	}
	return "Name=" + l.Match.Interface
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
