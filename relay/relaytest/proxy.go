package relaytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// proxyBuffer is asked for in each direction, in bytes: what the kernel drops
// is nobody's decision.
const proxyBuffer = 4 << 20

// A Proxy stands between UDP peers on the loopback and does to their
// datagrams what a Path says. The decisions are those of a seed; which datagram
// they fall on depends on the order in which the peers send.
//
// Each client that sends to Address reaches the target from a socket of its
// own, which its answers come back through.
type Proxy struct {
	// Pass is set before Run, or nil. It is asked about each datagram before a
	// path is, about one at a time: false drops it, and the tally knows nothing
	// of it. It may change the datagram in place. forth is the way to the target.
	Pass func(forth bool, b []byte) bool

	target      netip.AddrPort
	front       *net.UDPConn
	forth, back *lane

	passing sync.Mutex // held while Pass is asked
	mu      sync.Mutex
	clients map[netip.AddrPort]*client
}

// A client is one who sends to the proxy. Each direction has one goroutine.
type client struct {
	at          netip.AddrPort
	conn        *net.UDPConn // to the target
	forth, back clock
}

// NewProxy listens on a free port of the loopback. forth is the path to
// target, back the one from it.
func NewProxy(target netip.AddrPort, seed uint64, forth, back Path) (*Proxy, error) {
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	enlarge(front)
	return &Proxy{
		target: target, front: front,
		forth: newLane(seed, forth), back: newLane(seed+1, back),
		clients: make(map[netip.AddrPort]*client),
	}, nil
}

// Address is where clients send to.
func (p *Proxy) Address() netip.AddrPort { return p.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Tally returns what was done to the datagrams to the target, and from it.
func (p *Proxy) Tally() (forth, back Tally) { return p.forth.count(), p.back.count() }

// Blackout drops everything both ways for d from now on, as a pulled cable
// does. A later one takes its place: one of no length ends it.
func (p *Proxy) Blackout(d time.Duration) {
	end := time.Now().Add(d)
	p.forth.blackout(end)
	p.back.blackout(end)
}

// Run passes datagrams on until ctx is done, and closes the proxy's sockets.
func (p *Proxy) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	unhook := context.AfterFunc(ctx, p.close)
	defer unhook()
	all.Go(func() { p.forth.run(ctx) })
	all.Go(func() { p.back.run(ctx) })

	b := make([]byte, 1<<16)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(b)
		if err != nil {
			stop()
			p.close()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("proxy: %w", err)
		}
		c, fresh, err := p.client(ctx, from)
		if err != nil {
			continue // as the network does: the datagram is gone
		}
		if fresh {
			all.Go(func() { p.answers(c) })
		}
		if p.passes(true, b[:n]) {
			c.forth.rescale(b[:n])
			p.forth.put(b[:n], func(d []byte) { _, _ = c.conn.Write(d) })
		}
	}
}

// answers takes what the target sends to one client.
func (p *Proxy) answers(c *client) {
	b := make([]byte, 1<<16)
	for {
		n, err := c.conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // nobody listens there now: ICMP told us
		}
		if p.passes(false, b[:n]) {
			c.back.rescale(b[:n])
			p.back.put(b[:n], func(d []byte) { _, _ = p.front.WriteToUDPAddrPort(d, c.at) })
		}
	}
}

func (p *Proxy) passes(forth bool, b []byte) bool {
	if p.Pass == nil {
		return true
	}
	p.passing.Lock()
	defer p.passing.Unlock()
	return p.Pass(forth, b)
}

// client returns the client at an address, and whether it is a new one.
func (p *Proxy) client(ctx context.Context, at netip.AddrPort) (*client, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	if c := p.clients[at]; c != nil {
		return c, false, nil
	}
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.target))
	if err != nil {
		return nil, false, err
	}
	enlarge(conn)
	c := &client{at: at, conn: conn, forth: clock{ppm: p.forth.skewPPM}, back: clock{ppm: p.back.skewPPM}}
	p.clients[at] = c
	return c, true, nil
}

func (p *Proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.front.Close()
	for _, c := range p.clients {
		c.conn.Close()
	}
}

// enlarge asks for large buffers, beyond the system's limit where we have the
// right to; smaller ones are taken as well.
func enlarge(c *net.UDPConn) {
	_ = c.SetReadBuffer(proxyBuffer)
	_ = c.SetWriteBuffer(proxyBuffer)
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, proxyBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, proxyBuffer)
	})
}
