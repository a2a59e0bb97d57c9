package srt

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/relay/udp"
)

// A simulation is a sending and a receiving connection with a network between
// them, on a clock that the test turns: hours take seconds. The sender's clock
// may run at another pace.
type simulation struct {
	t        testing.TB
	now      time.Duration // true time, which is the receiver's
	step     time.Duration // of both loops: a glance
	turns    int
	skew     float64                      // of the sender's clock, as a share
	latency  time.Duration                // configured; 0: 200 ms
	delay    time.Duration                // each way
	loss     float64                      // each way
	cut      func(now time.Duration) bool // nothing passes
	deaf     func(now time.Duration) bool // nothing passes to the sender
	random   *rand.Rand
	from, to *simEnd
	source   *flow.Flow
	cursor   *flow.Cursor // on what was received
	format   *media.Format
	interval time.Duration // between two packets of the source
	made     uint64
	due      time.Duration

	got     uint64
	missing uint64
	altered uint64
	least   time.Duration // latency that was seen, beyond the configured one and the path
	most    time.Duration
}

// A simEnd is one of the two, and what is on its way to it.
type simEnd struct {
	sim    *simulation
	peer   *simEnd
	conn   *conn
	ledger endpoint.Ledger
	cause  error
	mail   []simMail // oldest first
	sent   []byte    // what the last datagram was, for tests
}

type simMail struct {
	at   time.Duration
	data []byte
}

// simEpoch is when both clocks began.
var simEpoch = time.Unix(1_800_000_000, 0)

func (s *simulation) terms() agreed {
	return agreed{receive: s.latency, send: s.latency, window: mostHeld, flags: ownFlags, version: ownVersion}
}

// newSimulation returns two connections that have just been made.
func newSimulation(t testing.TB, s simulation, keys *keyring) *simulation {
	t.Helper()
	sim := &s
	if sim.latency == 0 {
		sim.latency = 200 * time.Millisecond
	}
	sim.t, sim.random = t, rand.New(rand.NewPCG(1, 2))
	sim.format = &media.Format{Kind: media.TS}
	// Short of where sequence numbers go round.
	const first = maxSequence - 100
	side := side{id: 1, peerID: 2, first: first, idle: 5 * time.Second, terms: sim.terms(), keys: keys}
	sim.from, sim.to = &simEnd{sim: sim}, &simEnd{sim: sim}
	sim.from.peer, sim.to.peer = sim.to, sim.from
	sim.source = flow.New(flow.Limits{Retain: 2 * time.Second, MaxBytes: 64 << 20})
	cursor := sim.source.Open()
	sim.from.conn = newConn(side, simEpoch, sim.from)
	sim.from.conn.half = newSender(sim.from.conn, cursor, &sim.from.ledger, 100, stuckAfter)
	side.id, side.peerID = 2, 1
	if keys != nil {
		side.keys = keys.twin()
	}
	sim.to.conn = newConn(side, simEpoch, sim.to)
	received := flow.New(flow.Limits{Retain: time.Second, MaxBytes: 16 << 20})
	sim.cursor = received.Open()
	sim.to.conn.half = newReceiver(sim.to.conn, first, 0, sim.delay, received, &sim.to.ledger)
	for _, e := range []*simEnd{sim.from, sim.to} {
		e.conn.ended = func(cause error) { e.cause = cause }
	}
	sim.least, sim.most = time.Hour, -time.Hour
	return sim
}

// room and put make an end an outlet.
func (e *simEnd) room(n int) []byte { return make([]byte, n) }

func (e *simEnd) put(m udp.Message) {
	s := e.sim
	e.sent = append(append([]byte(nil), m.Header...), m.Payload...)
	if s.random.Float64() < s.loss || s.cut != nil && s.cut(s.now) || s.deaf != nil && e == s.to && s.deaf(s.now) {
		return
	}
	e.peer.mail = append(e.peer.mail, simMail{s.now + s.delay, e.sent})
}

// clock is the time that an end has.
func (e *simEnd) clock(at time.Duration) time.Time {
	if e == e.sim.from {
		at += time.Duration(float64(at) * e.sim.skew)
	}
	return simEpoch.Add(at)
}

// turn is one of an end's loop: a whole tick, or a glance in between.
func (e *simEnd) turn(whole bool) {
	for len(e.mail) > 0 && e.mail[0].at <= e.sim.now {
		m := e.mail[0]
		e.mail = e.mail[1:]
		h, ok := parseHeader(m.data)
		if !ok || h.to != e.conn.id {
			e.sim.t.Fatalf("a packet for %d", h.to)
		}
		e.conn.take(h, m.data[headerSize:], e.clock(m.at), e.clock(e.sim.now))
	}
	if !whole {
		if e.conn.loses() {
			e.conn.tick(e.clock(e.sim.now))
			e.conn.pump(e.clock(e.sim.now), true)
		}
		return
	}
	e.conn.tick(e.clock(e.sim.now))
	for range 64 { // what the loop does in between
		if !e.conn.pump(e.clock(e.sim.now), false) {
			break
		}
	}
}

// run turns the clock until a time.
func (s *simulation) run(until time.Duration) {
	for ; s.now < until; s.now += s.step {
		for ; s.due <= s.now; s.due += s.interval {
			s.publish()
		}
		// The two loops do not turn together.
		s.to.turn(s.turns%glances == 0)
		s.read()
		s.from.turn(s.turns%glances == glances/2)
		s.turns++
	}
}

// publish makes a packet of 1316 bytes that says when it was made.
func (s *simulation) publish() {
	b := bytes.Repeat([]byte{0xFF}, payloadSize)
	for o := 0; o < len(b); o += 188 {
		binary.BigEndian.PutUint32(b[o:], 0x471FFF10) // null packets
	}
	binary.BigEndian.PutUint64(b[4:], s.made)
	binary.BigEndian.PutUint64(b[12:], uint64(s.due))
	s.made++
	s.source.Publish([]media.Packet{{Format: s.format, Arrival: s.from.clock(s.due), Data: b}})
}

// read checks what was received.
func (s *simulation) read() {
	var b [64]media.Packet
	for {
		n, lost := s.cursor.Poll(b[:])
		if lost > 0 {
			s.t.Fatal("the test is too slow")
		}
		for _, p := range b[:n] {
			if len(p.Data) != payloadSize || p.Data[payloadSize-1] != 0xFF {
				s.altered++
				continue
			}
			number, made := binary.BigEndian.Uint64(p.Data[4:]), time.Duration(binary.BigEndian.Uint64(p.Data[12:]))
			s.missing += number - s.got
			s.got = number + 1
			late := p.Arrival.Sub(simEpoch) - made - s.latency - s.delay
			s.least, s.most = min(s.least, late), max(s.most, late)
		}
		if n < len(b) {
			return
		}
	}
}

// settle forgets the latencies so far.
func (s *simulation) settle() { s.least, s.most = time.Hour, -time.Hour }

// alive fails the test where a connection has ended.
func (s *simulation) alive() {
	s.t.Helper()
	if s.from.cause != nil || s.to.cause != nil {
		s.t.Fatalf("at %v: %v, %v", s.now, s.from.cause, s.to.cause)
	}
}

// TestDriftForHours lets the clocks of the two ends drift apart, with losses
// on the way: the latency stays what it is, and losses are made good to the
// end. Timestamps go round ten times.
func TestDriftForHours(t *testing.T) {
	relaytest.TakesSeconds(t)
	for name, skew := range map[string]float64{"+200 ppm": 200e-6, "-200 ppm": -200e-6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, simulation{
				step: 100 * time.Millisecond / glances, interval: 200 * time.Millisecond, latency: 2 * time.Second,
				skew: skew, delay: 10 * time.Millisecond, loss: 0.05,
			}, nil)
			s.run(10 * time.Second)
			s.settle()
			s.run(12 * time.Hour)
			s.alive()
			t.Logf("%d packets, %d missing, latency %v to %v, drift %v", s.got, s.missing, s.least, s.most, s.to.conn.half.(*receiver).time.drift())
			if s.least < -10*time.Millisecond || s.most > 10*time.Millisecond {
				t.Errorf("the latency was off by %v to %v", s.least, s.most)
			}
			if s.missing > 0 || s.altered > 0 || s.got < s.made-10 {
				t.Errorf("%d of %d packets, %d missing, %d altered", s.got, s.made, s.missing, s.altered)
			}
		})
	}
}

// TestDriftBeyondReason has clocks that no box has.
func TestDriftBeyondReason(t *testing.T) {
	relaytest.TakesSeconds(t)
	for name, skew := range map[string]float64{"+10000 ppm": 10_000e-6, "-10000 ppm": -10_000e-6} {
		t.Run(name, func(t *testing.T) {
			s := newSimulation(t, simulation{
				step: tick / glances, interval: 20 * time.Millisecond, skew: skew, delay: 10 * time.Millisecond,
			}, nil)
			s.run(10 * time.Second)
			s.settle()
			s.run(30 * time.Minute)
			s.alive()
			t.Logf("latency %v to %v", s.least, s.most)
			if s.least < -60*time.Millisecond || s.most > 60*time.Millisecond {
				t.Errorf("the latency was off by %v to %v", s.least, s.most)
			}
			if s.missing > 0 || s.got < s.made-50 {
				t.Errorf("%d of %d packets, %d missing", s.got, s.made, s.missing)
			}
		})
	}
}

// TestSimulatedLoss loses much of everything, both ways.
func TestSimulatedLoss(t *testing.T) {
	relaytest.TakesSeconds(t)
	for _, loss := range []float64{0.01, 0.10, 0.20} {
		s := newSimulation(t, simulation{
			step: tick / glances, interval: time.Millisecond, delay: 10 * time.Millisecond, loss: loss,
		}, nil)
		s.run(time.Minute)
		s.alive()
		r, f := &s.to.ledger, &s.from.ledger
		t.Logf("loss %.0f %%: %d of %d missing, %d sent again", loss*100, s.missing, s.made, f.Retransmitted.Load())
		if s.got < s.made-500 || s.altered > 0 || s.missing > s.made/10_000 {
			t.Errorf("loss %v: %d of %d packets, %d missing, %d altered", loss, s.got, s.made, s.missing, s.altered)
		}
		if r.Lost.Load() != s.missing {
			t.Errorf("%d lost, %d missing", r.Lost.Load(), s.missing)
		}
		if again, sent := f.Retransmitted.Load(), float64(s.made); float64(again) > sent*loss/(1-loss)*1.6+100 {
			t.Errorf("loss %v: %d of %d packets were sent again", loss, again, s.made)
		}
	}
}

// TestResidual has the round trip of a far peer, and three tries at most for
// what is lost: of a hundred packets that are asked for, hardly one is missing
// in the end, and little is sent in vain.
func TestResidual(t *testing.T) {
	const loss = 0.10
	s := newSimulation(t, simulation{step: tick / glances, interval: time.Millisecond, delay: 30 * time.Millisecond, loss: loss}, nil)
	s.run(time.Minute)
	s.alive()
	share := float64(s.missing) / float64(s.made)
	again := float64(s.from.ledger.Retransmitted.Load()) / float64(s.made)
	t.Logf("%.4f %% missing, %.1f %% sent again", share*100, again*100)
	if share > 0.0005 || again > loss*1.6 {
		t.Errorf("%.4f %% missing, %.1f %% sent again", share*100, again*100)
	}
}

// TestBlackout has a network that is gone for a while: what cannot be made
// good is counted, and the rest is as it was.
func TestBlackout(t *testing.T) {
	for _, gap := range []time.Duration{150 * time.Millisecond, time.Second, 4 * time.Second} {
		s := newSimulation(t, simulation{
			step: tick / glances, interval: 2 * time.Millisecond, delay: 10 * time.Millisecond,
			cut: func(now time.Duration) bool { return now > 2*time.Second && now <= 2*time.Second+gap },
		}, nil)
		s.run(20 * time.Second)
		s.alive()
		most := uint64(max(0, gap-s.latency/2) / s.interval)
		t.Logf("%v: %d missing", gap, s.missing)
		if s.missing > most || s.altered > 0 || s.got < s.made-200 {
			t.Errorf("%v: %d of %d packets, %d missing, %d altered", gap, s.got, s.made, s.missing, s.altered)
		}
		s.from.conn.end(gate.ErrKicked)
		sum := s.from.ledger.Sent.Load()
		for _, n := range s.from.ledger.Dropped() {
			sum += n
		}
		if taken := s.from.ledger.Taken.Load(); taken != sum {
			t.Errorf("%v: %d taken, %d sent and dropped", gap, taken, sum)
		}
		if lost := s.from.ledger.Lost.Load(); lost < s.missing {
			t.Errorf("%v: %d are missing, and the sender knows of %d", gap, s.missing, lost)
		}
	}
}

// TestKeyRefresh changes the key many times, while packets are lost that were
// encrypted with the one before.
func TestKeyRefresh(t *testing.T) {
	relaytest.TakesSeconds(t)
	for _, length := range []int{16, 24, 32} {
		keys, err := newKeyring(endpoint.NewSecret(passphrase), length)
		if err != nil {
			t.Fatal(err)
		}
		s := newSimulation(t, simulation{
			step: tick / glances, interval: 2 * time.Millisecond, delay: 10 * time.Millisecond, loss: 0.05,
		}, keys)
		s.from.conn.keys.every, s.from.conn.keys.announce = 2000, 500
		before := bytes.Clone(keys.keys[0])
		s.run(time.Minute)
		s.alive()
		k := s.from.conn.keys.send
		if bytes.Equal(before, k.keys[0]) || k.keys[1] == nil {
			t.Error("the key was not changed")
		}
		if s.missing > 0 || s.altered > 0 || s.got < s.made-200 {
			t.Errorf("AES-%d: %d of %d packets, %d missing, %d altered", length*8, s.got, s.made, s.missing, s.altered)
		}
		if n := s.to.conn.half.(*receiver).pktUndecrypted; n > 0 {
			t.Errorf("%d packets could not be decrypted", n)
		}
	}
}

// TestKeyWithheld has a peer that never takes the next key: the one that it
// has goes on being used.
func TestKeyWithheld(t *testing.T) {
	keys, err := newKeyring(endpoint.NewSecret(passphrase), 16)
	if err != nil {
		t.Fatal(err)
	}
	s := newSimulation(t, simulation{step: tick / glances, interval: 2 * time.Millisecond, delay: time.Millisecond}, keys)
	s.from.conn.keys.every, s.from.conn.keys.announce = 1000, 100
	s.to.conn.keys.receive.salt[0]++ // it cannot open the message, nor read the stream
	s.run(10 * time.Second)
	if s.from.conn.keys.parity != 0 || s.from.conn.keys.confirmed {
		t.Error("the key was changed without the peer")
	}
}

// TestClearOnEncrypted sends an encrypted connection what is not encrypted.
func TestClearOnEncrypted(t *testing.T) {
	keys, err := newKeyring(endpoint.NewSecret(passphrase), 16)
	if err != nil {
		t.Fatal(err)
	}
	s := newSimulation(t, simulation{step: tick / glances, interval: 2 * time.Millisecond, delay: time.Millisecond}, keys)
	s.run(time.Second)
	at := s.to.conn.half.(*receiver).top
	got := s.got
	for _, flags := range []uint32{flagSolo | 1, flagSolo | flagOddKey | 1, flagSolo | flagOddKey | flagEvenKey | 1} {
		h := header{sequence: at.plus(1), flags: flags, time: microseconds(time.Second), to: 2}
		s.to.conn.take(h, bytes.Repeat([]byte{0x47}, payloadSize), s.to.clock(s.now), s.to.clock(s.now))
	}
	if r := s.to.conn.half.(*receiver); r.pktUndecrypted != 3 || r.top != at {
		t.Errorf("%d were counted, and %d let in", r.pktUndecrypted, r.top.since(at))
	}
	s.run(2 * time.Second)
	s.alive()
	if s.altered > 0 || s.missing > 0 || s.got <= got {
		t.Errorf("%d altered, %d missing", s.altered, s.missing)
	}
}

// TestOldPeer has a peer that lacks what older ones lack.
func TestOldPeer(t *testing.T) {
	s := newSimulation(t, simulation{
		step: tick / glances, interval: 2 * time.Millisecond, delay: 10 * time.Millisecond, loss: 0.02,
	}, nil)
	for _, c := range []*conn{s.from.conn, s.to.conn} {
		c.terms.flags = packet.CIFHandshakeExtensionFlags{TSBPDSND: true, TSBPDRCV: true, CRYPT: true}
	}
	s.run(20 * time.Second)
	s.alive()
	if s.missing > 0 || s.altered > 0 || s.got < s.made-200 {
		t.Errorf("%d of %d packets, %d missing, %d altered", s.got, s.made, s.missing, s.altered)
	}
}
