package udp

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Datagram is one that arrived.
type Datagram struct {
	Data    []byte
	From    netip.AddrPort
	To      netip.Addr // the address that it was sent to, be it a group
	Arrival time.Time  // as the kernel has it, on this process's clock
}

// A Reader reads datagrams in batches. It is for one goroutine.
type Reader struct {
	conn      *Conn
	size      int
	headers   []mmsghdr
	iovecs    []unix.Iovec
	names     []name
	controls  []byte
	buffers   []byte
	datagrams []Datagram

	got   int // buffers that the kernel filled last
	errno unix.Errno
	read  func(fd uintptr) bool // made once, so that reading does not allocate it
}

// NewReader returns a Reader of up to batch datagrams at a time, each of up to
// size bytes. Longer ones are thrown away and counted as missed.
func NewReader(c *Conn, batch, size int) *Reader {
	r := &Reader{
		conn: c, size: size,
		headers:   make([]mmsghdr, batch),
		iovecs:    make([]unix.Iovec, batch),
		names:     make([]name, batch),
		controls:  make([]byte, batch*controlRoom),
		buffers:   make([]byte, batch*size),
		datagrams: make([]Datagram, 0, batch),
	}
	for i := range r.headers {
		r.iovecs[i].Base = &r.buffers[i*size]
		r.iovecs[i].SetLen(size)
		h := &r.headers[i].header
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.controls[i*controlRoom]
		r.reset(i)
	}
	r.read = func(fd uintptr) bool {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])),
				uintptr(len(r.headers)), unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			}
			r.got, r.errno = int(n), errno
			return true
		}
	}
	return r
}

// Use has the Reader read another socket from now on.
func (r *Reader) Use(c *Conn) { r.conn = c }

// Read waits for datagrams and returns all that there are, up to a batch, in
// the order in which they came. They are valid until the next call. Where the
// socket is polled it does not wait, and there may be none. The error is
// net.ErrClosed, os.ErrDeadlineExceeded, or the kernel's.
func (r *Reader) Read() ([]Datagram, error) {
	for {
		if err := r.receive(); err != nil {
			return nil, err
		}
		if r.take(time.Now()); len(r.datagrams) > 0 || r.conn.conn == nil {
			return r.datagrams, nil
		}
	}
}

// reset makes a buffer ready to be filled.
func (r *Reader) reset(i int) {
	h := &r.headers[i].header
	h.Namelen = uint32(len(r.names[i]))
	h.SetControllen(controlRoom)
	h.Flags = 0
}

// receive waits for the kernel to fill the buffers.
func (r *Reader) receive() error {
	for i := range r.got {
		r.reset(i)
	}
	r.got, r.errno = 0, 0
	if err := r.conn.raw.Read(r.read); err != nil {
		return err
	}
	if r.errno != 0 {
		return r.errno
	}
	return nil
}

// take makes datagrams of what is in the buffers.
func (r *Reader) take(now time.Time) {
	r.datagrams = r.datagrams[:0]
	for i := range r.got {
		h := &r.headers[i]
		if h.header.Flags&unix.MSG_TRUNC != 0 {
			r.conn.missed.Add(1)
			continue
		}
		d := Datagram{Data: r.buffers[i*r.size:][:h.bytes], From: r.names[i].get(), Arrival: now}
		r.control(&d, r.controls[i*controlRoom:][:h.header.Controllen], now)
		r.datagrams = append(r.datagrams, d)
	}
}

// control reads what the kernel tells beside a datagram.
func (r *Reader) control(d *Datagram, oob []byte, now time.Time) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			d.To = netip.AddrFrom4([4]byte(data[8:12])) // ipi_addr
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			d.To = netip.AddrFrom16([16]byte(data[:16])).Unmap()
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
			d.Arrival = arrival(now, time.Unix(ts.Unix()))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			lost := binary.NativeEndian.Uint32(data)
			r.conn.missed.Add(uint64(lost - r.conn.lost)) // it may go round
			r.conn.lost = lost
		}
	}
}

// oldest is how long a datagram may have waited in the receive buffer. What
// seems older has been dated by a clock that was set meanwhile.
const oldest = 5 * time.Second

// arrival puts the kernel's time on this process's monotonic clock.
func arrival(now, stamp time.Time) time.Time {
	if age := now.Round(0).Sub(stamp); age > 0 && age < oldest {
		return now.Add(-age)
	}
	return now
}
