package load

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/wire"
)

// A sender's packets come one by one, as an encoder's do, not in bursts that a
// relay could send on at little cost.
func TestSenderIsPaced(t *testing.T) {
	c, err := wire.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sender, err := NewSender(t.Context(), UDP, wire.Port(c), 10e6, wire.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop()
	parts.Go(func() { sender.Run(ctx) })
	const even = PayloadSize * 8 * time.Second / 10e6
	reader := wire.NewReader(peek)
	deadline := time.Now().Add(20 * time.Second)
	var gap time.Duration
	for range time.Tick(time.Millisecond) {
		var at []int64
		for len(at) < 200 && time.Now().Before(deadline) {
			for i := range reader.Read(wire.Descriptor(c)) {
				at = append(at, reader.Datagram(i).At)
			}
		}
		var gaps []time.Duration
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, time.Duration(at[i]-at[i-1]))
		}
		if time.Now().After(deadline) {
			t.Fatalf("half of the packets come within %v of the one before, want about %v", gap, even)
		}
		// On a busy machine only some of the time.
		slices.Sort(gaps)
		if gap = gaps[len(gaps)/2]; gap > even/2 && gap < 2*even {
			return
		}
	}
}

// An SRT receiver acknowledges as libsrt does: 100 times a second, however
// often it looks, and after each 64 packets in between.
func TestAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		sweep       time.Duration
		packets     int // in each sweep
		full, light int // of a second
	}{
		{time.Millisecond, 1, 100, 0},
		{4 * time.Millisecond, 4, 100, 0},
		{4 * time.Millisecond, 76, 100, 150}, // 200 Mbit/s
		{12 * time.Millisecond, 12, 83, 0},   // it cannot be more often
		{4 * time.Millisecond, 0, 0, 0},
	} {
		sinks, err := Listeners(SRT, 1, wire.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		o := sinks.outlets[0]
		o.session = &wire.Session{}
		begin := time.Now()
		light := 0
		for now := time.Duration(0); now < time.Second; now += c.sweep {
			o.received += c.packets
			before := o.lights
			o.acknowledge(begin.Add(now))
			light += max(0, o.lights-before)
		}
		if got := int(o.acks); got < c.full-1 || got > c.full+1 || light < c.light-5 || light > c.light+5 {
			t.Errorf("every %v %d packets: %d full acknowledgements and %d light ones, want %d and %d", c.sweep, c.packets, got, light, c.full, c.light)
		}
		sinks.Close()
	}
}

// Receivers take turns, and each is looked at every 4 ms.
func TestSweepTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 6
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond+time.Microsecond)
		defer stop()
		begin := time.Now()
		var looks [n][]time.Duration
		together := map[time.Duration]int{}
		var mu sync.Mutex
		sweep(ctx, &mu, n, func(i int) {
			d := time.Since(begin)
			looks[i] = append(looks[i], d)
			together[d]++
		})
		for i, at := range looks {
			if len(at) != 25 || at[1]-at[0] != 4*time.Millisecond {
				t.Errorf("receiver %d was looked at %d times: %v", i, len(at), at)
			}
		}
		for d, k := range together {
			if k > 2 {
				t.Errorf("%d were looked at after %v", k, d)
			}
		}
	})
}

// A frame is a message of H.264 with all payloads that were due.
func TestFrames(t *testing.T) {
	p, player := &Publisher{}, &player{}
	now := time.Now()
	for n, due := range []uint64{19, 38, 39} {
		p.fill(n == 0, due, now)
		p.sent.Store(due)
		if nal := p.frame[9]; (p.frame[0] == 0x17) != (n == 0) || (nal == 0x65) != (n == 0) {
			t.Errorf("frame %d begins with %x", n, p.frame[:10])
		}
		if bytes.Contains(p.frame[10:], []byte{0, 0}) {
			t.Errorf("frame %d has a start code", n)
		}
		player.take(wire.Message{Type: wire.Video, Payload: p.frame}, now.Add(time.Millisecond).UnixNano())
	}
	player.take(wire.Message{Type: wire.Metadata, Payload: p.frame}, 0)
	player.take(wire.Message{Type: wire.Video, Payload: avcConfig}, 0)
	want := Received{Sinks: 1, Packets: 39, Bytes: 39 * PayloadSize, Median: time.Millisecond, P99: time.Millisecond, Longest: time.Millisecond}
	if got := sum([]*tally{&player.tally}); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// Nobody is there: publisher and players say so when their time is over.
func TestNobodyServes(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	c, err := wire.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := NewPublisher(ctx, wire.Port(c), 1e6); err == nil {
		t.Error("published to nobody")
	}
	if _, err := NewPlayers(ctx, 2, wire.Port(c)); err == nil {
		t.Error("played from nobody")
	}
}
