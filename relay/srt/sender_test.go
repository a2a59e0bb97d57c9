package srt

import (
	"testing"
	"time"
	"unsafe"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/media"
	"sluice/relay/udp"
)

// An outbox is an outlet that keeps what is put.
type outbox struct{ all []udp.Message }

func (o *outbox) room(n int) []byte { return make([]byte, n) }
func (o *outbox) put(m udp.Message) { o.all = append(o.all, m) }

// data returns the data packets since it was called last.
func (o *outbox) data() (all []udp.Message) {
	for _, m := range o.all {
		if h, ok := parseHeader(m.Header); ok && !h.control {
			all = append(all, m)
		}
	}
	o.all = nil
	return all
}

// control returns the control packets of a kind, and forgets all.
func (o *outbox) control(kind controlType) (all []udp.Message) {
	for _, m := range o.all {
		if isControl(m.Header, kind) {
			all = append(all, m)
		}
	}
	o.all = nil
	return all
}

// keeping has the rig's packets kept.
func (r *sendRig) keeping() *outbox {
	o := &outbox{}
	r.conn.out = o
	return o
}

func (r *sendRig) publish(n int) {
	var batch []media.Packet
	for range n {
		batch = append(batch, media.Packet{Format: r.format, Arrival: r.now, Data: append([]byte(nil), r.data...)})
	}
	r.flow.Publish(batch)
}

func (r *sendRig) lose(s span) {
	r.conn.take(header{control: true, kind: controlNAK}, appendLoss(nil, s), r.now, r.now)
}

// TestPayloadIsShared: in the clear, a packet that is sent, and sent again, is
// the flow's own memory.
func TestPayloadIsShared(t *testing.T) {
	r := newSendRig(t, nil)
	out := r.keeping()
	at := r.flow.Next()
	r.publish(3)
	r.conn.pump(r.now, false)
	r.lose(span{1, 1})
	r.conn.pump(r.now, false)
	sent := out.data()
	if len(sent) != 4 {
		t.Fatalf("%d packets", len(sent))
	}
	for i, from := range []uint64{0, 1, 2, 1} {
		p, _ := r.flow.At(at + from)
		if unsafe.SliceData(sent[i].Payload) != unsafe.SliceData(p.Data) || len(sent[i].Payload) != len(p.Data) {
			t.Errorf("packet %d is a copy", i)
		}
	}
	if h, _ := parseHeader(sent[3].Header); h.flags&flagRetransmitted == 0 || h.sequence != 1 {
		t.Errorf("%+v", h)
	}
}

// TestBursts: no more than a burst leaves at a time, whatever there is.
func TestBursts(t *testing.T) {
	r := newSendRig(t, nil)
	out := r.keeping()
	r.publish(100)
	for left := 100; left > 0; left -= burst {
		more := r.conn.pump(r.now, false)
		if n := len(out.data()); n != min(left, burst) || more != (left >= burst) {
			t.Fatalf("%d of %d left, more: %v", n, left, more)
		}
	}
	r.lose(span{0, 99})
	for left := 99; left > 0; left -= burst { // what the tokens allow
		r.conn.pump(r.now, false)
		if n := len(out.data()); n > burst {
			t.Fatalf("%d were sent again at a time", n)
		}
	}
}

// TestFastStream: bursts grow with the stream, so that one of 200 Mbit/s gets
// through with a burst every millisecond, and somewhat late ones too.
func TestFastStream(t *testing.T) {
	const perSecond, late = 19_000, 1300 * time.Microsecond
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	s.window = 1 << 20
	r.flow.SetLimits(flow.Limits{Retain: time.Minute, MaxBytes: 1 << 30})
	r.keeping()
	published := 0
	for began := r.now; r.now.Sub(began) < 4*time.Second; r.now = r.now.Add(late) {
		due := int(r.now.Sub(began) * perSecond / time.Second)
		r.publish(due - published)
		published = due
		r.conn.pump(r.now, false)
		r.conn.out.(*outbox).all = nil
		a := acknowledgement{next: s.next, rtt: time.Millisecond, room: mostHeld}
		var b [fullACKSize]byte
		r.conn.take(header{control: true, kind: controlACK, specific: 1}, b[:a.put(b[:])], r.now, r.now)
	}
	if behind := published - int(s.pktSent); behind > 100 {
		t.Errorf("%d of %d packets behind", behind, published)
	}
}

// TestOverhead: a peer that reports everything lost, all the time, gets no more
// sent again than is allowed.
func TestOverhead(t *testing.T) {
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	const overhead, seconds = 25, 20
	s.overhead = overhead
	out := r.keeping()
	var fresh, again int
	for range seconds * 100 {
		r.now = r.now.Add(tick)
		r.publish(4)
		for range glances {
			r.lose(span{s.first, s.next.plus(-1)})
			for r.conn.pump(r.now, false) {
				continue
			}
		}
		for _, m := range out.data() {
			if h, _ := parseHeader(m.Header); h.flags&flagRetransmitted != 0 {
				again++
			} else {
				fresh++
			}
		}
		if s.count() > 100 {
			a := acknowledgement{next: s.first.plus(50), room: mostHeld, rtt: time.Millisecond}
			var b [fullACKSize]byte
			r.conn.take(header{control: true, kind: controlACK, specific: 1}, b[:a.put(b[:])], r.now, r.now)
		}
	}
	if most := fresh*overhead/100 + spareTokens/payloadSize + 400*overhead/100; again > most || again < fresh*overhead/200 {
		t.Errorf("%d packets, %d sent again, at most %d", fresh, again, most)
	}
}

// TestLastPacketLost: nothing follows that would show it missing.
func TestLastPacketLost(t *testing.T) {
	r := newSendRig(t, nil)
	out := r.keeping()
	r.publish(1)
	r.conn.pump(r.now, false)
	out.data()
	var waited time.Duration
	for ; waited < time.Second; waited += tick {
		r.now = r.now.Add(tick)
		r.conn.tick(r.now)
		r.conn.pump(r.now, false)
		if len(out.data()) > 0 {
			break
		}
	}
	if waited < minProbe || waited >= 500*time.Millisecond {
		t.Errorf("it was sent again after %v", waited)
	}
}

// TestSilence: a burst of packets is lost, and so are all reports of it for a
// while: it is sent again unasked, in time. A peer that is heard, and asks for
// nothing, gets nothing.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		silent  time.Duration
		missing uint64
	}{{300 * time.Millisecond, 0}, {0, 0}} {
		burst := func(now time.Duration) bool { return now > 2*time.Second && now <= 2020*time.Millisecond }
		s := newSimulation(t, simulation{
			step: tick / glances, interval: time.Millisecond, delay: 15 * time.Millisecond, latency: 250 * time.Millisecond,
			cut: func(now time.Duration) bool { return c.silent > 0 && burst(now) },
			deaf: func(now time.Duration) bool {
				return c.silent > 0 && now > 2*time.Second && now <= 2*time.Second+c.silent
			},
		}, nil)
		s.run(5 * time.Second)
		s.alive()
		again := s.from.ledger.Retransmitted.Load()
		if s.missing != c.missing || c.silent == 0 && again > 0 || again > 150 {
			t.Errorf("silent for %v: %d missing, %d sent again", c.silent, s.missing, again)
		}
	}
}

// TestTooLate gives up what the peer cannot use any more, says so, and counts
// it; and so what the ring has no more.
func TestTooLate(t *testing.T) {
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	s.stuck = time.Hour
	out := r.keeping()
	r.publish(5)
	r.conn.pump(r.now, false)
	r.now = r.now.Add(tooLateFloor / 2)
	r.conn.tick(r.now)
	if s.count() != 5 {
		t.Fatalf("%d in flight", s.count())
	}
	out.all = nil
	r.now = r.now.Add(tooLateFloor)
	r.conn.tick(r.now)
	told := out.control(controlDropReq)
	if s.count() != 0 || len(told) != 1 || s.ledger.Dropped()[endpoint.DropTooLate.String()] != 5 || s.ledger.Lost.Load() != 5 {
		t.Fatalf("%d in flight, told %d times, dropped %v", s.count(), len(told), s.ledger.Dropped())
	}
	if got, ok := parseDropRequest(told[0].Header[headerSize:]); !ok || got != (span{0, 4}) {
		t.Errorf("told of %v", got)
	}
	// A peer that asks for it all the same is told again.
	r.lose(span{2, 3})
	if len(out.control(controlDropReq)) != 1 {
		t.Error("who asks is not told")
	}
	r.publish(1)
	r.conn.pump(r.now, false)
	r.now = r.now.Add(500 * time.Millisecond)
	r.publish(1)
	r.now = r.now.Add(1500 * time.Millisecond)
	s.c.terms.flags.TLPKTDROP = false // so that it is not given up before
	r.publish(1)                      // the ring forgets the others
	r.lose(span{5, 5})
	r.conn.pump(r.now, false)
	if got := s.ledger.Dropped()[endpoint.DropTooLate.String()]; got != 6 {
		t.Errorf("%d dropped", got)
	}
}

// TestRoundTripWithoutOurWait: the peer measures the time that its ACK waits
// for our window as well; what is told is the path alone.
func TestRoundTripWithoutOurWait(t *testing.T) {
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	const path, wait = 20 * time.Millisecond, 6 * time.Millisecond
	for range 100 {
		r.now = r.now.Add(tick)
		r.publish(1)
		r.conn.pump(r.now, false)
		a := acknowledgement{next: s.next, room: mostHeld, rtt: path + wait}
		var b [fullACKSize]byte
		r.conn.take(header{control: true, kind: controlACK, specific: 1}, b[:a.put(b[:])], r.now.Add(-wait), r.now)
	}
	r.conn.show(r.conn.at(r.now))
	if got := r.conn.shown.Load().link.MsRTT; got < 19.9 || got > 20.5 {
		t.Errorf("%v ms", got)
	}
}

// TestWindow: no more is in flight than the peer has room for.
func TestWindow(t *testing.T) {
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	s.window = 10
	r.publish(100)
	for r.conn.pump(r.now, false) {
		continue
	}
	if s.count() != 10 {
		t.Errorf("%d in flight", s.count())
	}
	a := acknowledgement{next: s.first.plus(4), room: 6, rtt: time.Millisecond}
	var b [fullACKSize]byte
	r.conn.take(header{control: true, kind: controlACK, specific: 1}, b[:a.put(b[:])], r.now, r.now)
	for r.conn.pump(r.now, false) {
		continue
	}
	if s.count() != 6 {
		t.Errorf("%d in flight, room for 6", s.count())
	}
}

// TestAcknowledgedWithout: what a peer reported lost, and then acknowledged
// before it was sent again, it went on without.
func TestAcknowledgedWithout(t *testing.T) {
	r := newSendRig(t, nil)
	s := r.conn.half.(*sender)
	r.publish(10)
	r.conn.pump(r.now, false)
	r.lose(span{2, 4})
	a := acknowledgement{next: 10, room: mostHeld, rtt: time.Millisecond}
	var b [fullACKSize]byte
	r.conn.take(header{control: true, kind: controlACK, specific: 1}, b[:a.put(b[:])], r.now, r.now)
	if sent, lost := s.ledger.Sent.Load(), s.ledger.Lost.Load(); sent != 7 || lost != 3 || s.bytes != 7*payloadSize {
		t.Errorf("%d sent, %d lost, %d bytes", sent, lost, s.bytes)
	}
	r.conn.ended = nil
	r.conn.end(gate.ErrKicked)
	if d := s.ledger.Dropped(); s.ledger.Taken.Load() != 10 || d[endpoint.DropTooLate.String()] != 3 {
		t.Errorf("%d taken, dropped %v", s.ledger.Taken.Load(), d)
	}
}

// TestTimesNeverGoBack: packets carry their own time, whatever their order and
// whenever they leave; but never one before the last, nor one to come.
func TestTimesNeverGoBack(t *testing.T) {
	r := newSendRig(t, nil)
	out := r.keeping()
	r.now = r.now.Add(time.Second)
	for _, ms := range []time.Duration{-300, -200, -250, -100, 50} {
		r.flow.Publish([]media.Packet{{Format: r.format, Arrival: r.now.Add(ms * time.Millisecond), Data: r.data}})
	}
	r.conn.pump(r.now, false)
	for i, m := range out.data() {
		h, _ := parseHeader(m.Header)
		if want := []uint32{700_000, 800_000, 800_000, 900_000, 1_000_000}[i]; h.time != want {
			t.Errorf("packet %d carries %d, want %d", i, h.time, want)
		}
	}
}
