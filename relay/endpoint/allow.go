package endpoint

import (
	"fmt"
	"net/netip"
	"strings"
)

// An AllowList names who may connect, as CIDR prefixes. Empty allows everyone.
type AllowList []netip.Prefix

// ParseAllow reads one entry: a prefix, whose host bits are masked, or an
// address, which stands for itself alone.
func ParseAllow(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a CIDR prefix such as 203.0.113.0/28", s)
	}
	if p.Addr().Is4In6() {
		// It would never match: peers are compared by their IPv4 address.
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 { // Contains compares IPv4 as IPv4
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// Contains tells whether the address may connect.
func (l AllowList) Contains(a netip.Addr) bool {
	if len(l) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	for _, p := range l {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
