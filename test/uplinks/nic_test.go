package uplinks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// onItsNIC asserts that nothing that belongs to an uplink came to the other
// uplink's far end, and that something came to its own.
func (p *topology) onItsNIC(t *testing.T, when string) {
	t.Helper()
	for i, g := range p.gates {
		var own uint64
		all := g.counted(t, fmt.Sprintf("port%d", i))
		for _, c := range all {
			switch {
			case c.mark == mark(fmt.Sprintf("wan%d", 1-i)), p.stray(i, c):
				t.Errorf("%s: at the far end of wan%d came %v", when, i, c)
			case c.mark == mark(fmt.Sprintf("wan%d", i)):
				own += c.count
			}
		}
		if own == 0 {
			t.Errorf("%s: nothing came to the far end of wan%d: %v", when, i, all)
		}
	}
}

// otherNetwork tells whether a packet at the far end of uplink i is from, or
// to, the network of the other one.
func otherNetwork(i int, c packets) bool {
	other := fmt.Sprintf("10.%d.0.", 1-i)
	return strings.HasPrefix(c.from, other) || strings.HasPrefix(c.to, other)
}

// disturb does to wan0 what NICs suffer. flowing asserts that media comes over
// the uplinks named, and from the right NIC.
func (p *topology) disturb(t *testing.T, x *box, flowing func(when string, uplinks ...int)) {
	t.Helper()
	p.pull(t, 0)
	x.awaitReady(t, "wan0", false)
	flowing("with the cable of w0 out", 1)
	p.putBack(t, 0)
	x.awaitReady(t, "wan0", true)
	flowing("with the cable back", 0, 1)
	p.box.Sh(t, `ip link set w0 down`)
	x.awaitReady(t, "wan0", false)
	flowing("with w0 switched off", 1)
	p.box.Sh(t, `ip link set w0 up`)
	x.awaitReady(t, "wan0", true)
	flowing("with w0 switched on", 0, 1)
}

// What is meant for one NIC never passes through the other: media, SRT's
// handshakes, DNS and MQTT, whatever the main routing table prefers, and
// whatever becomes of the NIC.
func TestEveryPacketLeavesByItsNIC(t *testing.T) {
	t.Parallel()
	p := newTopology(t)
	p.box.Sh(t, `
		ip route add default via 10.0.0.254 dev w0 metric 100
		ip route add default via 10.1.0.254 dev w1 metric 200`)
	broker := startBroker(t, p.wan)
	same := p.wan.receive(t, 5000, "10.0.0.1", "198.18.1.1")
	named := p.wan.receive(t, 5002, "10.0.0.1", "198.18.1.1")
	srt := []*harness.Viewer{p.wan.receiveSRT(t, peers[0], 5010), p.wan.receiveSRT(t, peers[1], 5011)}
	x := startBox(t, p.box, nil, "--broker", "mqtt://broker.test:1883", "--broker-uplink", "wan0")
	x.relay(t, []object{routed(0), plain(1)},
		// The same host and port over two uplinks, side by side.
		rtpOutput("same-0", "wan0", peers[0], 5000), rtpOutput("same-1", "wan1", peers[0], 5000),
		// A host's name, as each uplink's own name server has it.
		rtpOutput("named-0", "wan0", "peer.test", 5002), rtpOutput("named-1", "wan1", "peer.test", 5002),
		srtCaller("call-0", "wan0", "peer.test", 5010), srtCaller("call-1", "wan1", "peer.test", 5011),
		srtListener("pull-0", "wan0", 6000), srtListener("pull-1", "wan1", 6000),
	)
	p.send(t)
	pulls := []*harness.Viewer{p.wan.callSRT(t, "10.0.0.1", 6000), p.gates[1].callSRT(t, "10.1.0.1", 6000)}
	flowing := func(when string, uplinks ...int) {
		t.Helper()
		for _, i := range uplinks {
			sender := []string{"10.0.0.1", "198.18.1.1"}[i]
			for _, v := range []*harness.Viewer{same[sender], named[sender], srt[i], pulls[i]} {
				v.Receives(t, 100, 40*time.Second)
			}
		}
		p.onItsNIC(t, when)
	}
	flowing("steady", 0, 1)
	broker.awaitClients(t, 1)
	asked := func(i, port int) bool {
		return total(p.gates[i].counted(t, fmt.Sprintf("port%d", i)), func(c packets) bool { return c.toPort == port }) > 0
	}
	if !asked(0, 53) || !asked(1, 53) || !asked(0, 1883) {
		t.Error("the far ends have seen no DNS, or no MQTT")
	}
	for _, test := range []string{"link wan0", "ping wan0 203.0.113.1", "dns wan1 peer.test", "tcp wan0 broker.test 1883"} {
		x.Ctl(t, append([]string{"test"}, strings.Fields(test)...)...)
	}

	p.box.Sh(t, `ip route add default via 10.1.0.254 dev w1 metric 1`)
	flowing("with a better default route through w1", 0, 1)
	p.disturb(t, x, flowing)
	p.box.Sh(t, `ip addr del 10.0.0.1/24 dev w0`)
	x.awaitReady(t, "wan0", false)
	x.AwaitStates(t, 15*time.Second, map[string]string{
		"same-0": "uplink_down", "named-0": "uplink_down", "call-0": "uplink_down", "pull-0": "uplink_down", "same-1": "sending", "call-1": "connected",
	})
	flowing("with w0 without an address", 1)
	p.box.Sh(t, `ip addr add 10.0.0.1/24 dev w0`)
	x.awaitReady(t, "wan0", true)
	flowing("with the address back", 0, 1)
	p.box.Sh(t, `ip link del w0`)
	x.awaitReady(t, "wan0", false)
	flowing("without w0", 1)

	if asked(1, 1883) {
		t.Error("MQTT passed through w1")
	}
	// What goes over the other NIC has lost nothing all along.
	for _, v := range []*harness.Viewer{same["198.18.1.1"], named["198.18.1.1"], srt[1], pulls[1]} {
		v.Intact(t)
	}
}
