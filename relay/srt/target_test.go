package srt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/media"
	"sluice/relay/udp"
)

// A target is one connection without a loop, a network or a peer, on a clock
// that the test turns: what arrives is whatever an attacker makes of it.
type target struct {
	t      testing.TB
	conn   *conn
	now    time.Duration
	ledger endpoint.Ledger
	flow   *flow.Flow // that is sent, or received
	cursor *flow.Cursor
	format *media.Format
	ended  bool
	cause  error

	packets int                      // that were put out
	bytes   int                      // in them
	seen    func(h header, b []byte) // of each; nil: nobody looks
}

// The numbers of a target's connection and its peer.
const (
	targetID    = 1
	targetPeer  = 2
	targetFirst = maxSequence - 50 // short of where numbers go round
)

func newTarget(t testing.TB, keys *keyring) *target {
	x := &target{
		t: t, flow: flow.New(flow.Limits{Retain: 2 * time.Second, MaxBytes: 16 << 20}),
		format: &media.Format{Kind: media.TS},
	}
	terms := agreed{receive: 200 * time.Millisecond, send: 200 * time.Millisecond, window: mostHeld, flags: ownFlags, version: ownVersion}
	x.conn = newConn(side{id: targetID, peerID: targetPeer, first: targetFirst, idle: 5 * time.Second, terms: terms, keys: keys}, simEpoch, x)
	x.conn.ended = func(cause error) {
		if x.ended {
			t.Fatal("it ended twice")
		}
		x.ended, x.cause = true, cause
	}
	x.cursor = x.flow.Open()
	return x
}

// receiving returns a connection that receives.
func receiving(t testing.TB, keys *keyring) (*target, *receiver) {
	x := newTarget(t, keys)
	r := newReceiver(x.conn, targetFirst, 0, 0, x.flow, &x.ledger)
	x.conn.half = r
	return x, r
}

// sending returns a connection that sends.
func sending(t testing.TB, keys *keyring) (*target, *sender) {
	x := newTarget(t, keys)
	s := newSender(x.conn, x.cursor, &x.ledger, 100, stuckAfter)
	x.conn.half = s
	return x, s
}

// room and put make a target an outlet.
func (x *target) room(n int) []byte { return make([]byte, n) }

func (x *target) put(m udp.Message) {
	x.packets++
	x.bytes += len(m.Header) + len(m.Payload)
	if x.seen == nil {
		return
	}
	b := slices.Concat(m.Header, m.Payload)
	h, ok := parseHeader(b)
	if !ok || h.to != targetPeer {
		x.t.Fatalf("a datagram of %d bytes for %d", len(b), h.to)
	}
	x.seen(h, b[headerSize:])
}

// take hands the connection a datagram.
func (x *target) take(h header, body []byte) {
	at := simEpoch.Add(x.now)
	x.conn.take(h, body, at, at)
}

// control hands the connection a control packet.
func (x *target) control(kind controlType, specific uint32, body []byte) {
	x.take(header{control: true, kind: kind, specific: specific, time: microseconds(x.now), to: targetID}, body)
}

// pass turns the clock, and does what a loop does then.
func (x *target) pass(d time.Duration) {
	x.now += d
	x.conn.tick(simEpoch.Add(x.now))
	for range 8 {
		if x.conn.over || !x.conn.pump(simEpoch.Add(x.now), false) {
			return
		}
	}
}

// publish adds packets to the flow that is sent. Each begins with a mark.
func (x *target) publish(n int, mark []byte) {
	for range n {
		x.flow.Publish([]media.Packet{{Format: x.format, Arrival: simEpoch.Add(x.now), Data: marked(mark, payloadSize)}})
	}
}

// marked returns a payload of a size that is full of a mark.
func marked(mark []byte, size int) []byte {
	return bytes.Repeat(mark, size/len(mark)+1)[:size]
}

// published calls each for the packets that were received.
func (x *target) published(each func([]byte)) {
	var b [64]media.Packet
	for {
		n, _ := x.cursor.Poll(b[:])
		for _, p := range b[:n] {
			each(p.Data)
		}
		if n < len(b) {
			return
		}
	}
}

// addsUp fails the test where the ledger does not, once the connection is over.
func (x *target) addsUp() {
	x.t.Helper()
	if !x.conn.over {
		x.conn.end(gate.ErrKicked)
	}
	if !x.ended {
		x.t.Fatal("nobody was told of the end")
	}
	sum := x.ledger.Sent.Load()
	for _, n := range x.ledger.Dropped() {
		sum += n
	}
	if taken := x.ledger.Taken.Load(); taken != sum {
		x.t.Fatalf("%d taken, %d sent, dropped %v", taken, x.ledger.Sent.Load(), x.ledger.Dropped())
	}
}

// audit fails the test where a receiver holds more than it may, or its figures
// are not those of what it holds.
func (r *receiver) audit(t testing.TB) {
	t.Helper()
	if r.slots == nil { // it is closed
		return
	}
	n := r.top.since(r.base)
	if n < 0 || n > mostHeld || len(r.slots) > mostHeld || r.solid.since(r.base) < 0 || r.top.since(r.solid) < 0 {
		t.Fatalf("base %d, solid %d, top %d, %d slots", r.base, r.solid, r.top, len(r.slots))
	}
	held, size := 0, 0
	for i := range r.slots {
		if d := r.slots[i].data; d != nil {
			held++
			size += len(d)
		}
	}
	if held != r.held || size != r.bytes || size > mostBytes+maxDatagram {
		t.Fatalf("%d packets and %d bytes are held, not %d and %d", held, size, r.held, r.bytes)
	}
	before := r.base.plus(-1)
	for _, l := range r.losses.list {
		if l.size() < 1 || l.first.since(before) < 1 || l.last.since(r.top) >= 0 {
			t.Fatalf("base %d, top %d, losses %v", r.base, r.top, r.losses.list)
		}
		before = l.last
	}
	if len(r.losses.list) > mostRuns {
		t.Fatalf("%d losses", len(r.losses.list))
	}
}

// audit is the same of a sender.
func (s *sender) audit(t testing.TB) {
	t.Helper()
	n := s.count()
	if n < 0 || n > mostHeld || len(s.flight) > mostHeld || len(s.queue) > 2*mostHeld || s.tokens < 0 || s.window < 1 {
		t.Fatalf("%d of %d in flight, %d queued, %d tokens, a window of %d", n, len(s.flight), len(s.queue), s.tokens, s.window)
	}
}

// lossList makes the body of a NAK.
func lossList(spans ...span) (b []byte) {
	for _, s := range spans {
		b = appendLoss(b, s)
	}
	return b
}

// dropRequest makes the body of a request to drop.
func dropRequest(s span) []byte {
	b := make([]byte, 8)
	s.put(b)
	return b
}

// fullACK makes the body of a full acknowledgement.
func fullACK(next sequence, rtt, rttVar, room uint32) []byte {
	b := make([]byte, fullACKSize)
	for at, v := range []uint32{uint32(next), rtt, rttVar, room, 1000, 10_000, 1_316_000} {
		binary.BigEndian.PutUint32(b[4*at:], v)
	}
	return b
}
