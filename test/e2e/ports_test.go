package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are taken from below those that the kernel gives to sockets that name
// none (net.ipv4.ip_local_port_range begins at 32768), so that nothing else
// comes upon one between its choice and its use.
const (
	lowestPort  = 10_000
	highestPort = 32_000
)

// claimed are the ports that some test was given.
var claimed sync.Map

// freePorts returns the first of a block of ports, of which those at the
// offsets are free for UDP and TCP. It is even.
func freePorts(t *testing.T, offsets ...int) int {
	t.Helper()
	for range 1000 {
		first := (lowestPort + rand.IntN(highestPort-lowestPort)) &^ 1
		free := true
		for _, offset := range offsets {
			free = free && freePort(first+offset)
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func freePort(port int) bool {
	if _, taken := claimed.LoadOrStore(port, true); taken {
		return false
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return false
	}
	conn.Close()
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// udpPort returns a UDP port that nobody uses: even, with the next one free as
// well, as RTP wants it.
func udpPort(t *testing.T) int { return freePorts(t, 0, 1) }

// tcpPort returns a TCP port that nobody uses.
func tcpPort(t *testing.T) int { return freePorts(t, 0) }

func tcpListening(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}
