package rtmp

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// pipe is a connection over the loopback, and its other end.
func pipe(t testing.TB) (*conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	other, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), other.Close() })
	return newConn(newLink(c.(*net.TCPConn))), other.(*net.TCPConn)
}

// TestCrowd lets strangers in from many places, and looks at who has to leave.
func TestCrowd(t *testing.T) {
	t.Parallel()
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	in64 := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:1", i)) }
	for _, c := range []struct {
		name string
		from func(i int) netip.Addr // of the ith of them all, the oldest first
		n    int
		left []int // in this order
	}{
		{"as many from one as may be", func(int) netip.Addr { return host(1) }, mostOfSite, nil},
		{"too many from one", func(int) netip.Addr { return host(1) }, mostOfSite + 2, []int{0, 1}},
		{"too many from one network of IPv6", in64, mostOfSite + 2, []int{0, 1}},
		{"as many as may be", host, mostStrangers, nil},
		{"too many, one from each", host, mostStrangers + 2, []int{0, 1}},
		{"too many, more from one", func(i int) netip.Addr {
			if i == 5 || i == 7 || i == 9 {
				return host(255)
			}
			return host(i)
		}, mostStrangers + 3, []int{5, 7, 0}},
	} {
		s := newServer(NewTransport(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}), place{}, 0)
		var left []int
		all := make([]*conn, c.n)
		for i := range all {
			all[i], _ = pipe(t)
			all[i].peer = netip.AddrPortFrom(c.from(i), 1000)
			s.admit(all[i])
			for j, other := range all[:i+1] {
				if other.link.over.Load() && len(left) < len(c.left) && !slices.Contains(left, j) {
					left = append(left, j)
				}
			}
		}
		over := 0
		for _, other := range all {
			if other.link.over.Load() {
				over++
			}
		}
		if fmt.Sprint(left) != fmt.Sprint(c.left) || over != len(c.left) || len(s.strangers) != c.n-over {
			t.Errorf("%s: %v had to leave, %d in all; want %v", c.name, left, over, c.left)
		}
		for i, other := range all {
			if was := !other.link.over.Load(); s.known(other) != was || s.known(other) {
				t.Errorf("%s: %d is a stranger, or none", c.name, i)
			}
		}
	}
}

// TestEndedStaysEnded: whoever has to leave is given no more time.
func TestEndedStaysEnded(t *testing.T) {
	t.Parallel()
	c, _ := pipe(t)
	c.link.abort()
	c.link.until(time.Now().Add(time.Hour))
	began := time.Now()
	if _, err := c.link.Read(make([]byte, 1)); err == nil || time.Since(began) > patience {
		t.Errorf("it waits: %v", err)
	}
	s := newSession(c)
	s.begin()
	if _, err := c.link.Read(make([]byte, 1)); err == nil || time.Since(began) > patience {
		t.Errorf("a session waits: %v", err)
	}
	// A write that begins when the session has ended already waits no longer
	// than for a goodbye.
	c, _ = pipe(t)
	c.link.abort()
	began = time.Now()
	if err := c.link.write(make([]byte, 64<<20), time.Hour); err == nil || time.Since(began) > patience {
		t.Errorf("a write waits: %v", err)
	}
}

// TestServersCloseQuickly: strangers that say nothing hold up nobody.
func TestServersCloseQuickly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := r.input(r.publishHere())
	in.await(endpoint.Listening)
	for range 10 {
		dialFrom(t, "127.0.0.1", r.port)
	}
	began := time.Now()
	in.stop()
	if took := time.Since(began); took > handshakeTime/2 {
		t.Errorf("it takes %v to stop", took)
	}
}
