package srt

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// receiveBuffer is how much the kernel may hold of what arrives, in bytes: a
// burst at the start of a stream is larger than what it does by itself.
const receiveBuffer = 4 << 20

// prepare sets the options of a socket, each as far as it can be had: the
// Differentiated Services code point of its address family, of both where it
// is dual-stack, and the receive buffer, beyond the system's limit where we
// have the right to.
func prepare(rc syscall.RawConn, dscp int) {
	_ = rc.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if dscp > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2)
		}
	})
}
