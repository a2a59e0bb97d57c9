package srt

import (
	"encoding/binary"
	"testing"
	"time"
)

// TestAcknowledgements: full ones every 10 ms, light ones after 64 packets
// between them, repeated until the peer shows that it knows, and then none.
func TestAcknowledgements(t *testing.T) {
	r := newReceiveRig(t, nil)
	out := &outbox{}
	r.conn.out = out
	rest := func(d time.Duration) (full, light int) {
		for _, m := range func() []int {
			r.now = r.now.Add(d)
			r.conn.tick(r.now)
			var sizes []int
			for _, m := range out.control(controlACK) {
				sizes = append(sizes, len(m.Header)-headerSize)
			}
			return sizes
		}() {
			if m == fullACKSize {
				full++
			} else {
				light++
			}
		}
		return full, light
	}
	take := func(n int) {
		for range n {
			r.h.time = microseconds(r.conn.at(r.now))
			r.conn.take(r.h, r.data, r.now, r.now)
			r.h.sequence = r.h.sequence.plus(1)
		}
	}
	take(10)
	if full, light := rest(tick); full != 1 || light != 0 {
		t.Fatalf("after a window: %d full, %d light", full, light)
	}
	take(lightEvery - 1)
	if full, light := rest(2 * time.Millisecond); full != 0 || light != 0 {
		t.Fatalf("between two: %d full, %d light", full, light)
	}
	take(1)
	if full, light := rest(2 * time.Millisecond); full != 0 || light != 1 {
		t.Fatalf("after 64 packets: %d full, %d light", full, light)
	}
	if full, light := rest(tick); full != 1 || light != 0 {
		t.Fatalf("the next: %d full, %d light", full, light)
	}
	// The peer answers the first, and so does not say that it knows of the last.
	r.conn.take(header{control: true, kind: controlACKACK, specific: 1, time: microseconds(r.conn.at(r.now))}, make([]byte, 4), r.now, r.now)
	again := 0
	for range 100 {
		full, _ := rest(tick)
		again += full
	}
	if again < 2 || again > 40 {
		t.Errorf("repeated %d times in a second, with a round trip of 24 ms", again)
	}
	// It answers the last: the one that says where the stream is.
	r.conn.take(header{control: true, kind: controlACKACK, specific: r.conn.half.(*receiver).number - 1, time: microseconds(r.conn.at(r.now))}, make([]byte, 4), r.now, r.now)
	for range 100 {
		if full, light := rest(tick); full+light > 0 {
			t.Fatalf("after the answer: %d full, %d light", full, light)
		}
	}
	if !r.conn.measured {
		t.Error("the round trip was not measured")
	}
}

// TestTimestampsGoRound: packets play in their time before and after the clock
// of the peer goes round, whichever comes first.
func TestTimestampsGoRound(t *testing.T) {
	var base timebase
	start := uint32(1<<32 - 1_000_000)
	base.begin(time.Second, start)
	last := base.unwrap(start)
	for _, step := range []int64{0, 500_000, 600_000, -200_000, 5_000, -900_000, 2_000_000} {
		want := last + step
		if got := base.unwrap(uint32(want)); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
		last = want
	}
	if at := base.local(int64(start) + 3_000_000); at != 4*time.Second {
		t.Errorf("%v", at)
	}
}

// TestClockSet has the peer's clock set, by hours and by moments: the stream
// goes on.
func TestClockSet(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 300 * time.Millisecond, -300 * time.Millisecond} {
		var base timebase
		base.begin(time.Hour, microseconds(time.Hour))
		at := time.Hour
		for ; at < time.Hour+5*time.Second; at += 10 * time.Millisecond {
			base.answered(at, microseconds(at), time.Millisecond)
		}
		for ; at < time.Hour+15*time.Second; at += 10 * time.Millisecond {
			base.answered(at, microseconds(at+jump), time.Millisecond)
		}
		stamp := base.unwrap(microseconds(at + jump))
		if off := base.local(stamp) - at; off.Abs() > time.Millisecond {
			t.Errorf("set by %v: off by %v after ten seconds", jump, off)
		}
	}
}

// TestQueuesAreNoDrift: a path whose queue fills for a while is not a clock
// that goes slower.
func TestQueuesAreNoDrift(t *testing.T) {
	var base timebase
	base.begin(0, 0)
	const rtt = 40 * time.Millisecond
	at := time.Duration(0)
	for ; at < 10*time.Second; at += 10 * time.Millisecond {
		base.answered(at+rtt/2, microseconds(at), rtt)
	}
	before := base.base
	const queue = 150 * time.Millisecond
	for ; at < 20*time.Second; at += 10 * time.Millisecond {
		base.answered(at+rtt/2+queue, microseconds(at), rtt+queue)
	}
	if moved := base.base - before; moved.Abs() > time.Millisecond {
		t.Errorf("the base moved by %v", moved)
	}
}

// TestReceiverFigures compares what the two ends tell of a lossy stream with
// what was done to it.
func TestReceiverFigures(t *testing.T) {
	s := newSimulation(t, simulation{step: tick / glances, interval: 2 * time.Millisecond, delay: 15 * time.Millisecond, loss: 0.05}, nil)
	s.run(30 * time.Second)
	s.alive()
	s.from.conn.show(s.from.conn.at(s.from.clock(s.now)))
	s.to.conn.show(s.to.conn.at(s.to.clock(s.now)))
	f, r := s.from.conn.shown.Load().link, s.to.conn.shown.Load().link
	near := func(what string, got, want, share float64) {
		t.Helper()
		if got < want*(1-share) || got > want*(1+share) {
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	near("pktSent", float64(f.PktSent), float64(s.made+f.PktRetrans), 0.01)
	near("pktSndLoss", float64(f.PktSndLoss), float64(f.PktSent)*0.05, 0.2)
	near("pktRetrans", float64(f.PktRetrans), float64(f.PktSndLoss), 0.05)
	near("pktRecv", float64(r.PktRecv), float64(f.PktSent)*0.95, 0.02)
	near("pktRcvLoss", float64(r.PktRcvLoss), float64(s.made)*0.05, 0.2)
	near("pktRcvRetrans", float64(r.PktRcvRetrans), float64(f.PktRetrans)*0.95, 0.1)
	near("mbpsSendRate", f.MbpsSendRate, 500*(payloadSize+datagramOverhead)*8e-6*1.055, 0.1)
	near("mbpsRecvRate", r.MbpsRecvRate, 500*(payloadSize+datagramOverhead)*8e-6, 0.1)
	near("msRTT of the receiver", r.MsRTT, 35, 0.25)
	near("msRTT of the sender", f.MsRTT, 30, 0.25)
	near("msRcvBuf", r.MsRcvBuf, 185, 0.15)
	near("msSndBuf", f.MsSndBuf, 50, 0.6)
	near("pktFlightSize", float64(f.PktFlightSize), f.MsSndBuf/2, 0.2)
	if f.MsSndTsbPdDelay != 200 || r.MsRcvTsbPdDelay != 200 || r.PktRcvDrop != s.missing || f.PktFlowWindow < mostHeld/2 {
		t.Errorf("%+v\n%+v", f, r)
	}
	if a, b := s.from.conn.shown.Load().link.Advice, s.to.conn.shown.Load().link.Advice; a < 120*time.Millisecond || a > 400*time.Millisecond || b < a/2 || b > 2*a {
		t.Errorf("advice %v and %v", a, b)
	}
}

// TestBelated counts what comes twice or too late, and does not play it.
func TestBelated(t *testing.T) {
	r := newReceiveRig(t, nil)
	half := r.conn.half.(*receiver)
	r.window()
	first := r.h
	first.sequence = 3
	r.conn.take(first, r.data, r.now, r.now) // it waits already
	for range 20 {
		r.window()
	}
	r.conn.take(first, r.data, r.now, r.now) // it was played
	if half.pktBelated != 2 {
		t.Errorf("%d belated", half.pktBelated)
	}
	if n := half.ledger.Sent.Load(); n > uint64(r.h.sequence) {
		t.Errorf("%d of %d packets were played", n, r.h.sequence)
	}
}

// TestGivenUpBySender has no more asked for what the sender gives up.
func TestGivenUpBySender(t *testing.T) {
	r := newReceiveRig(t, nil)
	out := &outbox{}
	r.window()
	r.conn.out = out
	r.h.sequence = r.h.sequence.plus(5)
	r.window()
	if len(out.control(controlNAK)) != 1 {
		t.Fatal("the hole was not reported")
	}
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0), 1<<20)
	r.conn.take(header{control: true, kind: controlDropReq}, b, r.now, r.now)
	for range 10 {
		r.window()
		if len(out.control(controlNAK)) > 0 {
			t.Fatal("the hole was reported again")
		}
	}
}

// TestSkipped goes on without what did not come in time, and does not ask for
// it any more.
func TestSkipped(t *testing.T) {
	r := newReceiveRig(t, nil)
	half := r.conn.half.(*receiver)
	out := &outbox{}
	r.window()
	r.conn.out = out
	r.h.sequence = r.h.sequence.plus(5)
	for range 12 { // 120 ms, and a window
		r.window()
	}
	if half.pktDrop != 0 {
		t.Fatalf("%d were given up too early", half.pktDrop)
	}
	out.all = nil
	for range 5 {
		r.window()
	}
	if half.pktDrop != 5 || half.ledger.Lost.Load() != 5 || half.solid != half.top || len(half.losses.list) > 0 {
		t.Errorf("%d given up, %v", half.pktDrop, half.losses.list)
	}
	r.window()
	out.all = nil
	r.window()
	if len(out.control(controlNAK)) > 0 {
		t.Error("they are asked for")
	}
}
