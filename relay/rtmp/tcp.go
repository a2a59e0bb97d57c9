package rtmp

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// How a dead path shows: what was sent is not acknowledged, or an idle peer
// does not answer. A cable may be out for two seconds.
const (
	deadAfter  = 10 * time.Second
	probeAfter = 5 * time.Second
	probeEvery = 2 * time.Second
)

// setUp sets what every connection has.
func (l *link) setUp() {
	_ = l.tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: int((deadAfter - probeAfter) / probeEvery)})
	l.option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
}

// mark sets the Differentiated Services code point of what is sent (RFC 2474).
func (l *link) mark(dscp int) {
	if dscp == 0 {
		return
	}
	a, _ := l.tcp.LocalAddr().(*net.TCPAddr)
	if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Is6() && !ip.Is4In6() {
		l.option(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2)
		return
	}
	l.option(unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
}

// option sets one integer option. That the kernel refuses one is no reason to
// do without the connection.
func (l *link) option(level, name, value int) {
	if l.raw == nil {
		return
	}
	_ = l.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), level, name, value) })
}

// answers tells whether the peer's host still answered when TCP gave the
// connection up: then it took nothing, and the path is not dead. It is asked
// every few seconds.
func (l *link) answers() (recently bool) {
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		recently = err == nil && time.Duration(info.Last_ack_recv)*time.Millisecond < deadAfter/2
	})
	return recently
}

// delivered asks TCP how much of what was written the peer's host has, and for
// the round-trip time.
func (l *link) delivered() (bytes uint64, rtt time.Duration) {
	if l.raw == nil {
		return 0, 0
	}
	_ = l.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		bytes, rtt = info.Bytes_acked, time.Duration(info.Rtt)*time.Microsecond
		if l.called { // the SYN counts as one byte
			bytes = max(bytes, 1) - 1
		}
	})
	return bytes, rtt
}
