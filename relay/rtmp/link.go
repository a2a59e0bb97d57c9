package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A link is a TCP connection, with TLS or without. It counts what it sends.
type link struct {
	tcp    *net.TCPConn
	raw    syscall.RawConn // nil where there is none: then it is closed already
	tls    *tls.Conn       // nil: none
	below  *below
	over   atomic.Bool // nothing is to wait for long any more
	called bool        // by this end

	try    func(fd uintptr) bool // writes offered once
	offers [][]byte
	took   int
	err    error
}

// newLink takes a connection over, and sets it up.
func newLink(tcp *net.TCPConn) *link {
	l := &link{tcp: tcp, below: &below{TCPConn: tcp}}
	l.raw, _ = tcp.SyscallConn()
	l.try = l.tryOnce
	l.setUp()
	return l
}

// secure begins TLS, as a server or as a client.
func (l *link) secure(ctx context.Context, cfg *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) error {
	t := side(l.below, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	l.tls = t
	return nil
}

// below is the TCP connection below TLS. What TLS writes can be held back.
type below struct {
	*net.TCPConn
	wrote atomic.Uint64

	mu      sync.Mutex
	holding bool
	held    []byte
}

func (b *below) Write(p []byte) (int, error) {
	b.mu.Lock()
	if b.holding {
		b.held = append(b.held, p...)
		b.mu.Unlock()
		return len(p), nil
	}
	b.mu.Unlock()
	n, err := b.TCPConn.Write(p)
	b.wrote.Add(uint64(n))
	return n, err
}

// hold keeps back what TLS writes, until it is taken.
func (b *below) hold(holding bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = holding
}

// take returns what was held back.
func (b *below) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held = nil
	return held
}

func (l *link) Read(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Read(b)
	}
	return l.tcp.Read(b)
}

func (l *link) Write(b []byte) (int, error) {
	if l.tls != nil {
		return l.tls.Write(b)
	}
	return l.below.Write(b)
}

// write sends all of it, within a time.
func (l *link) write(b []byte, within time.Duration) error {
	_ = l.tcp.SetWriteDeadline(time.Now().Add(within))
	if l.over.Load() { // asked behind it, so that an end meanwhile is not put off
		_ = l.tcp.SetWriteDeadline(time.Now().Add(goodbyeTime))
	}
	defer l.tcp.SetWriteDeadline(time.Time{})
	_, err := l.Write(b)
	return err
}

// seal encrypts, without sending it.
func (l *link) seal(plain [][]byte) [][]byte {
	// One record for each would cost more than the copy.
	var all []byte
	for _, b := range plain {
		all = append(all, b...)
	}
	if len(all) > 0 {
		_, _ = l.tls.Write(all) // what is below takes everything
	}
	if b := l.below.take(); len(b) > 0 {
		return [][]byte{b}
	}
	return nil
}

// mostVectors is how many pieces are offered at once.
const mostVectors = 64

// offer sends as much as the kernel takes now, below TLS. It is for one
// goroutine.
func (l *link) offer(b [][]byte) (n int, err error) {
	if l.raw == nil {
		return 0, net.ErrClosed
	}
	l.offers, l.took, l.err = b[:min(len(b), mostVectors)], 0, nil
	err = l.raw.Write(l.try)
	l.offers = nil
	if err == nil {
		err = l.err
	}
	l.below.wrote.Add(uint64(l.took))
	return l.took, err
}

// tryOnce never asks to be called again.
func (l *link) tryOnce(fd uintptr) bool {
	for {
		var n int
		var err error
		if len(l.offers) == 1 { // writev is dearer
			n, err = unix.Write(int(fd), l.offers[0])
		} else {
			n, err = unix.Writev(int(fd), l.offers)
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
		case err != nil:
			l.err = err
		default:
			l.took = n
		}
		return true
	}
}

// wrote is how many bytes were written below TLS.
func (l *link) wrote() uint64 { return l.below.wrote.Load() }

// closeWrite tells the peer that no more is sent.
func (l *link) closeWrite() {
	if l.tls != nil {
		_ = l.tls.CloseWrite()
	}
	_ = l.tcp.CloseWrite()
}

// drain waits for the peer to leave, and takes what it still says.
func (l *link) drain() {
	_ = l.tcp.SetReadDeadline(time.Now().Add(goodbyeTime))
	_, _ = io.CopyN(io.Discard, l, 1<<20)
}

// seeOff ends a connection whose session has ended in order, and waits for the
// peer to do so. To close one on which something is unread would take from the
// peer what it does not have yet (RFC 1122 section 4.2.2.13).
func (l *link) seeOff(why error) {
	if orderly(why) {
		l.closeWrite()
		l.drain()
	}
}

// abort ends reads and writes that wait, and those to come.
func (l *link) abort() {
	l.over.Store(true)
	_ = l.tcp.SetDeadline(time.Unix(1, 0))
}

// hush ends reads, and writes soon.
func (l *link) hush() {
	l.over.Store(true)
	_ = l.tcp.SetReadDeadline(time.Unix(1, 0))
	_ = l.tcp.SetWriteDeadline(time.Now().Add(goodbyeTime))
}

func (l *link) close() { _ = l.tcp.Close() }
