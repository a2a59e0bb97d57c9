package uplink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// A nic is a network interface as the kernel shows it.
type nic struct {
	index     int
	name      string
	altNames  []string
	permanent net.HardwareAddr // burnt-in address, nil where the driver has none
	address   net.HardwareAddr // the one in use
	path      string           // udev ID_PATH, empty where it cannot be known
	loopback  bool
	up        bool
	carrier   bool
	addresses []netip.Addr   // usable by peers, sorted
	subnets   []netip.Prefix // of its IPv4 addresses
	six       bool           // has an IPv6 address, be it link-local
	lease     lease
}

// has tells whether the NIC has a usable address of the family.
func (n *nic) has(six bool) bool {
	return slices.ContainsFunc(n.addresses, func(a netip.Addr) bool { return a.Is6() == six })
}

// list returns every NIC with its addresses.
func list() ([]nic, error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list NICs: %w", err)
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	nics := make([]nic, 0, len(links))
	for _, l := range links {
		a := l.Attrs()
		n := nic{
			index: a.Index, name: a.Name, altNames: a.AltNames,
			permanent: a.PermHWAddr, address: a.HardwareAddr,
			path:     IDPath(a.Index, a.Name),
			lease:    leaseOf(a.Index),
			loopback: a.Flags&net.FlagLoopback != 0,
			up:       a.Flags&net.FlagUp != 0,
			carrier:  a.RawFlags&unix.IFF_LOWER_UP != 0,
		}
		for _, addr := range addrs {
			if addr.LinkIndex == a.Index {
				n.add(addr)
			}
		}
		slices.SortFunc(n.addresses, netip.Addr.Compare)
		nics = append(nics, n)
	}
	return nics, nil
}

// add notes an address of the NIC.
func (n *nic) add(a netlink.Addr) {
	ip := addrFrom(a.IP)
	if ip.Is6() {
		n.six = true
	} else {
		ones, _ := a.Mask.Size()
		n.subnets = append(n.subnets, netip.PrefixFrom(ip, ones).Masked())
	}
	if usable(a, n.loopback) {
		n.addresses = append(n.addresses, ip)
	}
}

// shares tells whether the two NICs have addresses in one IPv4 subnet.
func (n *nic) shares(other *nic) bool {
	return slices.ContainsFunc(n.subnets, func(p netip.Prefix) bool {
		return slices.ContainsFunc(other.subnets, p.Overlaps)
	})
}

// whole lists again while the kernel says that a list changed under its reader.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range 5 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// usable tells whether a peer can be given the address: not link-local, not
// one whose uniqueness is still in doubt, and not one that privacy extensions
// (RFC 8981) will soon replace.
func usable(a netlink.Addr, loopback bool) bool {
	ip := addrFrom(a.IP)
	const passing = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	if a.Flags&passing != 0 || ip.Is6() && a.Flags&unix.IFA_F_TEMPORARY != 0 {
		return false
	}
	return ip.IsGlobalUnicast() || loopback && ip.IsLoopback()
}

// unready returns why nothing can be sent through the NIC now, or nil.
func (n *nic) unready() *endpoint.Reason {
	switch {
	case !n.up:
		return endpoint.Because("link_down", "%s is switched off", n.name)
	case !n.carrier:
		return endpoint.Because("no_carrier", "%s has no carrier: check the cable", n.name)
	case len(n.addresses) == 0:
		return endpoint.Because("no_address", "%s has no usable address yet", n.name)
	}
	return nil
}

// find returns the one NIC that is meant, or why there is none.
func find(nics []nic, m *Match) (*nic, *endpoint.Reason) {
	var found []*nic
	var what string
	switch {
	case m == nil:
		return nil, endpoint.Because("nic_absent", "nothing says which NIC it is")
	case m.Interface != "":
		what = "named " + m.Interface
		found = choose(nics, func(n *nic) bool {
			return n.name == m.Interface || slices.Contains(n.altNames, m.Interface)
		})
	case m.MAC != "":
		what = "with the hardware address " + m.MAC
		mac, err := net.ParseMAC(m.MAC)
		if err != nil {
			return nil, endpoint.Because("nic_absent", "%q is not a hardware address", m.MAC)
		}
		// What is stacked on a NIC (VLAN, bridge, bond) shows its address too,
		// but not as a permanent one.
		found = choose(nics, func(n *nic) bool { return bytes.Equal(n.permanent, mac) })
		if len(found) == 0 {
			found = choose(nics, func(n *nic) bool { return n.permanent == nil && bytes.Equal(n.address, mac) })
		}
	default:
		what = "at the path " + m.Path
		found = choose(nics, func(n *nic) bool { return n.path != "" && n.path == m.Path })
	}
	switch len(found) {
	case 0:
		return nil, endpoint.Because("nic_absent", "the box has no NIC %s", what)
	case 1:
		return found[0], nil
	}
	return nil, endpoint.Because("nic_ambiguous", "%s and %s are both NICs %s", found[0].name, found[1].name, what)
}

func choose(nics []nic, is func(*nic) bool) (found []*nic) {
	for i := range nics {
		if is(&nics[i]) {
			found = append(found, &nics[i])
		}
	}
	return found
}
