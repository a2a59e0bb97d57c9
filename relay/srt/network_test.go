package srt

import (
	"net/netip"
	"os"
	"testing"

	"sluice/relay/relaytest"
)

// longTest tells whether tests may take minutes: make test-full says so.
func longTest() bool { return os.Getenv("SLUICE_TEST_LONG") != "" }

// shipped is a configuration with another latency, and the idle timeout that
// a configuration has which says nothing of it.
func shipped(c Config, latencyMS int) Config {
	c.LatencyMS, c.PeerIdleTimeoutMS = latencyMS, 5000
	return c
}

// patientMS is a latency at which SRT makes everything good that the networks
// here do, on the busiest machine too.
const patientMS = 2500

// A network lies between two peers. The zero one does nothing.
type network struct {
	seed        uint64
	forth, back relaytest.Path
	pass        func(forth bool, b []byte) bool
}

// bothWays is a network that does the same in both directions.
func bothWays(path relaytest.Path) network { return network{forth: path, back: path} }

// opened returns the network with a seed, not before the one given, that leaves
// the handshake alone: libsrt as a listener never repeats its last answer, and
// a call that misses it is in vain.
func (n network) opened(seed uint64) network {
	spared := func(f *relaytest.Fates) bool {
		for range 4 { // two packets, and two more should they be sent again
			if f.Next().Lost {
				return false
			}
		}
		return true
	}
	for n.seed = seed; ; n.seed += 2 { // a proxy takes two
		if spared(relaytest.NewFates(n.seed, n.forth)) && spared(relaytest.NewFates(n.seed+1, n.back)) {
			return n
		}
	}
}

// through puts a network before a port of the loopback until the test ends. It
// returns the port that leads there.
func through(t *testing.T, port int, n network) (*relaytest.Proxy, int) {
	t.Helper()
	p, err := relaytest.NewProxy(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)), n.seed, n.forth, n.back)
	if err != nil {
		t.Fatal(err)
	}
	p.Pass = n.pass
	stop := background(t, p.Run)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return p, int(p.Address().Port())
}
