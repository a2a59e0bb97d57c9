package uplinks

import (
	"fmt"
	"testing"
	"time"

	"sluice/test/harness"
)

// newSubnet is a box whose two NICs are in the same subnet, on one switch:
//
//	encoder --- lan0 box w0 --- port0 [gates[0]] --- wan
//	                     w1 --- port1
//
// The box is 10.0.0.1 and 10.0.0.2 there. The first route of the main table
// leads through w0, to the whole subnet.
func newSubnet(t *testing.T) *topology {
	t.Helper()
	p := newTopology(t)
	gate := p.gates[0]
	p.box.Sh(t, `ip link del w1`)
	p.gates = []*host{gate, gate}
	p.stray = func(i int, c packets) bool { return c.from != fmt.Sprintf("10.0.0.%d", 1+i) }
	p.plug(t, 1)
	gate.count(t, "port1")
	p.box.Sh(t, `ip addr add 10.0.0.2/24 dev w1`)
	return p
}

// inSubnet is the uplink i in that subnet.
func inSubnet(i int) object {
	return object{
		"name": fmt.Sprintf("wan%d", i), "match": object{"interface": fmt.Sprintf("w%d", i)},
		"addresses": []string{fmt.Sprintf("10.0.0.%d/24", 1+i)}, "gateway4": "10.0.0.254", "nameservers": []string{"10.0.0.254"},
	}
}

// Two NICs in one subnet: to hosts in it and beyond, in both directions, each
// packet passes through the NIC that was meant. The daemon has no other right
// than CAP_NET_ADMIN.
func TestTwoNICsInOneSubnet(t *testing.T) {
	t.Parallel()
	p := newSubnet(t)
	both := []string{"10.0.0.1", "10.0.0.2"}
	near, far := p.gates[0].receive(t, 5000, both...), p.wan.receive(t, 5000, both...)
	broker := startBroker(t, p.wan)
	x := startBox(t, p.box, withOnly(t, "net_admin"), "--broker", "mqtt://broker.test:1883", "--broker-uplink", "wan1")
	x.relay(t, []object{inSubnet(0), inSubnet(1)},
		rtpOutput("near-0", "wan0", "10.0.0.254", 5000), rtpOutput("near-1", "wan1", "10.0.0.254", 5000),
		rtpOutput("far-0", "wan0", "peer.test", 5000), rtpOutput("far-1", "wan1", "peer.test", 5000),
		srtListener("pull-0", "wan0", 6000), srtListener("pull-1", "wan1", 6000))
	p.send(t)
	pulls := []*harness.Viewer{p.wan.callSRT(t, both[0], 6000), p.gates[0].callSRT(t, both[1], 6000)}
	flowing := func(when string, uplinks ...int) {
		t.Helper()
		for _, i := range uplinks {
			for _, v := range []*harness.Viewer{near[both[i]], far[both[i]], pulls[i]} {
				v.Receives(t, 100, 40*time.Second)
			}
		}
		p.onItsNIC(t, when)
	}
	flowing("steady", 0, 1)
	broker.awaitClients(t, 1)
	flowing("with MQTT", 0, 1)
	p.disturb(t, x, flowing)
	for _, v := range []*harness.Viewer{near[both[1]], far[both[1]], pulls[1]} {
		v.Intact(t)
	}
	if n := broker.clients(); n != 1 {
		t.Errorf("MQTT took %d sessions", n)
	}
}
