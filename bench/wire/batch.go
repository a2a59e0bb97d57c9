package wire

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is how many datagrams one system call moves at most.
const Batch = 64

// MaxSegments is how many datagrams one message may be cut into
// (UDP_MAX_SEGMENTS of older kernels); its bytes must fit into one as well.
const MaxSegments = 40

// An Address is where a datagram comes from or goes to.
type Address = unix.RawSockaddrInet4

// AddressOf returns the form that the kernel takes.
func AddressOf(a netip.AddrPort) Address {
	p := a.Port()
	return Address{Family: unix.AF_INET, Port: p>>8 | p<<8, Addr: a.Addr().As4()}
}

// AddrPort returns the form that package net takes.
func AddrPort(a *Address) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), a.Port>>8|a.Port<<8)
}

// Listen opens a socket on a port of the loopback, 0 for a free one, with
// large buffers and the kernel's time on everything that is received.
func Listen(port int) (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, err
	}
	fd := Descriptor(c)
	const buffer = 8 << 20
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], buffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], buffer)
		}
	}
	return c, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// Port returns the local port of a socket.
func Port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// Descriptor returns the descriptor of a socket, which is good until it is
// closed.
func Descriptor(c syscall.Conn) int {
	descriptor := -1
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { descriptor = int(fd) })
	}
	return descriptor
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// A Reader takes what waits in sockets, without ever blocking.
type Reader struct {
	messages [Batch]message
	vectors  [Batch]unix.Iovec
	from     [Batch]Address
	control  [Batch][64]byte
	data     []byte
	size     int
}

// NewReader returns a Reader that keeps the first size bytes of each datagram:
// what is not copied costs nothing.
func NewReader(size int) *Reader {
	r := &Reader{data: make([]byte, Batch*size), size: size}
	for i := range r.messages {
		r.vectors[i].Base = &r.data[i*size]
		r.vectors[i].SetLen(size)
		h := &r.messages[i].header
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.from[i]))
		h.Control = &r.control[i][0]
	}
	return r
}

// Read returns how many datagrams were waiting, at most Batch.
func (r *Reader) Read(fd int) int {
	for i := range r.messages {
		r.messages[i].header.Namelen = unix.SizeofSockaddrInet4
		r.messages[i].header.SetControllen(len(r.control[i]))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.messages[0])), Batch, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// A Datagram is one that was read. It is good until the next Read.
type Datagram struct {
	Data   []byte // the beginning of it
	Length int    // the whole of it
	From   *Address
	At     int64 // when the kernel received it, nanoseconds since 1970
}

// Datagram returns the i-th of the last Read.
func (r *Reader) Datagram(i int) Datagram {
	m := &r.messages[i]
	d := Datagram{Length: int(m.length), From: &r.from[i]}
	d.Data = r.data[i*r.size:][:min(r.size, d.Length)]
	d.At = timestamp(r.control[i][:m.header.Controllen])
	return d
}

// timestamp is the kernel's time in control messages, 0 where there is none.
func timestamp(control []byte) int64 {
	if len(control) >= unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			return (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Nano()
		}
	}
	return 0
}

// A Writer collects messages and sends them with as few system calls as there
// can be. What is added must stay as it is until Flush.
type Writer struct {
	messages []message
	vectors  [][]unix.Iovec // of each message
	control  [][32]byte     // of each message
	used     int
}

// Add adds one message made of parts. Where segment is not 0, the kernel cuts
// it into datagrams of so many bytes (UDP_SEGMENT, udp(7)).
func (w *Writer) Add(to *Address, segment int, parts ...[]byte) {
	if w.used == len(w.messages) {
		w.messages = append(w.messages, message{})
		w.vectors = append(w.vectors, nil)
		w.control = append(w.control, [32]byte{})
	}
	v := w.vectors[w.used][:0]
	for _, p := range parts {
		one := unix.Iovec{Base: &p[0]}
		one.SetLen(len(p))
		v = append(v, one)
	}
	w.vectors[w.used] = v
	w.used++
	m := &w.messages[w.used-1]
	m.header = unix.Msghdr{Name: (*byte)(unsafe.Pointer(to)), Namelen: unix.SizeofSockaddrInet4, Iov: &v[0]}
	m.header.SetIovlen(len(v))
	if segment > 0 {
		c := &w.control[w.used-1]
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&c[unix.CmsgLen(0)])) = uint16(segment)
		m.header.SetControllen(unix.CmsgSpace(2))
	}
}

// Flush sends everything that was added. A message that the kernel refuses is
// passed over: whoever counts sees that it is missing.
func (w *Writer) Flush(fd int) {
	for i := range w.used {
		if w.messages[i].header.Controllen > 0 { // the slice may have grown since
			w.messages[i].header.Control = &w.control[i][0]
		}
	}
	for rest := w.messages[:w.used]; len(rest) > 0; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&rest[0])), uintptr(min(len(rest), 1024)), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			n = 1
		}
		rest = rest[n:]
	}
	w.used = 0
}
