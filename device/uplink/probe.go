package uplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// Resolve returns the addresses of a host by its name, asked through the
// uplink: first those of an IP version that the uplink has. An address stands
// for itself.
func Resolve(ctx context.Context, u endpoint.Uplink, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	found, err := u.Resolver().LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var has4, has6 bool
	for _, own := range u.Addresses() {
		has4, has6 = has4 || own.Is4(), has6 || own.Is6()
	}
	var first, others []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); a.Is4() && has4 || a.Is6() && has6 {
			first = append(first, a)
		} else {
			others = append(others, a)
		}
	}
	return append(first, others...), nil
}

// Connect makes a TCP connection through the uplink, ends it, and returns how
// long it took to make.
func Connect(ctx context.Context, u endpoint.Uplink, to netip.AddrPort) (time.Duration, error) {
	begin := time.Now()
	c, err := u.Dialer().DialContext(ctx, "tcp", to.String())
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took, c.Close()
}

// Ping sends one ICMP echo request through the uplink and returns when it is
// answered, with the round-trip time, or ctx is done.
func Ping(ctx context.Context, u endpoint.Uplink, to netip.Addr) (time.Duration, error) {
	f, raw, err := openICMP(u, to)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	echo := &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: []byte(rand.Text())}
	request, answer, protocol := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: echo}, icmp.Type(ipv4.ICMPTypeEchoReply), unix.IPPROTO_ICMP
	if to.Is6() {
		request.Type, answer, protocol = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, unix.IPPROTO_ICMPV6
	}
	packet, err := request.Marshal(nil) // of IPv6 the kernel sums up
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := f.Write(packet); err != nil {
		return 0, fmt.Errorf("send: %w", errno(err))
	}
	buf := make([]byte, 1500)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil {
			return 0, errors.New("no answer")
		}
		if err != nil {
			return 0, errno(err)
		}
		b := buf[:n]
		if raw && to.Is4() && n > 0 { // with its IP header
			b = b[min(n, int(b[0]&0x0f)*4):]
		}
		m, err := icmp.ParseMessage(protocol, b)
		if err != nil || m.Type != answer {
			continue
		}
		if reply, ok := m.Body.(*icmp.Echo); ok && bytes.Equal(reply.Data, echo.Data) {
			return time.Since(begin), nil
		}
	}
}

// errno returns the kernel's error without the file's name.
func errno(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// openICMP opens a socket for echo requests to an address: without privilege
// where the system lets its users ping, or else a raw one.
func openICMP(u endpoint.Uplink, to netip.Addr) (f *os.File, raw bool, err error) {
	family, protocol, network := unix.AF_INET, unix.IPPROTO_ICMP, "udp4"
	if to.Is6() {
		family, protocol, network = unix.AF_INET6, unix.IPPROTO_ICMPV6, "udp6"
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if err != nil {
		raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	if err != nil {
		return nil, false, fmt.Errorf("the system lets this program send no echo requests: widen net.ipv4.ping_group_range, or give it CAP_NET_RAW: %w", err)
	}
	f = os.NewFile(uintptr(fd), "icmp")
	if err := connectICMP(u, f, network, to); err != nil {
		f.Close()
		return nil, false, err
	}
	return f, raw, nil
}

func connectICMP(u endpoint.Uplink, f *os.File, network string, to netip.Addr) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	at := netip.AddrPortFrom(to, 0)
	if bind := u.Dialer().Control; bind != nil {
		if err := bind(network, at.String(), c); err != nil {
			return err
		}
	}
	var refused error
	if err := c.Control(func(fd uintptr) { refused = unix.Connect(int(fd), sockaddr(at, 0)) }); err != nil {
		return err
	}
	return refused
}
