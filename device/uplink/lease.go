package uplink

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// A lease is what DHCP said of a NIC, as systemd-networkd keeps it.
type lease struct {
	router  bool // it named a router: a default route is there, or is to follow
	servers []netip.Addr
}

// leaseOf returns the lease of a NIC, an empty one where networkd has none.
func leaseOf(index int) lease {
	text, err := os.ReadFile(fmt.Sprintf("/run/systemd/netif/leases/%d", index))
	if err != nil {
		return lease{}
	}
	return parseLease(string(text))
}

func parseLease(text string) (l lease) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ROUTER":
			l.router = value != ""
		case "DNS":
			for word := range strings.FieldsSeq(value) {
				if a, err := netip.ParseAddr(word); err == nil {
					l.servers = append(l.servers, a)
				}
			}
		}
	}
	return l
}
