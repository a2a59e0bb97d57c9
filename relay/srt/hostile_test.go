package srt

import (
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
)

// arrive hands a receiving connection a packet n numbers after the first.
func (x *target) arrive(n int, stamp time.Duration, size int) {
	h := header{sequence: sequence(targetFirst).plus(n), flags: flagSolo | 1, time: microseconds(stamp), to: targetID}
	x.take(h, marked(sealed, size))
}

// TestEndlessGoodbye has a source say goodbye and go on sending, so that there
// is always something left to be played.
func TestEndlessGoodbye(t *testing.T) {
	begin := func() *target {
		x, _ := receiving(t, nil)
		x.arrive(0, x.now, 100)
		x.control(controlShutdown, 0, nil)
		x.pass(tick)
		if x.ended {
			t.Fatal("what it sent before is not waited for")
		}
		return x
	}
	x := begin()
	x.control(controlShutdown, 0, nil) // on two ways
	for i := range 50 {
		x.arrive(i+1, x.now, 100)
		x.pass(100 * time.Millisecond)
	}
	if x.cause != endpoint.ErrPeerClosed {
		t.Errorf("it ended with %v", x.cause)
	}
	x.addsUp()

	x = begin()
	x.conn.finish(gate.ErrKicked)
	if x.cause != gate.ErrKicked {
		t.Errorf("our own end waits: %v", x.cause)
	}
}

// TestFromTheFuture has a packet of an hour ahead among others: it holds nobody
// up.
func TestFromTheFuture(t *testing.T) {
	for name, jumps := range map[string][]time.Duration{
		"once": {30 * time.Minute}, "twice": {30 * time.Minute, 60 * time.Minute}, "back": {-30 * time.Minute}, "a little": {2 * time.Second},
	} {
		x, _ := receiving(t, nil)
		got := 0
		for i := range 400 {
			stamp := x.now
			if at := i - 200; at >= 0 && at < len(jumps) {
				stamp += jumps[at]
			}
			x.arrive(i, stamp, payloadSize)
			x.pass(tick)
			x.published(func([]byte) { got++ })
		}
		if got < 350 {
			t.Errorf("%s: %d packets", name, got)
		}
		x.addsUp()
	}
}

// TestBeforeTheBeginning: where the kernel's clock was set, a datagram seems to
// have come before the connection was there.
func TestBeforeTheBeginning(t *testing.T) {
	x, r := receiving(t, nil)
	x.take(header{sequence: targetFirst, flags: flagSolo | 1, to: targetID}, marked(sealed, 100))
	x.pass(tick)
	if r.number != 2 {
		t.Fatal("nothing was acknowledged")
	}
	h := header{control: true, kind: controlACKACK, specific: 1, to: targetID}
	x.conn.take(h, nil, simEpoch.Add(-4500*time.Millisecond), simEpoch.Add(x.now))
	x.pass(tick)
}

// sparse sends every other one of n packets, which are to be played much later.
func (x *target) sparse(n int) {
	for i := 1; i < n; i += 2 {
		h := header{sequence: sequence(targetFirst).plus(i), flags: flagSolo | 1, time: microseconds(x.now + time.Hour/2), to: targetID}
		x.take(h, marked(sealed, 20))
	}
}

// TestHoles has a source leave as many holes as it can, and fill them one by
// one, from the front and in the middle: there is an end to what is remembered,
// and so to what it costs.
func TestHoles(t *testing.T) {
	x, r := receiving(t, nil)
	x.pass(2 * settling)
	x.sparse(mostHeld)
	r.audit(t)
	if n := len(r.losses.list); n != mostRuns {
		t.Fatalf("%d runs are missing", n)
	}
	if n := x.ledger.Dropped()["queue_full"]; n != mostHeld/2-mostRuns {
		t.Errorf("%d packets were refused", n)
	}
	// One large hole at the end, to be cut up: no more than are mended meanwhile.
	last := header{sequence: r.base.plus(mostHeld - 1), flags: flagSolo | 1, to: targetID}
	mend := header{sequence: r.base, flags: flagSolo | 1, to: targetID}
	x.take(mend, marked(sealed, 20))
	x.take(last, marked(sealed, 20))
	for i := range 1000 {
		last.sequence = last.sequence.plus(-2)
		x.take(last, marked(sealed, 20))
		r.audit(t)
		if i%10 == 0 {
			mend.sequence = mend.sequence.plus(2)
			x.take(mend, marked(sealed, 20))
		}
	}
	if n := len(r.losses.list); n < mostRuns-1 {
		t.Errorf("%d runs are missing", n)
	}
	x.control(controlDropReq, 0, dropRequest(span{targetFirst, sequence(targetFirst).plus(1 << 29)}))
	if n := len(r.losses.list); n != 0 {
		t.Errorf("%d runs are left when all was given up", n)
	}
	r.audit(t)
	x.addsUp()
}

// inFlight publishes and sends n packets of which none is acknowledged.
func (x *target) inFlight(n int) {
	for s := x.conn.half.(*sender); s.count() < n; x.pass(tick) {
		x.publish(8*burst, sealed)
	}
	x.packets, x.bytes = 0, 0
}

// TestReports has a viewer report everything lost, over and over.
func TestReports(t *testing.T) {
	x, s := sending(t, nil)
	x.conn.terms.send = time.Minute // it is allowed to ask for that much
	const n = 5000
	x.inFlight(n)
	x.flow.SetLimits(flow.Limits{Retain: 2 * time.Second, MaxBytes: 1 << 20}) // most is not there any more
	x.publish(1, sealed)
	all := make([]span, 0, 180)
	for i := range cap(all) {
		all = append(all, span{s.first.plus(-1000 * i), s.next.plus(i)})
	}
	for range 20 {
		sent := s.pktSent
		for range 50 {
			x.control(controlNAK, 0, lossList(all...))
			x.control(controlNAK, 0, lossList(all[:1]...))
		}
		if x.packets > mostTold || s.looked > 2*mostLooked {
			t.Fatalf("%d packets were sent for reports, %d looked at", x.packets, s.looked)
		}
		s.audit(t)
		most := uint64(8 * s.burstOf()) // the tick sends eight bursts at most
		x.pass(tick)
		if n := s.pktSent - sent; n > most {
			t.Fatalf("%d packets were sent in a tick, at most %d", n, most)
		}
		x.packets = 0
	}
	if most := uint64(spareTokens/payloadSize + n + 20 + 200); s.pktRetrans > most {
		t.Errorf("%d packets were sent again", s.pktRetrans)
	}
	x.addsUp()
}

// TestHostileAcknowledgements has a viewer acknowledge what was never sent, what was
// long ago, and tell round trips and a room that cannot be.
func TestHostileAcknowledgements(t *testing.T) {
	x, s := sending(t, nil)
	x.inFlight(1000)
	first, n := s.first, s.count()
	for _, q := range []sequence{s.next.plus(1), s.next.plus(1 << 20), s.next.plus(1 << 29), s.first.plus(-mostHeld - 1), s.first.plus(-1 << 29), s.first.plus(1 << 30)} {
		x.control(controlACK, 1, fullACK(q, 1000, 1000, 100))
		x.control(controlACK, 1, fullACK(q, 1000, 1000, 100)[:lightACKSize])
	}
	if x.packets != 0 || s.first != first || s.count() != n || x.ledger.Sent.Load() != 0 {
		t.Errorf("%d packets were sent, %d acknowledged", x.packets, s.first.since(first))
	}
	for _, v := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
		x.control(controlACK, v, fullACK(s.first.plus(10), v, v, v))
		x.pass(tick)
		s.audit(t)
		if s.c.rtt < leastRTT || s.c.rtt > time.Minute || s.c.rttVar > time.Minute {
			t.Errorf("a round trip of %v, %v", s.c.rtt, s.c.rttVar)
		}
	}
	x.control(controlACK, 1, fullACK(s.next, 1000, 1000, 0))
	for range 100 { // a room of none, for ever
		x.publish(10, sealed)
		x.pass(tick)
		x.control(controlACK, 1, fullACK(s.next, 1000, 1000, 0))
	}
	if s.window != leastWindow || x.ended {
		t.Errorf("a window of %d, %v", s.window, x.cause)
	}
	x.addsUp()
}

// TestNoRoomAtAll has a viewer say in its handshake that it has no room.
func TestNoRoomAtAll(t *testing.T) {
	x := newTarget(t, nil)
	x.conn.terms.window = 0
	s := newSender(x.conn, x.cursor, &x.ledger, 100, stuckAfter)
	x.conn.half = s
	x.publish(10, sealed)
	x.pass(tick)
	if s.count() != leastWindow {
		t.Errorf("%d packets were sent", s.count())
	}
	for i := range 110 { // it is heard, but acknowledges nothing, however little that is
		if x.ended && i < 100 {
			t.Fatalf("it ended after %v", x.now)
		}
		x.control(controlACK, 1, fullACK(targetFirst, 1000, 1000, 0))
		x.publish(5, sealed)
		x.pass(100 * time.Millisecond)
		if s.count() > leastWindow {
			t.Fatalf("%d packets are in flight", s.count())
		}
	}
	if x.cause != errStuck {
		t.Errorf("it ended with %v", x.cause)
	}
	x.addsUp()
}

// TestPausedStream: a peer that never heard of the last packets of a stream that
// has paused is not stuck.
func TestPausedStream(t *testing.T) {
	x, s := sending(t, nil)
	x.publish(10, sealed)
	x.pass(tick)
	x.control(controlACK, 1, fullACK(s.next, 1000, 1000, mostHeld))
	x.publish(10, sealed)
	for range 300 {
		x.pass(100 * time.Millisecond)
		x.control(controlKeepAlive, 0, nil)
	}
	if x.ended || s.count() > 0 {
		t.Fatalf("%v, %d in flight", x.cause, s.count())
	}
	x.control(controlACK, 2, fullACK(s.next, 1000, 1000, mostHeld))
	if s.owed {
		t.Error("it has acknowledged all that was given up")
	}
	x.addsUp()
}

// TestJump has a source go on with numbers that are too far ahead: with one
// packet, and for good.
func TestJump(t *testing.T) {
	x, _ := receiving(t, nil)
	got := 0
	at := 0
	step := func(n int) {
		x.arrive(n, x.now, payloadSize)
		x.pass(tick)
		x.published(func([]byte) { got++ })
	}
	for ; at < 300; at++ {
		step(at)
		if at%50 == 0 { // between the others
			step(at + mostHeld + 1000)
			step(at + 1<<29)
		}
	}
	for range 50 { // all is played
		x.pass(tick)
	}
	for range 3 { // and while there are none
		step(at + 1<<29)
	}
	x.pass(2 * jumpFor)
	for ; at < 600; at++ {
		step(at)
	}
	if x.ended || got < 550 {
		t.Fatalf("%v, %d packets", x.cause, got)
	}
	for range 50 {
		x.pass(tick)
	}
	for ; at < 900 && !x.ended; at++ {
		step(at + 1<<29)
	}
	if x.cause != errJumped || at < 600+int(jumpFor/tick) {
		t.Errorf("it ended with %v after %d packets", x.cause, at-600)
	}
	x.addsUp()
}
