package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindCaller binds the socket of a caller to the NIC, and to the address of
// the NIC that the kernel prefers for the destination. With the NIC alone, one
// without an address of the family would send from another NIC's address.
func (r *role) bindCaller(network, address string, c syscall.RawConn) error {
	if err := r.bind(network, address, c); err != nil {
		return err
	}
	f := r.facts.Load()
	to, err := netip.ParseAddrPort(address)
	if err != nil || f.loopback {
		return err
	}
	from, err := f.source(to)
	if err != nil {
		return fmt.Errorf("uplink %s: %w", r.name, err)
	}
	var refused error
	err = c.Control(func(fd uintptr) {
		// A TCP connection takes its port when it is made: the same one may
		// serve for other destinations.
		if strings.HasPrefix(network, "tcp") {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
		refused = unix.Bind(int(fd), sockaddr(netip.AddrPortFrom(from, 0), f.index))
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return fmt.Errorf("uplink %s: bind a socket to %s: %w", r.name, from, err)
	}
	return nil
}

// source returns the address of the NIC from which to send to an address.
func (f *facts) source(to netip.AddrPort) (netip.Addr, error) {
	six := !to.Addr().Unmap().Is4()
	preferred, err := f.preferred(to)
	if err == nil && (slices.Contains(f.addresses, preferred) || preferred.IsLinkLocalUnicast() && to.Addr().IsLinkLocalUnicast()) {
		return preferred, nil
	}
	// Another NIC's, or one that privacy extensions will soon replace.
	for _, a := range f.addresses {
		if a.Is6() == six {
			return a, nil
		}
	}
	family := "IPv4"
	if six {
		family = "IPv6"
	}
	return netip.Addr{}, fmt.Errorf("%s has no %s address from which to reach %s", f.nic, family, to.Addr())
}

// preferred asks the kernel what address it would send from. Connecting a
// datagram socket sends nothing.
func (f *facts) preferred(to netip.AddrPort) (netip.Addr, error) {
	family := unix.AF_INET
	if !to.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, f.nic); err != nil {
		return netip.Addr{}, err
	}
	if err := unix.Connect(fd, sockaddr(to, f.index)); err != nil {
		return netip.Addr{}, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, err
	}
	switch l := local.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(l.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(l.Addr), nil
	}
	return netip.Addr{}, unix.EAFNOSUPPORT
}

// sockaddr returns the address for the kernel, link-local ones on that NIC.
func sockaddr(a netip.AddrPort, index int) unix.Sockaddr {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
		s.ZoneId = uint32(index)
	}
	return s
}
