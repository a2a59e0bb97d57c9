package e2e

import (
	"fmt"
	"net"
	"testing"

	"sluice/relay/relaytest"
)

// udpPort returns a UDP port that nobody uses: even, with the next one free as
// well, as RTP wants it.
func udpPort(t *testing.T) int { return relaytest.FreePort(t) }

// tcpPort returns a TCP port that nobody uses.
func tcpPort(t *testing.T) int { return relaytest.FreePorts(t, 0) }

func tcpListening(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}
