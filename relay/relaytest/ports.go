package relaytest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from below those that the kernel gives to sockets that name
// none (net.ipv4.ip_local_port_range begins at 32768), so that nothing else
// comes upon one between its choice and its use.
const (
	lowestPort  = 10_000
	highestPort = 32_000
)

// ReservePorts returns the first of a block of ports, an even one, of which
// those at the offsets are free for UDP and TCP. Nobody else who asks here is
// given them until they are released, in this process or another.
func ReservePorts(offsets ...int) (first int, release func(), err error) {
	for range 1000 {
		first := (lowestPort + rand.IntN(highestPort-lowestPort)) &^ 1
		var held []net.Listener
		release := func() {
			for _, l := range held {
				l.Close()
			}
		}
		all := true
		for _, offset := range offsets {
			l := reserve(first + offset)
			if all = l != nil; !all {
				break
			}
			held = append(held, l)
		}
		if all {
			return first, release, nil
		}
		release()
	}
	return 0, nil, errors.New("relaytest: no free ports")
}

// reserve returns what stands for a port, nil if it is not free. The name is
// in the abstract namespace, which the kernel keeps for each network: there is
// nothing to clean up after a process that dies.
func reserve(port int) net.Listener {
	l, err := net.Listen("unix", fmt.Sprintf("@sluice-test-port-%d", port))
	if err != nil {
		return nil
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err == nil {
		udp.Close()
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			tcp.Close()
			return l
		}
	}
	l.Close()
	return nil
}

// FreePorts reserves a block of ports, as ReservePorts does, until the test
// ends.
func FreePorts(t testing.TB, offsets ...int) int {
	t.Helper()
	first, release, err := ReservePorts(offsets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return first
}

// FreePort reserves an even port and the next one, as RTP wants it, until the
// test ends.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 0, 1)
}
