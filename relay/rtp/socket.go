package rtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// socketBuffer is asked for in bytes for each direction: at 50 Mbit/s about
// half a second. The system may grant less.
const socketBuffer = 4 << 20

// listen opens a UDP port on the uplink, on all of its addresses of the family.
// The error is an *endpoint.Error.
func listen(ctx context.Context, up endpoint.Uplink, network string, port int) (*net.UDPConn, error) {
	pc, err := up.ListenConfig().ListenPacket(ctx, network, fmt.Sprintf(":%d", port))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "port_taken",
			"port %d is already in use on %s: choose another, or stop the program that has it", port, up.Name())
	case errors.Is(err, unix.EACCES):
		return nil, endpoint.Fail(endpoint.Unworkable, err, "port_forbidden",
			"port %d cannot be opened by this program: choose one from 1024 on", port)
	case err != nil:
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "no UDP socket on %s", up.Name())
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "socket_failed", "the socket on %s is a %T, not UDP", up.Name(), pc)
	}
	return conn, nil
}

// setsockopt sets an integer option of a socket.
func setsockopt(conn syscall.Conn, level, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	refused := errors.New("socket is closed")
	if err := raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return refused
}

// growReceive makes the receive buffer large: beyond the system's limit where
// that is allowed, up to it otherwise.
func growReceive(conn *net.UDPConn) {
	if setsockopt(conn, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = conn.SetReadBuffer(socketBuffer) // a smaller buffer works too
	}
}

func growSend(conn *net.UDPConn) {
	if setsockopt(conn, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = conn.SetWriteBuffer(socketBuffer)
	}
}

// ipv6MulticastAll is IPV6_MULTICAST_ALL of linux/in6.h.
const ipv6MulticastAll = 29

// join makes conn a member of the group on one NIC, for all sources or for one.
func join(conn *net.UDPConn, nic string, group, source netip.Addr) error {
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return fmt.Errorf("NIC %s: %w", nic, err)
	}
	g := &net.UDPAddr{IP: group.AsSlice()}
	var s *net.UDPAddr
	if source.IsValid() {
		s = &net.UDPAddr{IP: source.AsSlice()}
	}
	if group.Is4() {
		// Groups that other sockets have joined are not ours.
		if err := setsockopt(conn, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
			return fmt.Errorf("IP_MULTICAST_ALL: %w", err)
		}
		p := ipv4.NewPacketConn(conn)
		if err := p.SetControlMessage(ipv4.FlagDst, true); err != nil {
			return fmt.Errorf("IP_PKTINFO: %w", err)
		}
		if s != nil {
			return p.JoinSourceSpecificGroup(ifi, g, s)
		}
		return p.JoinGroup(ifi, g)
	}
	if err := setsockopt(conn, unix.IPPROTO_IPV6, ipv6MulticastAll, 0); err != nil {
		return fmt.Errorf("IPV6_MULTICAST_ALL: %w", err)
	}
	p := ipv6.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return fmt.Errorf("IPV6_PKTINFO: %w", err)
	}
	if s != nil {
		return p.JoinSourceSpecificGroup(ifi, g, s)
	}
	return p.JoinGroup(ifi, g)
}

// addressedTo returns where a datagram was sent to, from the control messages
// that join asks for: in_pktinfo and in6_pktinfo of ip(7) and ipv6(7).
func addressedTo(oob []byte) netip.Addr {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= 12:
			return netip.AddrFrom4([4]byte(data[8:12]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 16:
			return netip.AddrFrom16([16]byte(data[:16]))
		}
		oob = rest
	}
	return netip.Addr{}
}

// A sender sends datagrams to one address. It never waits: what the socket
// cannot take at once is an error.
type sender struct {
	conn *net.UDPConn
	to   netip.AddrPort

	raw    syscall.RawConn
	addr   unix.Sockaddr
	parts  [2][]byte
	result error
	write  func(fd uintptr) bool // made once, so that sending does not allocate it
}

// newSender opens a socket on the uplink whose datagrams carry the given time
// to live (hop limit) and code point.
func newSender(ctx context.Context, up endpoint.Uplink, to netip.AddrPort, ttl, dscp int) (*sender, error) {
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	conn, err := listen(ctx, up, network, 0)
	if err != nil {
		return nil, err
	}
	growSend(conn)
	if err := mark(conn, up.Interface(), to.Addr(), ttl, dscp); err != nil {
		conn.Close()
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "the socket on %s cannot be set up", up.Name())
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "no UDP socket on %s", up.Name())
	}
	s := &sender{conn: conn, to: to, raw: raw}
	if to.Addr().Is4() {
		s.addr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		a := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
		if to.Addr().IsLinkLocalUnicast() || to.Addr().IsLinkLocalMulticast() {
			if ifi, err := net.InterfaceByName(up.Interface()); err == nil {
				a.ZoneId = uint32(ifi.Index)
			}
		}
		s.addr = a
	}
	s.write = func(fd uintptr) bool {
		for {
			_, s.result = unix.SendmsgBuffers(int(fd), s.parts[:], nil, s.addr, unix.MSG_DONTWAIT)
			if s.result != unix.EINTR {
				return true
			}
		}
	}
	return s, nil
}

// mark sets what the datagrams carry, and where multicast leaves.
func mark(conn *net.UDPConn, nic string, to netip.Addr, ttl, dscp int) error {
	var ifi *net.Interface
	if to.IsMulticast() {
		var err error
		if ifi, err = net.InterfaceByName(nic); err != nil {
			return fmt.Errorf("NIC %s: %w", nic, err)
		}
	}
	if to.Is4() {
		p := ipv4.NewPacketConn(conn)
		if ifi != nil {
			return errors.Join(p.SetTOS(dscp<<2), p.SetMulticastTTL(ttl), p.SetMulticastInterface(ifi))
		}
		return errors.Join(p.SetTOS(dscp<<2), p.SetTTL(ttl))
	}
	p := ipv6.NewPacketConn(conn)
	if ifi != nil {
		return errors.Join(p.SetTrafficClass(dscp<<2), p.SetMulticastHopLimit(ttl), p.SetMulticastInterface(ifi))
	}
	return errors.Join(p.SetTrafficClass(dscp<<2), p.SetHopLimit(ttl))
}

// send sends header and payload as one datagram.
func (s *sender) send(header, payload []byte) error {
	s.parts = [2][]byte{header, payload}
	err := s.raw.Write(s.write)
	s.parts = [2][]byte{}
	if err != nil {
		return err
	}
	return s.result
}

func (s *sender) close() { _ = s.conn.Close() }
