package uplink

import (
	"fmt"
	"net/netip"
	"slices"

	"sluice/relay/endpoint"
)

// Validate returns what is wrong with a list of uplinks beyond what the tags
// say. Pointers begin with at, which stands for the list. local are the roles
// given on the command line, which need no match.
func Validate(all []Config, local []string, at string) []endpoint.Fault {
	var faults []endpoint.Fault
	names := map[string]string{}
	byDefault := ""
	for i, c := range all {
		here := fmt.Sprintf("%s/%d", at, i)
		if first, ok := names[c.Name]; ok && c.Name != "" {
			faults = append(faults, endpoint.Faultf(here+"/name", "name %q is taken by %s: use another", c.Name, first))
		} else {
			names[c.Name] = here
		}
		if c.Default && byDefault != "" {
			faults = append(faults, endpoint.Faultf(here+"/default", "%s is the default uplink: set only one", byDefault))
		} else if c.Default {
			byDefault = here
		}
		if c.Match == nil && !slices.Contains(local, c.Name) {
			faults = append(faults, endpoint.Faultf(here+"/match", "match is missing: give the interface, mac or path of the NIC"))
		}
		faults = append(faults, c.validate(here)...)
	}
	return faults
}

func (c Config) validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	if c.Match != nil {
		faults = append(faults, c.Match.validate(at+"/match")...)
	}
	if c.AdvertiseHost != "" {
		if wrong := endpoint.CheckHost(c.AdvertiseHost); wrong != "" {
			faults = append(faults, endpoint.Faultf(at+"/advertise_host", "advertise_host %s", wrong))
		}
	}
	for i, p := range c.Addresses {
		here := fmt.Sprintf("%s/addresses/%d", at, i)
		if !p.IsValid() {
			continue
		}
		if a := p.Addr(); !isHost(a) || p.Bits() == 0 {
			faults = append(faults, endpoint.Faultf(here, "address is %s: use one of the NIC's own, such as 192.0.2.9/24", p))
		}
		for _, q := range c.Addresses[:i] {
			if q.Addr() == p.Addr() {
				faults = append(faults, endpoint.Faultf(here, "address %s stands twice: keep one", p.Addr()))
				break
			}
		}
	}
	faults = append(faults, c.gateway(c.Gateway4, true, at+"/gateway4")...)
	faults = append(faults, c.gateway(c.Gateway6, false, at+"/gateway6")...)
	for i, a := range c.Nameservers {
		if a.IsValid() && !isHost(a) && !a.IsLoopback() {
			faults = append(faults, endpoint.Faultf(fmt.Sprintf("%s/nameservers/%d", at, i), "nameserver is %s: use the server's IP address", a))
		}
	}
	return faults
}

// gateway checks that a router can be reached from a static address.
func (c Config) gateway(gw *netip.Addr, v4 bool, at string) []endpoint.Fault {
	if gw == nil || !gw.IsValid() {
		return nil
	}
	field, family := "gateway6", "IPv6"
	if v4 {
		field, family = "gateway4", "IPv4"
	}
	if gw.Is4() != v4 || !isHost(*gw) {
		return []endpoint.Fault{endpoint.Faultf(at, "%s is %s: use an %s address", field, gw, family)}
	}
	if gw.IsLinkLocalUnicast() && !v4 {
		return nil // on every link; routers announce nothing else
	}
	for _, p := range c.Addresses {
		switch {
		case p.Addr() == *gw:
			return []endpoint.Fault{endpoint.Faultf(at, "%s is %s, the uplink's own address: use the router's", field, gw)}
		case p.Contains(*gw):
			return nil
		}
	}
	return []endpoint.Fault{endpoint.Faultf(at, "%s is %s, in none of the prefixes of addresses: use a router in one, or add the address", field, gw)}
}

// isHost tells whether an address can be that of one machine.
func isHost(a netip.Addr) bool {
	return a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (m Match) validate(at string) []endpoint.Fault {
	n := 0
	for _, s := range []string{m.Interface, m.MAC, m.Path} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return []endpoint.Fault{endpoint.Faultf(at, "match has %d of interface, mac and path: give exactly one", n)}
	}
	if m.Interface == "." || m.Interface == ".." {
		return []endpoint.Fault{endpoint.Faultf(at+"/interface", "interface is %q: use the name of a network interface", m.Interface)}
	}
	return nil
}
