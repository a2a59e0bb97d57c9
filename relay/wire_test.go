package relay

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
	"sluice/relay/rtp"
	"sluice/relay/srt"
)

// startEngine runs an Engine with the real endpoints, on sockets of the
// loopback, until the test ends.
func startEngine(t *testing.T) *Engine {
	t.Helper()
	lo := relaytest.NewUplink("lan0", netip.MustParseAddr("127.0.0.1"))
	retry := DefaultRetry
	retry.StartsPerSecond = 10000
	e := New(Options{Uplink: func(string) endpoint.Uplink { return lo }, Log: slog.New(slog.DiscardHandler), Retry: retry})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return e
}

// receiver returns a UDP socket on the loopback.
func receiver(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	return c
}

func sender(id string, to net.Addr) Output {
	return Output{ID: id, Name: id, Protocol: RTP, Enabled: true, MaxViewers: 4, RTP: &rtp.OutputConfig{
		Destinations: []rtp.Destination{{Host: "127.0.0.1", Port: to.(*net.UDPAddr).Port}},
		TTL:          16, Encapsulation: rtp.EncapsulationRTP,
	}}
}

func fromUDP(port int, outputs ...Output) Config {
	return Config{Flows: []Flow{{ID: "f", Name: "f", Enabled: true, Outputs: outputs, Inputs: []Input{{
		ID: "in", Protocol: RTP, Enabled: true, RTP: &rtp.InputConfig{Port: port, Encapsulation: rtp.EncapsulationUDP},
	}}}}}
}

// waitFor waits for a condition, for 20 s at most.
func waitFor(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// waitUp waits until every endpoint has its sockets.
func waitUp(t *testing.T, e *Engine) {
	t.Helper()
	waitFor(t, "every endpoint to be up", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, s := range e.streams {
			for it := range s.items() {
				g := it.glance()
				if !g.running || g.end.phase() != endpoint.Connected && g.end.phase() != endpoint.Listening {
					return false
				}
			}
		}
		return true
	})
}

// feed sends a generated stream to a port until stop is closed.
func feed(t *testing.T, port int, stop <-chan struct{}) {
	conn, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	ts, tick := relaytest.NewTS(1), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			_, _ = conn.Write(ts.Next())
		}
	}
}

// What an unchanged output sends is looked at on the wire while all others
// change: RTP sequence numbers without a gap, and every byte of the stream.
func TestUnchangedOutputLosesNothingOnTheWire(t *testing.T) {
	e := startEngine(t)
	ports := make([]int, 12)
	for i := range ports {
		ports[i] = relaytest.FreePort(t)
	}
	wire, other := receiver(t), receiver(t)
	defer wire.Close()
	defer other.Close()
	watched := sender("watched", wire.LocalAddr())
	e.Apply(fromUDP(ports[0], watched))

	verifier := relaytest.NewVerifier(1)
	received, gaps := make(chan int), 0
	go func() {
		n, last := 0, uint16(0)
		b := make([]byte, 2048)
		for {
			size, err := wire.Read(b)
			if err != nil {
				received <- n
				return
			}
			sequence := binary.BigEndian.Uint16(b[2:]) // RFC 3550 section 5.1
			if n > 0 && sequence != last+1 {
				gaps++
			}
			last = sequence
			n++
			verifier.Feed(b[12:size])
		}
	}()
	stop, fed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		feed(t, ports[0], stop)
	}()
	waitFor(t, "media on the wire", func() bool { return verifier.Report().Received > 0 })

	var others []Output
	for i := range 50 {
		switch { // ten are added, edited in turn, and removed again
		case i < 10 && i%2 == 0:
			others = append(others, sender(fmt.Sprint("o", i), other.LocalAddr()))
		case i < 10:
			others = append(others, listener(fmt.Sprint("o", i), ports[i+1]))
		case i < 40:
			o := &others[i%10]
			if o.SRT != nil {
				c := *o.SRT
				c.LatencyMS++
				o.SRT = &c
			} else {
				c := *o.RTP
				c.TTL++
				o.RTP = &c
			}
		default:
			others = others[1:]
		}
		e.Apply(fromUDP(ports[0], append([]Output{watched}, others...)...))
		waitUp(t, e)
	}
	at := verifier.Report().Received
	waitFor(t, "media after the last change", func() bool { return verifier.Report().Received > at+50 })
	close(stop)
	<-fed
	sent := func() uint64 { return e.Report().Flows[0].Outputs[0].Counters.Packets }
	waitFor(t, "all of it", func() bool { return verifier.Report().Received >= sent() })
	wire.Close()
	n := <-received
	if err := verifier.Report().Intact(); err != nil || gaps != 0 {
		t.Errorf("of %d packets: %v, %d gaps in the sequence", n, err, gaps)
	}
	if c := e.Report().Flows[0].Outputs[0].Counters; len(c.Dropped) != 0 || c.Reconnections != 0 {
		t.Errorf("the ledger says dropped %v, %d reconnections", c.Dropped, c.Reconnections)
	}
}

// use is what a process holds.
type use struct {
	goroutines, descriptors int
	heap                    uint64
}

func usage(t *testing.T) use {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return use{runtime.NumGoroutine(), len(fds), m.HeapAlloc}
}

func TestApplyLeavesNothingBehind(t *testing.T) {
	e := startEngine(t)
	ports := make([]int, 3)
	for i := range ports {
		ports[i] = relaytest.FreePort(t)
	}
	sink := receiver(t)
	defer sink.Close()
	change := func(i int) {
		l := listener("l", ports[1+i%2])
		s := sender("s", sink.LocalAddr())
		s.RTP.TTL = 1 + i%200
		extra := sender(fmt.Sprint("x", i), sink.LocalAddr())
		c := fromUDP(ports[0], l, s, extra)
		if i%3 == 0 {
			c.Flows[0].Inputs[0].SRT, c.Flows[0].Inputs[0].RTP = &srt.Config{Mode: srt.ModeListener, Port: ports[0]}, nil
			c.Flows[0].Inputs[0].Protocol = SRT
		}
		e.Apply(c)
		waitUp(t, e)
	}
	run := func(from, to int) use {
		for i := from; i < to; i++ {
			change(i)
		}
		e.Apply(Config{})
		return usage(t)
	}
	before := run(0, 20) // what is made once is made
	after := run(20, 220)
	waitFor(t, "goroutines and descriptors to return", func() bool {
		after = usage(t)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors
	})
	if after.heap > before.heap+1<<20 {
		t.Errorf("heap %d KiB before, %d KiB after 200 applies", before.heap>>10, after.heap>>10)
	}
}
