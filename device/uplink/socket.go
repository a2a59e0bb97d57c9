package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bind binds a new socket to the role's NIC before it is used. Without a NIC,
// or the right to bind to it, there is no socket: never one on another NIC.
func (r *role) bind(_, _ string, c syscall.RawConn) error {
	f := r.facts.Load()
	if f.nic == "" {
		return errors.New(f.reason.Message)
	}
	var refused error
	err := c.Control(func(fd uintptr) {
		refused = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, f.nic)
	})
	switch {
	case err != nil:
		return fmt.Errorf("uplink %s: %w", r.name, err)
	case errors.Is(refused, unix.EPERM):
		return fmt.Errorf("uplink %s: the system refuses to bind a socket to %s: the program needs CAP_NET_RAW or CAP_NET_ADMIN: %w", r.name, f.nic, refused)
	case refused != nil:
		return fmt.Errorf("uplink %s: bind a socket to %s: %w", r.name, f.nic, refused)
	}
	return nil
}

// Dialer makes connections from the NIC and one of its addresses: LocalAddr is
// to stay nil. Multipath TCP is off: its subflows would go out through other
// NICs.
func (r *role) Dialer() *net.Dialer {
	d := &net.Dialer{Control: r.bindCaller, Resolver: r.Resolver()}
	d.SetMultipathTCP(false)
	return d
}

// ListenConfig makes sockets that receive on the NIC alone, with its port to
// themselves: SO_REUSEADDR is not set, so that a UDP port taken is an error.
func (r *role) ListenConfig() *net.ListenConfig {
	l := &net.ListenConfig{Control: r.bind}
	l.SetMultipathTCP(false)
	return l
}

// Resolver asks the uplink's own name servers, or else those of the NIC's DHCP
// lease, or else those of the system, through the NIC.
func (r *role) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true, // the C library would ask through any NIC
		Dial: func(ctx context.Context, network, server string) (net.Conn, error) {
			server, err := r.nameserver(server)
			if err != nil {
				return nil, err
			}
			d := net.Dialer{Control: r.bindCaller}
			return d.DialContext(ctx, network, server)
		},
	}
}

// systemdServers lists the servers that systemd-resolved itself asks.
const systemdServers = "/run/systemd/resolve/resolv.conf"

// nameserver returns the address to ask where /etc/resolv.conf says server.
func (r *role) nameserver(server string) (string, error) {
	var servers []netip.Addr
	if c := r.config.Load(); c != nil {
		servers = c.Nameservers
	}
	if len(servers) == 0 {
		servers = r.facts.Load().servers
	}
	if len(servers) == 0 {
		at, err := netip.ParseAddrPort(server)
		if err != nil || !at.Addr().IsLoopback() || r.facts.Load().loopback {
			return server, nil
		}
		// A stub on the loopback cannot be reached from another NIC, and would
		// ask through whichever it likes.
		conf, _ := os.ReadFile(systemdServers)
		if servers = parseServers(string(conf)); len(servers) == 0 {
			return "", fmt.Errorf("uplink %s: the system's name server %s is on the box itself and cannot be asked through %s: set nameservers on the uplink", r.name, at.Addr(), r.facts.Load().nic)
		}
	}
	next := int(r.asked.Add(1)-1) % len(servers)
	return netip.AddrPortFrom(servers[next], 53).String(), nil
}

// parseServers returns the servers of a resolv.conf that are not on the box.
func parseServers(conf string) (servers []netip.Addr) {
	for line := range strings.Lines(conf) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && !a.IsLoopback() {
			servers = append(servers, a)
		}
	}
	return servers
}
