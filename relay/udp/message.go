package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	bytes  uint32
}

// A name has room for the address of either family.
type name [unix.SizeofSockaddrInet6]byte

// put writes the address as the socket's family has it, and returns its
// length. index is the NIC of link-local addresses.
func (n *name) put(a netip.AddrPort, six bool, index int) uint32 {
	if !six {
		s := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		*s = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().Unmap().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.Port))[:], a.Port())
		return unix.SizeofSockaddrInet4
	}
	s := (*unix.RawSockaddrInet6)(unsafe.Pointer(n))
	*s = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.Port))[:], a.Port())
	if a.Addr().IsLinkLocalUnicast() || a.Addr().IsLinkLocalMulticast() {
		s.Scope_id = uint32(index)
	}
	return unix.SizeofSockaddrInet6
}

// get reads the address, IPv4 as such also where an IPv6 socket shows it. The
// NIC of a link-local address is the socket's, and is not told.
func (n *name) get() netip.AddrPort {
	port := binary.BigEndian.Uint16(n[2:]) // in both families
	switch (*unix.RawSockaddrInet4)(unsafe.Pointer(n)).Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(n[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// control writes control messages into room that is made once.
type control struct {
	room []byte
	used int
}

// add appends a message and returns where its data belongs.
func (c *control) add(level, kind int32, bytes int) []byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c.room[c.used]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(bytes))
	data := c.room[c.used+unix.CmsgLen(0):][:bytes]
	c.used += unix.CmsgSpace(bytes)
	return data
}

// segment asks for segmentation offload: datagrams of size bytes (udp(7)).
func (c *control) segment(size int) {
	binary.NativeEndian.PutUint16(c.add(unix.SOL_UDP, unix.UDP_SEGMENT, 2), uint16(size))
}

// source has the datagram sent from an address (IP_PKTINFO of ip(7),
// IPV6_PKTINFO of ipv6(7)).
func (c *control) source(a netip.Addr, six bool) {
	if six {
		data := c.add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		clear(data)
		from := a.As16()
		copy(data, from[:])
		return
	}
	data := c.add(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	clear(data)
	from := a.Unmap().As4()
	copy(data[4:], from[:]) // ipi_spec_dst
}

// controlRoom is enough for the control messages of either direction.
var controlRoom = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(unix.SizeofInet4Pktinfo) +
	unix.CmsgSpace(16) + unix.CmsgSpace(4) + unix.CmsgSpace(2)
