package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Message is a datagram to send: header and payload, one after the other.
type Message struct {
	Header  []byte // may be empty
	Payload []byte
	To      netip.AddrPort
	From    netip.Addr // source address; not valid: the socket's
}

func (m *Message) size() int { return len(m.Header) + len(m.Payload) }

const (
	// burst is how many datagrams may leave for one peer back to back.
	burst = 16
	// segmented is how much the kernel segments in one piece: the largest
	// IPv4 datagram less its headers.
	segmented = 65535 - 20 - 8
)

// A Writer sends datagrams in batches. It is for one goroutine.
type Writer struct {
	conn     *Conn
	headers  []mmsghdr
	iovecs   []unix.Iovec // two for each message
	names    []name
	controls []byte
	groups   []int // messages in each header

	first, count int // of the headers to send
	sent         int
	errno        unix.Errno
	write        func(fd uintptr) bool // made once, so that writing does not allocate it
}

// NewWriter returns a Writer of up to batch datagrams in a system call.
func NewWriter(c *Conn, batch int) *Writer {
	w := &Writer{
		conn:     c,
		headers:  make([]mmsghdr, batch),
		iovecs:   make([]unix.Iovec, 2*batch),
		names:    make([]name, batch),
		controls: make([]byte, batch*controlRoom),
		groups:   make([]int, batch),
	}
	w.write = func(fd uintptr) bool {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.headers[w.first])),
				uintptr(w.count), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
			if errno != unix.EINTR {
				w.sent, w.errno = int(n), errno
				return true
			}
		}
	}
	return w
}

// segments tells whether the kernel knows segmentation offload (Linux 4.18).
func segments(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	return err == nil
}

// Use has the Writer write to another socket from now on.
func (w *Writer) Use(c *Conn) { w.conn = c }

// Write sends the messages in order and returns how many were sent. It does
// not wait: where that is fewer than all, the error says why the next one was
// not sent, unix.EAGAIN where the send buffer is full. The messages are not
// held once it has returned.
func (w *Writer) Write(messages []Message) (sent int, err error) {
	for sent < len(messages) {
		n, err := w.some(messages[sent:])
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// some sends the first of the messages, as many as go into one system call.
func (w *Writer) some(messages []Message) (sent int, err error) {
	if !w.conn.takes(messages[0].To) {
		return 0, unix.EAFNOSUPPORT
	}
	n, headers := w.prepare(messages)
	defer w.release(n)
	for w.first, w.count = 0, headers; w.count > 0; {
		w.sent = 0
		if err := w.conn.raw.Write(w.write); err != nil {
			return sent, err
		}
		if w.errno != 0 {
			if !w.conn.whole && w.groups[w.first] > 1 && refusesOffload(w.errno) {
				w.conn.whole = true // for this socket: the rest goes one by one
				return sent, nil
			}
			return sent, w.errno
		}
		for _, group := range w.groups[w.first : w.first+w.sent] {
			sent += group
		}
		w.first, w.count = w.first+w.sent, w.count-w.sent
	}
	return sent, nil
}

// takes tells whether the socket can send to the address.
func (c *Conn) takes(to netip.AddrPort) bool {
	return to.Addr().Unmap().Is4() || c.six && to.Addr().Is6()
}

// refusesOffload tells whether the error may be due to segmentation offload:
// NICs without checksum offload, tunnels and small MTUs refuse it.
func refusesOffload(errno unix.Errno) bool {
	return errno == unix.EINVAL || errno == unix.EIO || errno == unix.EMSGSIZE
}

// prepare fills in the headers for the first of the messages, and returns how
// many messages and headers that are.
func (w *Writer) prepare(messages []Message) (n, headers int) {
	for n < len(messages) && n < len(w.headers) && w.conn.takes(messages[n].To) {
		group := 1
		if !w.conn.whole {
			group = alike(messages[n:min(len(messages), len(w.headers))])
		}
		w.header(headers, n, messages[n:n+group])
		w.groups[headers] = group
		n += group
		headers++
	}
	return n, headers
}

// alike returns how many of the first messages can be segments of one: to and
// from the same address and of one size, but for the last, which may be
// shorter.
func alike(messages []Message) int {
	first := &messages[0]
	size, total := first.size(), first.size()
	n := 1
	for n < len(messages) && n < burst && size > 0 {
		m := &messages[n]
		if m.To != first.To || m.From != first.From || m.size() > size || m.size() == 0 || total+m.size() > segmented {
			break
		}
		n++
		total += m.size()
		if m.size() < size {
			break
		}
	}
	return n
}

// header fills in header i for messages whose first one is number at of the
// batch.
func (w *Writer) header(i, at int, messages []Message) {
	iovecs := w.iovecs[2*at:]
	parts := 0
	for _, m := range messages {
		for _, b := range [...][]byte{m.Header, m.Payload} {
			if len(b) > 0 {
				iovecs[parts].Base = &b[0]
				iovecs[parts].SetLen(len(b))
				parts++
			}
		}
	}
	h := &w.headers[i].header
	*h = unix.Msghdr{Iov: &iovecs[0]}
	h.SetIovlen(parts)
	h.Name = (*byte)(unsafe.Pointer(&w.names[i]))
	h.Namelen = w.names[i].put(messages[0].To, w.conn.six, w.conn.index)
	c := control{room: w.controls[i*controlRoom:][:controlRoom]}
	if messages[0].From.IsValid() {
		c.source(messages[0].From, w.conn.six)
	}
	if len(messages) > 1 {
		c.segment(messages[0].size())
	}
	if c.used > 0 {
		h.Control = &c.room[0]
		h.SetControllen(c.used)
	}
}

// release lets the payloads of n messages go.
func (w *Writer) release(n int) {
	clear(w.iovecs[:2*n])
}
