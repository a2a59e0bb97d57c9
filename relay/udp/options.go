package udp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ipv6MulticastAll is IPV6_MULTICAST_ALL of linux/in6.h.
const ipv6MulticastAll = 29

// An option is one integer option of a socket.
type option struct {
	name                 string
	level, option, value int
	// spare is what a socket can do without: a kernel that does not know it is
	// too old for it (all do from 4.20 on), or emulated.
	spare bool
}

// setUp sets every option of a new socket.
func (c *Conn) setUp(fd int, o Options) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("SO_DOMAIN: %w", err)
	}
	c.six = domain == unix.AF_INET6
	c.whole = !segments(fd)
	required := []option{
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, true}, // it is the time of reading then
		{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1, true},       // what did not fit is not counted then
	}
	var optional []option
	if c.six {
		required = append(required, c.v6(o)...)
		// What concerns IPv4 is refused where the socket serves IPv6 alone.
		optional = c.v4(o)
	} else {
		required = append(required, c.v4(o)...)
	}
	for _, s := range required {
		err := unix.SetsockoptInt(fd, s.level, s.option, s.value)
		if err != nil && (!s.spare || !errors.Is(err, unix.ENOPROTOOPT)) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, s := range optional {
		_ = unix.SetsockoptInt(fd, s.level, s.option, s.value)
	}
	if c.index != 0 {
		_ = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(c.index)})
	}
	c.buffer = grow(fd, o.Log, "receive", "net.core.rmem_max", unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, o.Receive)
	grow(fd, o.Log, "send", "net.core.wmem_max", unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, o.Send)
	return nil
}

// v4 are the options of IPv4. A socket hears only the groups that it has
// joined itself, where the kernel can have it so.
func (c *Conn) v4(o Options) []option {
	options := []option{
		{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1, false},
		{"IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, true},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, o.DSCP << 2, false},
	}
	if o.TTL > 0 {
		options = append(options,
			option{"IP_TTL", unix.IPPROTO_IP, unix.IP_TTL, o.TTL, false},
			option{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, o.TTL, false})
	}
	return options
}

func (c *Conn) v6(o Options) []option {
	options := []option{
		{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, false},
		{"IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, ipv6MulticastAll, 0, true},
		{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, o.DSCP << 2, false},
	}
	if o.TTL > 0 {
		options = append(options,
			option{"IPV6_UNICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, o.TTL, false},
			option{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, o.TTL, false})
	}
	if c.index != 0 {
		options = append(options, option{"IPV6_MULTICAST_IF", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, c.index, true})
	}
	return options
}

// grow makes a buffer large: beyond the system's limit where that is allowed,
// up to it otherwise. It returns how many bytes it has now.
func grow(fd int, log *slog.Logger, which, limit string, force, option, bytes int) int {
	if bytes <= 0 {
		return 0
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes)
	}
	// The kernel tells twice the size: half of it is its own (socket(7)).
	granted, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if granted /= 2; err == nil && granted < bytes && log != nil {
		log.Warn("the kernel cuts the "+which+" buffer: raise "+limit+", or give the program CAP_NET_ADMIN",
			"asked_bytes", bytes, "granted_bytes", granted)
	}
	return granted
}

// Join makes the socket a member of the group on its NIC, for all sources or,
// where source is valid, for that one alone (RFC 4607).
func (c *Conn) Join(group, source netip.Addr) error { return c.member(group, source, true) }

// Leave ends the membership that Join began.
func (c *Conn) Leave(group, source netip.Addr) error { return c.member(group, source, false) }

func (c *Conn) member(group, source netip.Addr, join bool) error {
	ifi, err := net.InterfaceByName(c.nic)
	if err != nil {
		return fmt.Errorf("NIC %s: %w", c.nic, err)
	}
	g := &net.UDPAddr{IP: group.AsSlice()}
	s := &net.UDPAddr{IP: source.AsSlice()}
	type membership interface {
		JoinGroup(*net.Interface, net.Addr) error
		LeaveGroup(*net.Interface, net.Addr) error
		JoinSourceSpecificGroup(_ *net.Interface, group, source net.Addr) error
		LeaveSourceSpecificGroup(_ *net.Interface, group, source net.Addr) error
	}
	var m membership = ipv6.NewPacketConn(c.conn)
	if group.Is4() {
		m = ipv4.NewPacketConn(c.conn)
	}
	switch {
	case join && source.IsValid():
		return m.JoinSourceSpecificGroup(ifi, g, s)
	case join:
		return m.JoinGroup(ifi, g)
	case source.IsValid():
		return m.LeaveSourceSpecificGroup(ifi, g, s)
	}
	return m.LeaveGroup(ifi, g)
}
