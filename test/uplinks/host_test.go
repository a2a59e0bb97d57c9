package uplinks

import (
	"net"
	"testing"

	"sluice/test/harness"
)

// A host is one machine of a topology.
type host struct{ *harness.Host }

func newHost(t *testing.T, name string) *host { return &host{harness.NewHost(t, name)} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listenUDP opens a UDP port on the host.
func (h *host) listenUDP(t *testing.T, port int) (conn *net.UDPConn) {
	t.Helper()
	h.Do(t, func() {
		var err error
		conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		must(t, err)
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// cable connects a NIC of one host to one of another. Both are new, and up.
func cable(t *testing.T, a *host, nicA string, b *host, nicB string) {
	t.Helper()
	harness.Cable(t, a.Host, nicA, b.Host, nicB)
}
