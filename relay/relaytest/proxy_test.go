package relaytest

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func fates(seed uint64, path Path, n int) []Fate {
	f := NewFates(seed, path)
	all := make([]Fate, n)
	for i := range all {
		all[i] = f.Next()
	}
	return all
}

func TestFatesAreThoseOfTheSeed(t *testing.T) {
	path := Path{Delay: 30 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Burst: 0.01, BurstLength: 4, Reorder: 0.05, ReorderBy: time.Millisecond, Duplicate: 0.05}
	if !slices.Equal(fates(7, path, 1000), fates(7, path, 1000)) {
		t.Error("the same seed decides differently")
	}
	if slices.Equal(fates(7, path, 1000), fates(8, path, 1000)) {
		t.Error("another seed decides the same")
	}
	less := path
	less.Duplicate, less.Jitter = 0, 0
	whole := fates(7, path, 1000)
	for i, f := range fates(7, less, 1000) {
		if f.Lost != whole[i].Lost {
			t.Fatalf("without duplicates and jitter, datagram %d meets another loss", i)
		}
	}
}

func TestFatesKeepTheirShares(t *testing.T) {
	const n = 100_000
	count := func(path Path, hit func(Fate) bool) float64 {
		c := 0
		for _, f := range fates(3, path, n) {
			if hit(f) {
				c++
			}
		}
		return float64(c) / n
	}
	lost := func(f Fate) bool { return f.Lost }
	for _, c := range []struct {
		name string
		path Path
		hit  func(Fate) bool
		want float64
	}{
		{"nothing", Path{}, func(f Fate) bool { return f != Fate{} }, 0},
		{"loss", Path{Loss: 0.1}, lost, 0.1},
		{"bursts", Path{Burst: 0.01, BurstLength: 10}, lost, 0.0909}, // 10 of every 110: none begins within another
		{"reordering", Path{Reorder: 0.02}, func(f Fate) bool { return f.Overtaken }, 0.02},
		{"duplicates", Path{Duplicate: 0.03}, func(f Fate) bool { return f.Duplicated }, 0.03},
		{"jitter", Path{Delay: 10, Jitter: 100}, func(f Fate) bool { return f.Delay >= 60 }, 0.5},
	} {
		if got := count(c.path, c.hit); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: share %.4f, want %.4f", c.name, got, c.want)
		}
	}
}

func TestBurstsLoseNeighbours(t *testing.T) {
	run, all := 0, fates(5, Path{Burst: 0.001, BurstLength: 20}, 20_000)
	for i, f := range all {
		switch {
		case f.Lost:
			run++
		case run > 0 && run < 20:
			t.Fatalf("a burst of %d ends before datagram %d, want 20", run, i)
		default:
			run = 0
		}
	}
}

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

func TestProxyKeepsClientsApart(t *testing.T) {
	target, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p, err := NewProxy(target.LocalAddr().(*net.UDPAddr).AddrPort(), 1, Path{}, Path{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	defer func() {
		stop()
		<-ran
	}()
	sources := map[netip.AddrPort]bool{}
	for range 3 {
		c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.Address()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name := c.LocalAddr().String()
		_, _ = c.Write([]byte(name))
		b := make([]byte, 100)
		_ = target.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, from, err := target.ReadFromUDPAddrPort(b)
		if err != nil || string(b[:n]) != name {
			t.Fatalf("the target read %q, %v", b[:n], err)
		}
		sources[from] = true
		_, _ = target.WriteToUDPAddrPort(b[:n], from)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(b); err != nil || string(b[:n]) != name {
			t.Fatalf("client %s was answered %q, %v", name, b[:n], err)
		}
	}
	if len(sources) != 3 {
		t.Errorf("3 clients reached the target from %d sockets", len(sources))
	}
}
