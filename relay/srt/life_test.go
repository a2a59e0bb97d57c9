package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// TestPeerVanishes kills peers with kill -9: a listener waits again, and a
// call ends, once the peer has been silent for its idle timeout.
func TestPeerVanishes(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	const most = 4 * time.Second // the timeout of 2 s, and a busy machine
	gone := func(t *testing.T, p *program, status func() (endpoint.Phase, *endpoint.Reason), phase endpoint.Phase) {
		t.Helper()
		p.kill()
		began := time.Now()
		await(t, "it is noticed", func() bool { _, why := status(); return why != nil })
		if took := time.Since(began); took > most {
			t.Errorf("noticed after %v", took)
		}
		if got, why := status(); got != phase || why.Code != "peer_silent" {
			t.Errorf("phase %d, reason %+v", got, why)
		}
	}
	ofInput := func(in *receivingInput) func() (endpoint.Phase, *endpoint.Reason) {
		return func() (endpoint.Phase, *endpoint.Reason) { s := in.Status(); return s.Phase, s.Reason }
	}
	ofOutput := func(out *sendingOutput) func() (endpoint.Phase, *endpoint.Reason) {
		return func() (endpoint.Phase, *endpoint.Reason) { s := out.Status(); return s.Phase, s.Reason }
	}
	const slt = "srt-live-transmit"
	cells := concurrent{t: t}
	cells.run("publisher to our listener", func(t *testing.T) {
		in := runInput(t, listenerConfig())
		p := runProgram(t, source(t), nil, slt, peers[0].send(url("127.0.0.1", in.port(t), "mode=caller"))...)
		await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 20 })
		gone(t, p, ofInput(in), endpoint.Listening)
		intact(t, in.seen)
	})
	cells.run("source that we call", func(t *testing.T) {
		port := relaytest.FreePort(t)
		p := runProgram(t, source(t), nil, slt, peers[0].send(url("127.0.0.1", port, "mode=listener"))...)
		listening(t, port)
		in := runInput(t, callerConfig("127.0.0.1", port))
		await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 20 })
		gone(t, p, ofInput(in), endpoint.Connecting)
	})
	cells.run("viewer of our listener", func(t *testing.T) {
		got := relaytest.NewVerifier(1)
		out := runOutput(t, listenerConfig(), anyone, live(t))
		p := runProgram(t, nil, sink{got}, slt, peers[0].receive(url("127.0.0.1", out.port(t), "mode=caller"))...)
		await(t, "the stream arrives", func() bool { return got.Report().Received > 20 })
		gone(t, p, ofOutput(out), endpoint.Listening)
		if err := out.stop(); err != nil {
			t.Error(err)
		}
		balanced(t, out.env.Ledger)
		if d := out.env.Ledger.Dropped(); d["too_late"]+d["session_closed"] == 0 {
			t.Errorf("what it never got counts as sent: dropped %v", d)
		}
	})
	cells.run("peer that we call", func(t *testing.T) {
		got := relaytest.NewVerifier(1)
		port := relaytest.FreePort(t)
		p := runProgram(t, nil, sink{got}, slt, peers[0].receive(url("127.0.0.1", port, "mode=listener"))...)
		listening(t, port)
		out := runOutput(t, callerConfig("127.0.0.1", port), anyone, live(t))
		await(t, "the stream arrives", func() bool { return got.Report().Received > 20 })
		gone(t, p, ofOutput(out), endpoint.Connecting)
		balanced(t, out.env.Ledger)
	})
	cells.wait()
}

// TestGoodbye lets peers leave in order: that shows at once, as what it is.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	in := watching(t, out.port(t))
	_ = in.stop()
	await(t, "the reason shows", func() bool { s := out.Status(); return s.Reason != nil && s.Reason.Code == "peer_closed" })
}

// TestStoppedViewer stops the process of one of two viewers: the other loses
// nothing.
func TestStoppedViewer(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	frozen, got := relaytest.NewVerifier(1), relaytest.NewVerifier(1)
	p := runProgram(t, nil, sink{frozen}, "srt-live-transmit", peers[0].receive(url("127.0.0.1", port, "mode=caller"))...)
	runProgram(t, nil, sink{got}, "srt-live-transmit", peers[0].receive(url("127.0.0.1", port, "mode=caller"))...)
	await(t, "both get the stream", func() bool { return frozen.Report().Received > 20 && got.Report().Received > 20 })
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "the stopped one is given up", func() bool { return len(viewers(out)) == 1 })
	n := got.Report().Received
	await(t, "the other goes on", func() bool { return got.Report().Received > n+50 })
	intact(t, got)
}

// unacknowledged turns the acknowledgements of a viewer into signs of life.
func unacknowledged(up bool, b []byte) bool {
	if up && isControl(b, controlACK) {
		h := header{control: true, kind: controlKeepAlive, to: binary.BigEndian.Uint32(b[12:])}
		h.put(b)
	}
	return true
}

// TestStuckViewer has a viewer that is alive and acknowledges nothing.
func TestStuckViewer(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	e, log := env(t)
	o := NewOutput(NewTransport(e.Log), listenerConfig(), anyone, e).(*listenOutput)
	o.delivery.stuck = 3 * time.Second
	out := &sendingOutput{Output: o, env: e}
	from := live(t)
	out.stop = background(t, func(ctx context.Context) error { return o.Run(ctx, from) })
	port := out.port(t)
	good := watching(t, port)
	_, mute := through(t, port, network{pass: unacknowledged})
	runInput(t, callerConfig("127.0.0.1", mute))
	await(t, "two viewers", func() bool { return len(viewers(out)) == 2 })
	await(t, "the stuck one is closed", func() bool { return len(viewers(out)) == 1 })
	if o.Status().Acked.IsZero() || time.Since(o.Status().Acked) > patience/3 {
		t.Error("the good one shows as stalled")
	}
	n := good.seen.Report().Received
	await(t, "the other goes on", func() bool { return good.seen.Report().Received > n+50 })
	intact(t, good.seen)
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, e.Ledger)
	if d := e.Ledger.Dropped(); d["too_late"]+d["session_closed"] < 50 {
		t.Errorf("dropped %v: what is not acknowledged counts as sent", d)
	}
	if !strings.Contains(log.String(), errStuck.Error()) {
		t.Errorf("the log does not say why:\n%s", tail(log.String()))
	}
}

// TestNothingAcknowledged: Acked tells of the peer, not of what was written.
func TestNothingAcknowledged(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	_, mute := through(t, out.port(t), network{pass: unacknowledged})
	viewer := runInput(t, callerConfig("127.0.0.1", mute))
	await(t, "the viewer gets the stream", func() bool { return viewer.seen.Report().Received > 50 })
	s := out.Status()
	if !s.Acked.IsZero() || s.Sent.IsZero() || s.Sessions[0].BytesAcked != 0 || out.env.Ledger.Sent.Load() != 0 {
		t.Errorf("%+v, %d sent", s, out.env.Ledger.Sent.Load())
	}
}

// TestLoss drops one datagram in ten each way.
func TestLoss(t *testing.T) {
	t.Parallel()
	cfg := listenerConfig()
	cfg.LatencyMS = 800 // for the busiest machine
	out := runOutput(t, cfg, anyone, live(t))
	var n int
	_, lossy := through(t, out.port(t), network{pass: func(bool, []byte) bool { n++; return n%10 != 0 }})
	in := runInput(t, callerConfig("127.0.0.1", lossy))
	await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
	intact(t, in.seen)
	if in.env.Ledger.Retransmitted.Load() == 0 || out.env.Ledger.Retransmitted.Load() == 0 {
		t.Error("nothing was retransmitted")
	}
	if in.env.Ledger.Lost.Load() != 0 {
		t.Errorf("%d lost", in.env.Ledger.Lost.Load())
	}
}

// TestLossForGood drops some packets every time: they are missing, counted,
// and the rest is as it was.
func TestLossForGood(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	_, lossy := through(t, out.port(t), network{pass: func(up bool, b []byte) bool {
		return up || b[0]>>7 == 1 || binary.BigEndian.Uint32(b)%64 != 0
	}})
	in := runInput(t, callerConfig("127.0.0.1", lossy))
	await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
	_ = in.stop()
	r := in.seen.Report()
	if r.Missing == 0 || r.Altered+r.Duplicated+r.Disordered != 0 {
		t.Errorf("%+v", r)
	}
	if lost := in.env.Ledger.Lost.Load(); lost < r.Missing || lost > r.Missing+1 {
		t.Errorf("%d lost, %d missing", lost, r.Missing)
	}
}

// TestHandshakeLost loses the first two of each packet that a call begins
// with.
func TestHandshakeLost(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	seen := map[string]int{}
	_, lossy := through(t, out.port(t), network{pass: func(up bool, b []byte) bool {
		if h, err := parseHandshake(b); err == nil {
			k := fmt.Sprint(up, h.HandshakeType)
			seen[k]++
			return seen[k] > 2
		}
		return true
	}})
	watching(t, lossy)
}

// TestCookieOfNoUse has a listener that does not know the first cookie any
// more: the call begins anew with another.
func TestCookieOfNoUse(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	concluded, anew := false, false
	_, path := through(t, out.port(t), network{pass: func(up bool, b []byte) bool {
		h, err := parseHandshake(b)
		switch {
		case err != nil || !up:
		case h.HandshakeType == packet.HSTYPE_INDUCTION:
			anew = concluded
		case !anew:
			concluded = true
			b[headerSize+28]++ // its cookie
		}
		return true
	}})
	watching(t, path)
	if !anew {
		t.Error("it did not begin anew")
	}
}

// TestFarPeer calls a peer at the other end of two satellites.
func TestFarPeer(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cfg := listenerConfig()
	cfg.LatencyMS = 4000
	out := runOutput(t, cfg, anyone, live(t))
	_, path := through(t, out.port(t), network{forth: relaytest.Path{Delay: 600 * time.Millisecond}, back: relaytest.Path{Delay: 600 * time.Millisecond}})
	watching(t, path)
}

// TestNoListener calls a port where nobody listens.
func TestNoListener(t *testing.T) {
	t.Parallel()
	in := runInput(t, callerConfig("127.0.0.1", relaytest.FreePort(t)))
	await(t, "the call ends", func() bool { return in.Status().Reason != nil })
	var e *endpoint.Error
	if err := in.stop(); !errors.As(err, &e) || e.Phase != endpoint.Connecting || e.Reason.Code != "no_listener" || !strings.Contains(err.Error(), "nobody listens at 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownName(t *testing.T) {
	in := runInput(t, callerConfig("no-such-host.invalid", 9000))
	await(t, "the call ends", func() bool { return in.Status().Reason != nil })
	var e *endpoint.Error
	if err := in.stop(); !errors.As(err, &e) || e.Phase != endpoint.Connecting || e.Reason.Code != "name_not_found" {
		t.Errorf("got %v", err)
	}
}

// TestHostileHandshakes sends a listener what no caller sends.
func TestHostileHandshakes(t *testing.T) {
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for length := range 200 {
		b := make([]byte, length)
		for _, word := range []uint16{0, 1, extensionHSReq, extensionKMReq, 5, 6, 0xFFFF} {
			for i := range b {
				b[i] = byte(word)
			}
			if length >= headerSize+handshakeSize {
				copy(b, makeHandshake(5, packet.HSTYPE_CONCLUSION, 0, 9))
			}
			if length >= headerSize {
				h := header{control: true, kind: controlHandshake}
				h.put(b)
			}
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	watching(t, port)
}

// TestStartStop starts and stops each kind of endpoint many times, connected
// and not: nothing is left behind.
func TestStartStop(t *testing.T) {
	from := flow.New(flow.DefaultLimits)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	nobody := silent.LocalAddr().(*net.UDPAddr).Port
	e, _ := env(t)
	cycle := func() {
		ctx, cancel := context.WithCancel(t.Context())
		out := NewOutput(NewTransport(e.Log), listenerConfig(), anyone, e)
		done := make(chan error, 4)
		go func() { done <- out.Run(ctx, from) }()
		await(t, "it listens", func() bool { return out.Status().Phase == endpoint.Listening })
		in := NewInput(NewTransport(e.Log), callerConfig("127.0.0.1", out.Status().Playback[0].Port), anyone, e)
		go func() { done <- in.Run(ctx, flow.New(flow.DefaultLimits)) }()
		go func() {
			done <- NewOutput(NewTransport(e.Log), callerConfig("127.0.0.1", nobody), anyone, e).Run(ctx, from)
		}()
		wrong := keyed(callerConfig("127.0.0.1", out.Status().Playback[0].Port), 128)
		go func() { done <- NewInput(NewTransport(e.Log), wrong, anyone, e).Run(ctx, flow.New(flow.DefaultLimits)) }()
		await(t, "they are connected", func() bool { return in.Status().Phase == endpoint.Connected })
		if err := <-done; err == nil {
			t.Error("a call without the right key went well")
		}
		cancel()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	cycle()
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)
	for range 25 { // four endpoints each
		cycle()
	}
	await(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors(t) <= descriptors
	})
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestLastWords lets a source end: what it sent before its goodbye, and waits
// here for the time of the latency, still comes out.
func TestLastWords(t *testing.T) {
	const latency = 1000
	cfg := listenerConfig()
	cfg.LatencyMS = latency
	in := runInput(t, cfg)
	c := callFrom(t, in.port(t))
	const n = 50
	ts, format := relaytest.NewTS(1), &media.Format{Kind: media.TS}
	for range n {
		c.flow.Publish([]media.Packet{{Format: format, Arrival: time.Now(), Data: ts.Next()}})
	}
	await(t, "all is acknowledged", func() bool { return c.env.Ledger.Sent.Load() == n })
	if in.seen.Report().Received == n {
		t.Skip("this machine is too slow to tell")
	}
	c.loop.do(func(time.Time) { c.conn.end(gate.ErrKicked) })
	await(t, "the end of the stream comes out", func() bool { return in.seen.Report().Received == n })
	await(t, "the source has left", func() bool { return in.Status().Phase == endpoint.Listening })
	if why := in.Status().Reason; why == nil || why.Code != "peer_closed" {
		t.Errorf("reason %+v", why)
	}
	intact(t, in.seen)
}
