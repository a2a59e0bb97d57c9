package harness

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/relaytest"
)

// A Viewer receives a generated stream (relaytest.NewTS) and knows what it
// misses. What is written to it is the stream as it came.
type Viewer struct {
	What     string
	Verifier *relaytest.Verifier
}

// NewViewer returns a Viewer of the stream of that seed.
func NewViewer(what string, seed uint64) *Viewer {
	return &Viewer{What: what, Verifier: relaytest.NewVerifier(seed)}
}

func (v *Viewer) Write(b []byte) (int, error) {
	v.Verifier.Feed(b)
	return len(b), nil
}

// Watch views what comes to a socket, until the test ends. header is how many
// bytes come before the payload: 12 for RTP.
func (v *Viewer) Watch(t *testing.T, conn *net.UDPConn, header int) {
	enlarge(conn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if n > header {
				v.Verifier.Feed(b[header:n])
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
}

// enlarge makes a buffer for seconds in which the test does not get its turn:
// beyond the system's limit where that is allowed.
func enlarge(conn *net.UDPConn) {
	const size = 4 << 20
	_ = conn.SetReadBuffer(size)
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) })
	}
}

// Receives waits until n more datagrams came.
func (v *Viewer) Receives(t *testing.T, n uint64, within time.Duration) {
	t.Helper()
	before := v.Verifier.Report().Received
	deadline := time.Now().Add(within)
	for v.Verifier.Report().Received < before+n {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not %d datagrams within %v: %+v, before %d", v.What, n, within, v.Verifier.Report(), before)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Intact asserts that everything came from the moment of joining on, byte for
// byte.
func (v *Viewer) Intact(t *testing.T) {
	t.Helper()
	if err := v.Verifier.Report().Intact(); err != nil {
		t.Errorf("%s: %v", v.What, err)
	}
}

// Play hands a generated stream to send at the pace of its own clock, until
// quit is closed or send fails.
func Play(seed uint64, quit <-chan struct{}, send func(datagram []byte) error) {
	stream := relaytest.NewTS(seed)
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for due := uint64(time.Since(begin) / stream.Interval()); stream.Sequence() < due; {
			if send(stream.Next()) != nil {
				return
			}
		}
	}
}
