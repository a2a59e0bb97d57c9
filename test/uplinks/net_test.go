package uplinks

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"sluice/relay/relaytest"
)

// An outside is another namespace, where the other end of a cable is.
type outside struct{ ns netns.NsHandle }

func newOutside(t *testing.T) *outside {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	ns, err := netns.New()
	must(t, err)
	must(t, netns.Set(home))
	o := &outside{ns}
	o.do(t, func() {
		must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("1"), 0))
		up(t, "lo", "")
	})
	return o
}

// do runs f, which must make its sockets on its own goroutine, outside.
func (o *outside) do(t *testing.T, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	must(t, netns.Set(o.ns))
	defer func() { must(t, netns.Set(home)) }()
	f()
}

// cable connects a NIC here to one outside.
func (o *outside) cable(t *testing.T, here, hereAddr, there, thereAddr string) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there}))
	must(t, netlink.LinkSetNsFd(link(t, there), int(o.ns)))
	o.do(t, func() { up(t, there, thereAddr) })
	up(t, here, hereAddr)
}

// plug plugs the far end of a cable in, or pulls it out.
func (o *outside) plug(t *testing.T, there string, in bool) {
	o.do(t, func() {
		if in {
			must(t, netlink.LinkSetUp(link(t, there)))
		} else {
			must(t, netlink.LinkSetDown(link(t, there)))
		}
	})
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func addr(t *testing.T, s string) *netlink.Addr {
	a, err := netlink.ParseAddr(s)
	must(t, err)
	return a
}

func up(t *testing.T, name, address string) {
	t.Helper()
	if address != "" {
		must(t, netlink.AddrAdd(link(t, name), addr(t, address)))
	}
	must(t, netlink.LinkSetUp(link(t, name)))
}

func defaultRoute(t *testing.T, nic, via string, metric int) {
	t.Helper()
	must(t, netlink.RouteReplace(&netlink.Route{LinkIndex: link(t, nic).Attrs().Index, Gw: net.ParseIP(via), Priority: metric}))
}

// A tap counts what comes out of a cable's far end.
type tap struct {
	mu      sync.Mutex
	media   map[route]int // datagrams to the outputs' ports
	dialled int           // TCP connections to the broker begun
	broker  int           // TCP packets to the broker
}

// A route is from which socket to which port.
type route struct {
	from netip.AddrPort
	to   uint16
}

// The ports that taps know.
const (
	rtpPort    = 5004
	srtPort    = 7000
	brokerPort = 1883
)

// tap listens at a NIC outside, until the test ends.
func (o *outside) tap(t *testing.T, nic string) *tap {
	w := &tap{media: make(map[route]int)}
	var f *os.File
	o.do(t, func() {
		ip := int(binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, ip)
		must(t, err)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(ip), Ifindex: link(t, nic).Attrs().Index}))
		f = os.NewFile(uintptr(fd), nic)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := f.Read(b)
			switch {
			case err == nil:
				w.see(b[:n])
			case !errors.Is(err, unix.ENETDOWN): // a tap outlives a cable that is out
				return
			}
		}
	}()
	t.Cleanup(func() { f.Close(); <-done })
	return w
}

// see counts one IPv4 packet.
func (w *tap) see(b []byte) {
	if len(b) < 20 {
		return
	}
	header := int(b[0]&0x0f) * 4
	if len(b) < header+14 {
		return
	}
	port := binary.BigEndian.Uint16(b[header+2:])
	source := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(b[header:]))
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case b[9] == unix.IPPROTO_UDP && (port == rtpPort || port == srtPort):
		w.media[route{source, port}]++
	case b[9] == unix.IPPROTO_TCP && port == brokerPort:
		w.broker++
		const syn, ack = 0x02, 0x10
		if b[header+13]&(syn|ack) == syn {
			w.dialled++
		}
	}
}

// count returns how many datagrams came from an address to a port, and from
// how many sockets.
func (w *tap) count(from string, to uint16) (n, sockets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r, packets := range w.media {
		if r.to == to && r.from.Addr() == netip.MustParseAddr(from) {
			n += packets
			sockets++
		}
	}
	return n, sockets
}

// only fails the test where media came from any other address.
func (w *tap) only(t *testing.T, when string, from ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for r, n := range w.media {
		known := false
		for _, f := range from {
			known = known || r.from.Addr() == netip.MustParseAddr(f)
		}
		if !known {
			t.Errorf("%s: %d datagrams from %s to port %d on the wrong NIC", when, n, r.from, r.to)
		}
	}
}

func (w *tap) sessions() (dialled, packets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dialled, w.broker
}

// more waits until further datagrams have come from an address to a port.
func (w *tap) more(t *testing.T, what, from string, to uint16) {
	t.Helper()
	before, _ := w.count(from, to)
	eventually(t, what, func() bool { n, _ := w.count(from, to); return n > before+20 })
}

// feed sends a transport stream from outside until the test ends.
func (o *outside) feed(t *testing.T, to string) {
	var c net.Conn
	o.do(t, func() {
		var err error
		c, err = net.Dial("udp4", to)
		must(t, err)
	})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		g := relaytest.NewTS(1)
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-stop:
				return
			case <-every.C:
				_, _ = c.Write(g.Next()) // refused until the input listens
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; c.Close() })
}
