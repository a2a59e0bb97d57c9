// Package udp reads and writes UDP datagrams in batches, for every protocol
// that is carried by them: system calls are the cost of a datagram, not copies.
//
// A Conn is made from a socket of an uplink. One Reader and one Writer may use
// it at the same time; they allocate nothing for a datagram. Writes never
// wait; nor do reads of a Conn that is polled: one loop then serves many
// sockets with one Reader and one Writer. Receive offload (UDP_GRO) is not used: it would give the datagrams
// that it joins one time of arrival.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// Options are what a socket is to be like.
type Options struct {
	DSCP int // code point of what is sent (RFC 2474), 0-63
	TTL  int // time to live, or hop limit, of what is sent; 0: the system's
	// Receive and Send are buffer sizes in bytes; 0: the system's. Where the
	// kernel grants less, Log is told.
	Receive int
	Send    int
	Log     *slog.Logger
	// Polled takes the socket out of the runtime's poller, which would wake a
	// thread for each datagram: whoever reads looks for himself. All of such a
	// Conn, Close included, is for one goroutine at a time.
	Polled bool
}

// A Conn is a UDP socket that is bound to an uplink's NIC.
type Conn struct {
	conn   *net.UDPConn // nil where the socket is polled
	raw    rawConn
	local  netip.AddrPort
	nic    string
	index  int  // of the NIC, 0 where it is not known
	six    bool // an IPv6 socket, which may serve IPv4 too
	buffer int  // for receiving, in bytes; 0: not asked for
	missed atomic.Uint64
	lost   uint32 // the Reader's: the kernel's count of what did not fit, as last told
	whole  bool   // the Writer's: segmentation offload does not work here
}

// A rawConn is what Readers and Writers need of a syscall.RawConn.
type rawConn interface {
	Read(func(fd uintptr) (done bool)) error
	Write(func(fd uintptr) (done bool)) error
}

// Listen opens a port (0: any) on all addresses of the uplink. The network is
// "udp4", "udp6", or "udp" for both. The error is an *endpoint.Error.
func Listen(ctx context.Context, up endpoint.Uplink, network string, port int, o Options) (*Conn, error) {
	return open(ctx, up, network, netip.AddrPortFrom(netip.Addr{}, uint16(port)), o)
}

// Call opens a socket for sending to one address, bound to that address of the
// uplink from which it is reached; for a group to the NIC alone, whose first
// address the kernel takes. It stays unconnected: that nobody listens at the
// destination is no error. The error is an *endpoint.Error.
func Call(ctx context.Context, up endpoint.Uplink, to netip.AddrPort, o Options) (*Conn, error) {
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	if to.Addr().IsMulticast() {
		return open(ctx, up, network, netip.AddrPort{}, o)
	}
	local, err := Source(ctx, up, to)
	if err != nil {
		return nil, err
	}
	return Open(ctx, up, local, o)
}

// Source is the uplink's address from which another is reached. The error is
// an *endpoint.Error.
func Source(ctx context.Context, up endpoint.Uplink, to netip.AddrPort) (netip.Addr, error) {
	// Connecting a datagram socket sends nothing, and tells the address.
	probe, err := up.Dialer().DialContext(ctx, "udp", to.String())
	if err != nil {
		return netip.Addr{}, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "%s cannot be sent to through %s", to.Addr(), up.Name())
	}
	defer probe.Close()
	local, ok := probe.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, endpoint.Fail(endpoint.Unworkable, nil, "socket_failed", "the socket on %s is not UDP", up.Name())
	}
	return local.AddrPort().Addr().Unmap(), nil
}

// Open opens a socket on any port of one address of the uplink. The error is
// an *endpoint.Error.
func Open(ctx context.Context, up endpoint.Uplink, local netip.Addr, o Options) (*Conn, error) {
	network := "udp4"
	if local.Is6() {
		network = "udp6"
	}
	return open(ctx, up, network, netip.AddrPortFrom(local, 0), o)
}

func open(ctx context.Context, up endpoint.Uplink, network string, at netip.AddrPort, o Options) (*Conn, error) {
	address := fmt.Sprintf(":%d", at.Port())
	if at.Addr().IsValid() {
		address = at.String()
	}
	pc, err := up.ListenConfig().ListenPacket(ctx, network, address)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "port_taken",
			"port %d is already in use on %s: choose another, or stop the program that has it", at.Port(), up.Name())
	case errors.Is(err, unix.EACCES):
		return nil, endpoint.Fail(endpoint.Unworkable, err, "port_forbidden",
			"port %d cannot be opened by this program: choose one from 1024 on", at.Port())
	case err != nil:
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "no UDP socket on %s", up.Name())
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "socket_failed", "the socket on %s is a %T, not UDP", up.Name(), pc)
	}
	c, err := newConn(conn, up.Interface(), o)
	if err != nil {
		conn.Close()
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "the socket on %s cannot be set up", up.Name())
	}
	return c, nil
}

func newConn(conn *net.UDPConn, nic string, o Options) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, raw: raw, nic: nic}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		c.local = a.AddrPort()
	}
	if ifi, err := net.InterfaceByName(nic); err == nil {
		c.index = ifi.Index
	}
	var refused error
	if err := raw.Control(func(fd uintptr) { refused = c.setUp(int(fd), o) }); err != nil {
		return nil, err
	}
	if refused != nil || !o.Polled {
		return c, refused
	}
	return c, c.detach(raw)
}

// LocalAddr is where the socket is bound.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Buffer is how many bytes the kernel granted of Options.Receive.
func (c *Conn) Buffer() int { return c.buffer }

// Missed counts the datagrams that arrived and did not fit the receive buffer,
// as far as the Reader has heard of them.
func (c *Conn) Missed() uint64 { return c.missed.Load() }

// SetReadDeadline ends reads with os.ErrDeadlineExceeded from t on; the zero
// time takes the deadline away. It is not for a Conn that is polled.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// Close ends reads and writes with net.ErrClosed.
func (c *Conn) Close() error {
	if p, ok := c.raw.(*polled); ok {
		return p.close()
	}
	return c.conn.Close()
}
