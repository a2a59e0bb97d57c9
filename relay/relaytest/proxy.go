package relaytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
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
	target      netip.AddrPort
	front       *net.UDPConn
	forth, back *lane

	mu      sync.Mutex
	clients map[netip.AddrPort]*net.UDPConn
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
		clients: make(map[netip.AddrPort]*net.UDPConn),
	}, nil
}

// Address is where clients send to.
func (p *Proxy) Address() netip.AddrPort { return p.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Tally returns what was done to the datagrams to the target, and from it.
func (p *Proxy) Tally() (forth, back Tally) { return p.forth.count(), p.back.count() }

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
			all.Go(func() { p.answers(c, from) })
		}
		p.forth.put(b[:n], func(d []byte) { _, _ = c.Write(d) })
	}
}

// answers takes what the target sends to one client.
func (p *Proxy) answers(c *net.UDPConn, client netip.AddrPort) {
	b := make([]byte, 1<<16)
	for {
		n, err := c.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // nobody listens there now: ICMP told us
		}
		p.back.put(b[:n], func(d []byte) { _, _ = p.front.WriteToUDPAddrPort(d, client) })
	}
}

// client returns the socket of a client, and whether it was made just now.
func (p *Proxy) client(ctx context.Context, from netip.AddrPort) (*net.UDPConn, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	if c := p.clients[from]; c != nil {
		return c, false, nil
	}
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.target))
	if err != nil {
		return nil, false, err
	}
	enlarge(c)
	p.clients[from] = c
	return c, true, nil
}

func (p *Proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.front.Close()
	for _, c := range p.clients {
		c.Close()
	}
}

// enlarge asks for large buffers; a smaller one is taken as well.
func enlarge(c *net.UDPConn) {
	_ = c.SetReadBuffer(proxyBuffer)
	_ = c.SetWriteBuffer(proxyBuffer)
}
