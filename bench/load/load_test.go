package load

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/bench/wire"
)

func TestTally(t *testing.T) {
	ta := &tally{}
	feed := func(sequences ...uint64) {
		for _, n := range sequences {
			ta.count(n, 1_000_000, 3_000_000, 100)
		}
	}
	check := func(name string, want Received) {
		t.Helper()
		if got := sum([]*tally{ta}); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
	const late = 2 * time.Millisecond
	check("nothing", Received{Sinks: 1, Silent: 1})
	feed(10, 11, 14, 12, 14)
	check("a gap, one late, one twice", Received{Sinks: 1, Packets: 4, Bytes: 400, Lost: 1, Repeated: 1, Behind: 1, Median: late, P99: late, Longest: late})
	ta.begin()
	check("counted anew", Received{Sinks: 1, Silent: 1})
	feed(20, 13, 21)
	check("what was sent before does not count", Received{Sinks: 1, Packets: 2, Bytes: 200, Median: late, P99: late, Longest: late})
}

func TestLatencyIsMeasured(t *testing.T) {
	ta := &tally{}
	for n := range uint64(1000) {
		ta.count(n, 0, int64(n)*int64(time.Millisecond), 1)
	}
	got := sum([]*tally{ta})
	if got.Median != 499*time.Millisecond || got.P99 != 989*time.Millisecond || got.Longest != 999*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestLostShare(t *testing.T) {
	if got := (Received{Packets: 99, Lost: 1}).LostShare(); got != 0.01 {
		t.Errorf("%v, want 0.01", got)
	}
	if got := (Received{}).LostShare(); got != 0 {
		t.Errorf("%v of nothing", got)
	}
}

// What is sent straight to a sink is counted whole, however it is carried.
func TestSenderToSink(t *testing.T) {
	for _, c := range []struct {
		protocol   Protocol
		passphrase string
	}{{UDP, ""}, {RTP, ""}, {SRT, ""}, {SRT, "a passphrase to share"}} {
		terms := wire.Terms{Latency: 20 * time.Millisecond, Passphrase: c.passphrase}
		sinks, err := Listeners(c.protocol, 1, terms)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { sinks.Run(ctx) })
		sender, err := NewSender(ctx, c.protocol, sinks.Ports()[0], 20e6, terms)
		if err != nil {
			t.Fatal(err)
		}
		parts.Go(func() { sender.Run(ctx) })
		deadline := time.Now().Add(10 * time.Second)
		for sinks.Received().Packets < 200 {
			if time.Now().After(deadline) {
				t.Fatalf("%v: received %+v", c, sinks.Received())
			}
			<-time.After(5 * time.Millisecond)
		}
		got, sent := sinks.Received(), sender.Sent()
		if got.Lost != 0 || got.Repeated != 0 || got.Packets > sent || got.Bytes != got.Packets*PayloadSize || got.Median <= 0 {
			t.Errorf("%v: sent %d, received %+v", c, sent, got)
		}
		stop()
		parts.Wait()
		if acks := sinks.outlets[0].acks; (acks > 0) != (c.protocol == SRT) {
			t.Errorf("%v: %d acknowledgements", c, acks)
		}
	}
}

func TestSenderSendsAgain(t *testing.T) {
	terms := wire.Terms{Latency: 20 * time.Millisecond}
	sinks, err := Listeners(SRT, 1, terms)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { sinks.Run(ctx) })
	sender, err := NewSender(ctx, SRT, sinks.Ports()[0], 1e6, terms)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.conn.Close()
	for range 10 {
		sender.send()
	}
	first := sender.session.Initial
	var list []byte
	for _, n := range []uint32{first + 1, (first + 3) | 1<<31, first + 5, first + 100} { // one, three, one that was never sent
		list = binary.BigEndian.AppendUint32(list, n)
	}
	sender.repeat(list)
	sender.writer.Flush(wire.Descriptor(sender.conn))
	deadline := time.Now().Add(10 * time.Second)
	for sinks.Received().Repeated < 4 {
		if time.Now().After(deadline) {
			t.Fatalf("received %+v, want 4 again", sinks.Received())
		}
		<-time.After(5 * time.Millisecond)
	}
	stop()
	parts.Wait()
	if got := sinks.Received(); got.Packets != 10 || got.Repeated != 4 || got.Lost != 0 {
		t.Errorf("received %+v", got)
	}
	if wire.Control(sender.session.Keepalive()) != packet.CTRLTYPE_KEEPALIVE {
		t.Error("a keepalive is none")
	}
}
