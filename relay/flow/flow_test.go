package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/media"
)

var (
	epoch   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	session = &media.Format{Kind: media.TS}
)

// packet is the n-th of a stream of a packet a millisecond.
func packet(n int) media.Packet {
	return media.Packet{
		Format: session, Arrival: epoch.Add(time.Duration(n) * time.Millisecond),
		Data: binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(n)),
	}
}

func number(p media.Packet) int { return int(binary.BigEndian.Uint64(p.Data)) }

// publish sends packets from to to-1, every entry-th a random-access one.
func publish(f *Flow, from, to, entry int) {
	for n := from; n < to; n++ {
		p := packet(n)
		p.RandomAccess = entry > 0 && n%entry == 0
		f.Publish([]media.Packet{p})
	}
}

// small holds 100 packets of packet().
var small = Limits{Retain: 99 * time.Millisecond, MaxBytes: 1 << 20}

func open(t testing.TB, f *Flow) *Cursor {
	t.Helper()
	c := f.Open()
	return c
}

func expect(t *testing.T, c *Cursor, first int, lost uint64) {
	t.Helper()
	dst := make([]media.Packet, 1)
	n, l := c.Poll(dst)
	if n != 1 || number(dst[0]) != first || l != lost {
		t.Fatalf("got %d packets from %v, %d lost; want packet %d, %d lost", n, dst[0].Data, l, first, lost)
	}
}

func TestReadsInOrderFromTheLiveEdge(t *testing.T) {
	f := New(small)
	publish(f, 0, 10, 0)
	c := open(t, f)
	dst := make([]media.Packet, 4)
	if n, lost := c.Poll(dst); n != 0 || lost != 0 {
		t.Fatalf("%d packets at the live edge, %d lost", n, lost)
	}
	publish(f, 10, 16, 0)
	for _, want := range []int{4, 2, 0} {
		n, lost := c.Poll(dst)
		if n != want || lost != 0 {
			t.Fatalf("%d packets, %d lost; want %d", n, lost, want)
		}
	}
	if c.Position() != 16 || f.Next() != 16 {
		t.Errorf("cursor at %d of %d", c.Position(), f.Next())
	}
}

func TestOverrunResumesAtNewestRandomAccess(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 1000, 40) // the ring holds 900-999, the newest entry is 960
	expect(t, c, 960, 960)
	expect(t, c, 961, 0)
}

func TestOverrunHandsOverWhatPrecedesTheGap(t *testing.T) {
	f := New(small)
	publish(f, 0, 50, 10)
	c := &Cursor{flow: f}
	dst := make([]media.Packet, 20)
	if n, lost := c.Poll(dst); n != 20 || lost != 0 {
		t.Fatalf("%d packets, %d lost", n, lost)
	}
	publish(f, 50, 500, 10)
	n, lost := c.Poll(dst)
	if n != 10 || number(dst[0]) != 490 || lost != 470 {
		t.Errorf("%d packets from %d, %d lost", n, number(dst[0]), lost)
	}
}

func TestOverrunWithoutRandomAccessResumesAtLiveEdge(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 1000, 0)
	dst := make([]media.Packet, 8)
	if n, lost := c.Poll(dst); n != 0 || lost != 1000 {
		t.Fatalf("%d packets, %d lost", n, lost)
	}
	publish(f, 1000, 1001, 0)
	expect(t, c, 1000, 0)
}

func TestOverrunWaitsForRandomAccess(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 1950, 1000) // the newest entry, 1000, has left the ring
	publish(f, 1950, 1990, 1000)
	dst := make([]media.Packet, 8)
	if n, lost := c.Poll(dst); n != 0 || lost != 1990 {
		t.Fatalf("%d packets, %d lost", n, lost)
	}
	publish(f, 1990, 2010, 1000)
	expect(t, c, 2000, 10)
}

func TestSearchForRandomAccessIsBounded(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 1, 1)
	publish(f, 1, 1000, 0)
	dst := make([]media.Packet, 1)
	if n, lost := c.Poll(dst); n != 0 || lost != 1000 {
		t.Fatalf("%d packets, %d lost", n, lost)
	}
	first, lost := -1, uint64(0)
	for n := 1000; first < 0 && n < 10_000; n++ {
		publish(f, n, n+1, 0)
		got, l := c.Poll(dst)
		lost += l
		if got > 0 {
			first = number(dst[0])
		}
	}
	if want := 1000 + int(maxSearch/time.Millisecond) + 1; first != want || lost != uint64(want-1000) {
		t.Errorf("went on at %d after %d lost, want %d", first, lost, want)
	}
}

func TestOverrunResumesAtNewSession(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 950, 0)
	restarted := &media.Format{Kind: media.TS}
	for n := 950; n < 1000; n++ {
		p := packet(n)
		p.Format = restarted
		f.Publish([]media.Packet{p})
	}
	expect(t, c, 950, 950)
}

func TestRandomAccessOfTheOldSessionIsNotAwaited(t *testing.T) {
	f := New(small)
	c := open(t, f)
	publish(f, 0, 500, 10)
	restarted := &media.Format{Kind: media.TS} // without random access
	for n := 500; n < 1000; n++ {
		p := packet(n)
		p.Format = restarted
		f.Publish([]media.Packet{p})
	}
	dst := make([]media.Packet, 1)
	if n, lost := c.Poll(dst); n != 0 || lost != 1000 {
		t.Fatalf("%d packets, %d lost", n, lost)
	}
	p := packet(1000)
	p.Format = restarted
	f.Publish([]media.Packet{p})
	expect(t, c, 1000, 0)
}

func TestRingIsBoundedInTime(t *testing.T) {
	f := New(small)
	publish(f, 0, 5000, 0)
	for pos, want := range map[uint64]bool{4899: false, 4900: true, 4999: true, 5000: false, 0: false} {
		p, ok := f.At(pos)
		if ok != want || ok && number(p) != int(pos) {
			t.Errorf("At(%d) is %v, %v", pos, p.Data, ok)
		}
	}
	f.SetLimits(Limits{Retain: 9 * time.Millisecond, MaxBytes: 1 << 20})
	publish(f, 5000, 5001, 0)
	if _, ok := f.At(4990); ok {
		t.Error("a packet older than the new limit is still there")
	}
	if _, ok := f.At(4991); !ok {
		t.Error("a packet within the new limit is gone")
	}
}

func TestRingIsBoundedInBytes(t *testing.T) {
	f := New(Limits{Retain: time.Hour, MaxBytes: 100 * (8 + slotSize)})
	publish(f, 0, 5000, 0)
	if _, ok := f.At(4899); ok {
		t.Error("more bytes are held than allowed")
	}
	if _, ok := f.At(4900); !ok {
		t.Error("fewer bytes are held than allowed")
	}
	huge := packet(5000)
	huge.Data = make([]byte, 1<<20)
	f.Publish([]media.Packet{huge})
	if _, ok := f.At(5000); !ok {
		t.Error("the newest packet is not there")
	}
	if _, ok := f.At(4999); ok {
		t.Error("a packet is held beside one that is over the limit alone")
	}
}

func TestArrayGrowsAndShrinks(t *testing.T) {
	f := New(Limits{Retain: time.Hour, MaxBytes: 1 << 30})
	slots := func() int { return len(f.ring.Load().slots) }
	publish(f, 0, 5000, 0)
	if n := slots(); n != 8192 {
		t.Errorf("%d slots for 5000 packets", n)
	}
	for pos := range uint64(5000) {
		if p, ok := f.At(pos); !ok || number(p) != int(pos) {
			t.Fatalf("packet %d was lost as the array grew", pos)
		}
	}
	f.SetLimits(small)
	publish(f, 5000, 5100, 0)
	if n := slots(); n > 8*100 {
		t.Errorf("%d slots for 100 packets", n)
	}
	for pos := uint64(5000); pos < 5100; pos++ {
		if p, ok := f.At(pos); !ok || number(p) != int(pos) {
			t.Fatalf("packet %d was lost as the array shrank", pos)
		}
	}
}

func TestLastArrival(t *testing.T) {
	f := New(small)
	if !f.LastArrival().IsZero() {
		t.Error("an empty flow has a last arrival")
	}
	publish(f, 0, 1234, 0)
	if got := f.LastArrival(); !got.Equal(packet(1233).Arrival) {
		t.Errorf("last arrival %v", got)
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(small)
		c := open(t, f)
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			publish(f, 0, 3, 0)
			time.Sleep(time.Second)
			f.Close()
		}()
		dst := make([]media.Packet, 8)
		if n, _, err := c.Next(t.Context(), dst); n < 1 || err != nil || time.Since(start) != time.Second {
			t.Fatalf("%d packets, %v, after %v", n, err, time.Since(start))
		}
		synctest.Wait()
		c.Poll(dst)
		if n, _, err := c.Next(t.Context(), dst); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("%d packets, %v", n, err)
		}
		f = New(small)
		c = open(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, _, err := c.Next(ctx, dst); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d packets, %v", n, err)
		}
	})
}
