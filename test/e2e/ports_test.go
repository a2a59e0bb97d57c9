package e2e

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// claimed are the UDP ports that some test was given: the kernel may offer one
// again before it is in use.
var claimed sync.Map

func claim(port int) bool {
	_, taken := claimed.LoadOrStore(port, true)
	return !taken
}

// udpPort returns a UDP port that nobody uses: even, with the next one free as
// well, as RTP wants it.
func udpPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		a, err := net.ListenUDP("udp", &net.UDPAddr{})
		if err != nil {
			t.Fatal(err)
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		b, err := net.ListenUDP("udp", &net.UDPAddr{Port: port + 1})
		a.Close()
		if err != nil {
			continue
		}
		b.Close()
		if port%2 == 0 && claim(port) {
			return port
		}
	}
	t.Fatal("no free UDP port")
	return 0
}

// tcpPort returns a TCP port that nobody uses.
func tcpPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func tcpListening(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		c.Close()
	}
	return err == nil
}
