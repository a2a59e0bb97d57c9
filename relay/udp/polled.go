package udp

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// polled is a socket that the runtime's poller does not know. For one
// goroutine at a time.
type polled struct {
	fd     int
	closed bool
}

// detach takes the socket out of the runtime's poller.
func (c *Conn) detach(raw syscall.RawConn) error {
	fd, failure := -1, error(nil)
	if err := raw.Control(func(own uintptr) { fd, failure = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	c.raw = &polled{fd: fd}
	_ = c.conn.Close() // the socket itself stays open by the other descriptor
	c.conn = nil
	return nil
}

// Read calls f once, whether there was something or not.
func (p *polled) Read(f func(fd uintptr) bool) error {
	if p.closed {
		return net.ErrClosed
	}
	f(uintptr(p.fd))
	return nil
}

// Write calls f once.
func (p *polled) Write(f func(fd uintptr) bool) error { return p.Read(f) }

func (p *polled) close() error {
	if p.closed {
		return net.ErrClosed
	}
	p.closed = true
	return unix.Close(p.fd)
}
