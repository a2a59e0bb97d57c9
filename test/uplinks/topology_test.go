package uplinks

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// The usual topology. Behind both gateways is the same WAN, and in it the
// hosts that peer.test stands for: each gateway's name server gives another
// one, which tells who was asked.
//
//	encoder --- lan0 box w0 --- port0 [gates[0]] --- routed --- wan  203.0.113.1
//	                     w1 --- port1 [gates[1]] --- NAT ------      203.0.113.2
//
// Gateway i is 10.i.0.254 and 2001:db8:i::fe; the box is 10.i.0.1 there.
type topology struct {
	box, encoder, wan *host
	gates             []*host
	// stray tells whether a packet at the far end of uplink i must be the other
	// one's, whatever its mark.
	stray func(i int, c packets) bool
}

// The addresses of the hosts in the WAN, as each gateway's name server has it.
var peers = []string{"203.0.113.1", "203.0.113.2"}

func newTopology(t *testing.T) *topology {
	t.Helper()
	p := &topology{box: newHost(t, "box"), encoder: newHost(t, "encoder"), wan: newHost(t, "wan"), stray: otherNetwork}
	p.box.Sh(t, `sysctl -qw net.ipv4.conf.all.rp_filter=1`) // as distributions have it
	cable(t, p.box, "lan0", p.encoder, "lan0")
	p.box.Sh(t, `ip addr add 192.168.7.1/24 dev lan0`)
	p.encoder.Sh(t, `ip addr add 192.168.7.2/24 dev lan0`)
	p.wan.Sh(t, `
		sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
		ip addr add 203.0.113.1/32 dev lo
		ip addr add 203.0.113.2/32 dev lo
		ip addr add 2001:db8:f::1/128 dev lo nodad`)
	for i := range 2 {
		p.gates = append(p.gates, newGate(t, p.wan, i))
		p.plug(t, i)
		p.box.Sh(t, fmt.Sprintf(`ip addr add 10.%d.0.1/24 dev w%d`, i, i))
	}
	p.wan.Sh(t, `
		ip route add 10.0.0.0/24 via 198.18.0.1
		ip -6 route add 2001:db8:0::/64 via 2001:db8:e:0::1
		ip -6 route add 2001:db8:1::/64 via 2001:db8:e:1::1`)
	p.gates[1].Sh(t, `nft 'table ip nat { chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }; }'`)
	return p
}

// newGate makes a gateway: a switch, a router to the WAN, a name server.
func newGate(t *testing.T, wan *host, i int) *host {
	t.Helper()
	g := newHost(t, fmt.Sprintf("gateway %d", i))
	up := fmt.Sprintf("gate%d", i)
	cable(t, g, "wan", wan, up)
	wan.Sh(t, fmt.Sprintf(`
		ip addr add 198.18.%[1]d.2/24 dev %[2]s
		ip addr add 2001:db8:e:%[1]d::2/64 dev %[2]s nodad`, i, up))
	g.Sh(t, fmt.Sprintf(`
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
			net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
		ip link add switch type bridge
		ip link set switch up
		ip addr add 10.%[1]d.0.254/24 dev switch
		ip addr add 2001:db8:%[1]d::fe/64 dev switch nodad
		ip addr add 198.18.%[1]d.1/24 dev wan
		ip addr add 2001:db8:e:%[1]d::1/64 dev wan nodad
		ip route add default via 198.18.%[1]d.2
		ip -6 route add default via 2001:db8:e:%[1]d::2`, i))
	g.count(t, fmt.Sprintf("port%d", i))
	serveNames(t, g, peers[i], fmt.Sprintf("10.%d.0.254", i), fmt.Sprintf("2001:db8:%d::fe", i))
	return g
}

// serveNames runs dnsmasq at the addresses: peer.test is at the one given, and
// broker.test too.
func serveNames(t *testing.T, g *host, peer string, at ...string) {
	t.Helper()
	args := []string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root", "--pid-file=",
		"--log-facility=-", "--local-ttl=1", "--address=/peer.test/" + peer, "--address=/broker.test/" + peer, "--address=/six.test/2001:db8:f::1",
	}
	for _, a := range at {
		args = append(args, "--listen-address="+a)
	}
	p := g.Start(t, harness.Need(t, "dnsmasq", "dnsmasq-base"), args, nil)
	harness.Await(t, 10*time.Second, "dnsmasq answers", func() bool {
		if !p.Running() {
			t.Fatal("dnsmasq ended")
		}
		var err error
		g.Do(t, func() {
			var c net.Conn
			if c, err = net.Dial("tcp", net.JoinHostPort(at[0], "53")); err == nil {
				c.Close()
			}
		})
		return err == nil
	})
}

// plug makes the NIC that is uplink i, and puts it into its gateway's switch.
func (p *topology) plug(t *testing.T, i int) {
	t.Helper()
	port := fmt.Sprintf("port%d", i)
	cable(t, p.box, fmt.Sprintf("w%d", i), p.gates[i], port)
	p.gates[i].Sh(t, `ip link set `+port+` master switch`)
}

// pull takes the cable of uplink i out, at the far end.
func (p *topology) pull(t *testing.T, i int) {
	t.Helper()
	p.gates[i].Sh(t, fmt.Sprintf(`ip link set port%d down`, i))
}

// putBack undoes pull.
func (p *topology) putBack(t *testing.T, i int) {
	t.Helper()
	p.gates[i].Sh(t, fmt.Sprintf(`ip link set port%d up`, i))
}

// send has the encoder send a generated stream to the box, until the test
// ends.
func (p *topology) send(t *testing.T) {
	t.Helper()
	var conn net.Conn
	p.encoder.Do(t, func() {
		var err error
		conn, err = net.Dial("udp", "192.168.7.1:4000")
		must(t, err)
	})
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		harness.Play(seed, quit, func(datagram []byte) error {
			_, _ = conn.Write(datagram) // nobody may listen yet
			return nil
		})
	}()
	t.Cleanup(func() {
		close(quit)
		<-done
		conn.Close()
	})
}

// seed is of the stream that the encoder sends.
const seed = 1

// arrivals are what comes to one port of a host, a viewer for each sender.
type arrivals map[string]*harness.Viewer

// from returns the viewer of a sender, nil for a stranger.
func (a arrivals) from(sender string) *harness.Viewer {
	for begin, v := range a {
		if strings.HasPrefix(sender, begin) {
			return v
		}
	}
	return nil
}

// receive views RTP at a port of a host. Senders are what their addresses begin
// with; who is not among them is an error.
func (h *host) receive(t *testing.T, port int, senders ...string) arrivals {
	t.Helper()
	conn := h.listenUDP(t, port)
	_ = conn.SetReadBuffer(4 << 20)
	a := arrivals{}
	for _, s := range senders {
		a[s] = harness.NewViewer(fmt.Sprintf("RTP from %s at port %d", s, port), seed)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		strangers := make(map[string]bool)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			sender := from.Addr().Unmap().String()
			v := a.from(sender)
			switch {
			case v != nil && n > 12:
				v.Verifier.Feed(b[12:n])
			case v == nil && !strangers[sender]:
				strangers[sender] = true
				t.Errorf("at port %d of %s something came from %s", port, h.Name, sender)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return a
}

// receiveSRT is srt-live-transmit, which waits for an SRT caller.
func (h *host) receiveSRT(t *testing.T, at string, port int) *harness.Viewer {
	t.Helper()
	return h.viewSRT(t, fmt.Sprintf("srt://%s:%d?mode=listener&latency=%d", at, port, srtLatency))
}

// callSRT is srt-live-transmit, which calls an SRT listener.
func (h *host) callSRT(t *testing.T, to string, port int) *harness.Viewer {
	t.Helper()
	return h.viewSRT(t, fmt.Sprintf("srt://%s:%d?mode=caller&latency=%d", to, port, srtLatency))
}

func (h *host) viewSRT(t *testing.T, uri string) *harness.Viewer {
	t.Helper()
	v := harness.NewViewer(uri, seed)
	h.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = v
	})
	return v
}
