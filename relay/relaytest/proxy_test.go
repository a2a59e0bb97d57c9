package relaytest

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// through sends n numbered datagrams through a proxy with the forward path to
// a target that answers each, and returns the numbers that the target saw and
// those that came back.
func through(t *testing.T, forth Path, n int) (there, back []uint32, took time.Duration, p *Proxy) {
	t.Helper()
	target, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p, err = NewProxy(target.LocalAddr().(*net.UDPAddr).AddrPort(), 11, forth, Path{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran, echoed := make(chan error, 1), make(chan []uint32, 1)
	go func() { ran <- p.Run(ctx) }()
	go func() {
		var seen []uint32
		b := make([]byte, 100)
		for {
			k, from, err := target.ReadFromUDPAddrPort(b)
			if err != nil {
				echoed <- seen
				return
			}
			seen = append(seen, binary.BigEndian.Uint32(b))
			_, _ = target.WriteToUDPAddrPort(b[:k], from)
		}
	}()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.Address()))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range n {
		_, _ = c.Write(binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	b := make([]byte, 100)
	for {
		tally, _ := p.Tally()
		whole := tally.Received == uint64(n)
		if whole && len(back) == int(tally.Received-tally.Lost+tally.Duplicated) {
			break
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(b); err != nil {
			t.Fatalf("%d came back of %+v: %v", len(back), tally, err)
		}
		back = append(back, binary.BigEndian.Uint32(b))
	}
	took = time.Since(begin)
	stop()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	target.Close()
	c.Close()
	return <-echoed, back, took, p
}

func TestProxyPassesEverythingInOrder(t *testing.T) {
	there, back, took, _ := through(t, Path{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond}, 200)
	if !slices.IsSorted(there) || len(there) != 200 || !slices.Equal(there, back) {
		t.Errorf("there %v, back %v", there, back)
	}
	if took < 20*time.Millisecond {
		t.Errorf("a delay of 20 ms took %v", took)
	}
}

func TestProxyLosesDuplicatesAndReordersAsDecided(t *testing.T) {
	path := Path{Loss: 0.2, Duplicate: 0.2, Reorder: 0.1, ReorderBy: 30 * time.Millisecond}
	there, _, _, p := through(t, path, 200)
	copies := map[uint32]int{}
	for _, n := range there {
		copies[n]++
	}
	var want Tally
	for i, f := range fates(11, path, 200) {
		expect := 1
		want.Received++
		switch {
		case f.Lost:
			expect = 0
			want.Lost++
		case f.Duplicated:
			expect = 2
			want.Duplicated++
		}
		if f.Overtaken && !f.Lost {
			want.Overtaken++
		}
		if copies[uint32(i)] != expect {
			t.Errorf("datagram %d arrived %d times, decided were %d", i, copies[uint32(i)], expect)
		}
	}
	if got, _ := p.Tally(); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
	if slices.IsSorted(there) {
		t.Error("nothing was overtaken")
	}
}

// A rig is a proxy that runs between a target and clients of the test's own.
type rig struct {
	*Proxy
	target *net.UDPConn
}

func newRig(t *testing.T, forth, back Path, pass func(bool, []byte) bool) rig {
	t.Helper()
	target, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewProxy(target.LocalAddr().(*net.UDPAddr).AddrPort(), 1, forth, back)
	if err != nil {
		t.Fatal(err)
	}
	p.Pass = pass
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		target.Close()
	})
	return rig{p, target}
}

func (r rig) dial(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.Address()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// read returns the next datagram and who sent it.
func read(t *testing.T, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n], from
}

// there sends a datagram to the target, and returns what arrives, and from where.
func (r rig) there(t *testing.T, c *net.UDPConn, b []byte) ([]byte, netip.AddrPort) {
	t.Helper()
	_, _ = c.Write(b)
	return read(t, r.target)
}

// back answers it, and returns what arrives.
func (r rig) back(t *testing.T, c *net.UDPConn, to netip.AddrPort, b []byte) []byte {
	t.Helper()
	_, _ = r.target.WriteToUDPAddrPort(b, to)
	got, _ := read(t, c)
	return got
}

func TestProxyKeepsClientsApart(t *testing.T) {
	r := newRig(t, Path{}, Path{}, nil)
	sources := map[netip.AddrPort]bool{}
	for range 3 {
		c := r.dial(t)
		name := []byte(c.LocalAddr().String())
		got, from := r.there(t, c, name)
		sources[from] = true
		if back := r.back(t, c, from, name); !bytes.Equal(got, name) || !bytes.Equal(back, name) {
			t.Errorf("of client %s the target got %q, and %q came back", name, got, back)
		}
	}
	if len(sources) != 3 {
		t.Errorf("3 clients reached the target from %d sockets", len(sources))
	}
}

func TestProxySkewsTheClocksOfClients(t *testing.T) {
	const second = 1_000_000
	r := newRig(t, Path{SkewPPM: 500}, Path{}, nil)
	for begin := range uint32(2) { // each client has its own first timestamp
		begin *= 5 * second
		c := r.dial(t)
		for n := range uint32(3) {
			sent := begin + n*second
			got, from := r.there(t, c, stamped(sent))
			if want := sent + 500*n; timestamp(got) != want {
				t.Errorf("from the client: %d becomes %d, want %d", sent, timestamp(got), want)
			}
			if got := timestamp(r.back(t, c, from, stamped(sent))); got != sent {
				t.Errorf("from the target: %d becomes %d", sent, got)
			}
		}
	}
}

func TestProxySkewsTheClockOfTheTarget(t *testing.T) {
	const second = 1_000_000
	r := newRig(t, Path{}, Path{SkewPPM: -1000}, nil)
	c := r.dial(t)
	for n := range uint32(3) {
		got, from := r.there(t, c, stamped(n*second))
		if timestamp(got) != n*second {
			t.Errorf("from the client: %d becomes %d", n*second, timestamp(got))
		}
		if got := timestamp(r.back(t, c, from, stamped(n*second))); got != n*second-1000*n {
			t.Errorf("from the target: %d becomes %d", n*second, got)
		}
	}
}

func TestProxyBlackout(t *testing.T) {
	const dark = 200 * time.Millisecond
	r := newRig(t, Path{}, Path{}, nil)
	c := r.dial(t)
	_, from := r.there(t, c, []byte("before"))
	r.back(t, c, from, []byte("before"))

	began := time.Now()
	r.Blackout(dark)
	for range 3 {
		_, _ = c.Write([]byte("in it"))
		_, _ = r.target.WriteToUDPAddrPort([]byte("in it"), from)
	}
	// What is sent until it gets through does so once it is over.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go repeat(ctx, func() { _, _ = c.Write([]byte("after")) })
	go repeat(ctx, func() { _, _ = r.target.WriteToUDPAddrPort([]byte("after"), from) })
	for _, at := range []*net.UDPConn{r.target, c} {
		got, _ := read(t, at)
		if took := time.Since(began); string(got) != "after" || took < dark {
			t.Errorf("%q came after %v", got, took)
		}
	}
	forth, back := r.Tally()
	if forth.Cut < 3 || forth.Lost != 0 || back.Cut < 3 || back.Lost != 0 {
		t.Errorf("%+v, %+v", forth, back)
	}
}

func TestProxyBlackoutEndsEarly(t *testing.T) {
	r := newRig(t, Path{}, Path{}, nil)
	r.Blackout(time.Hour)
	r.Blackout(0)
	r.there(t, r.dial(t), []byte("hello"))
}

// repeat calls f every few milliseconds until ctx is done.
func repeat(ctx context.Context, f func()) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

func TestProxyPass(t *testing.T) {
	var asked []string // about one at a time, or the race detector says so
	r := newRig(t, Path{}, Path{}, func(forth bool, b []byte) bool {
		if !forth {
			b[0] = '<'
		}
		asked = append(asked, string(b))
		return string(b) != "no"
	})
	c := r.dial(t)
	_, _ = c.Write([]byte("no"))
	got, from := r.there(t, c, []byte("yes"))
	if string(got) != "yes" {
		t.Errorf("%q arrived", got)
	}
	if got := r.back(t, c, from, []byte("?yes")); string(got) != "<yes" {
		t.Errorf("%q came back", got)
	}
	if forth, _ := r.Tally(); forth.Received != 1 {
		t.Errorf("the path had %d datagrams", forth.Received)
	}
	if want := []string{"no", "yes", "<yes"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
}
