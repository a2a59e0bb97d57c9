package srt

import (
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

// The limits of a sender, besides how far behind it may be in the ring.
const (
	// stuckAfter is how long a peer may acknowledge nothing of what it is
	// offered. The output shows as stalled well before.
	stuckAfter = 10 * time.Second
	// longestDrain bounds how long an orderly stop waits for the peer.
	longestDrain = 2 * time.Second
	// burst is how many packets leave for the peer back to back, every
	// millisecond at most; more only where the stream needs it (burstOf).
	burst = 16
	// tooLateFloor is how long a packet is tried at least (SRTO_SNDDROPDELAY).
	tooLateFloor = time.Second
	// leastWindow keeps a stream going whose receiver says that it is full.
	leastWindow = 2
	// mostTold is how many times in a turn of the loop a peer is told not to wait, and
	// mostLooked how many packets are looked at for its reports: however many
	// it sends, and whatever they say.
	mostTold   = 16
	mostLooked = mostHeld
	// minProbe is how long nothing is acknowledged, at least, before the last
	// packet is sent again.
	minProbe = 60 * time.Millisecond
	// suspects is how many of the oldest packets are then sent again unasked,
	// where nothing at all is heard.
	suspects = 4 * burst
	// spareTokens is what may be sent again of a stream that has just begun,
	// and at most besides what the overhead allows, in bytes.
	spareTokens = 64 << 10
)

// A record is a packet that was sent: enough to send it again, from the ring.
type record struct {
	position uint64 // in the flow
	offset   uint32 // in the flow's packet
	size     uint16
	parity   int8 // of its key
	state    recordState
	again    bool // it was sent more than once
	asked    bool // the peer has reported it lost
	time     uint32
	sent     time.Duration // when it was last sent
}

type recordState uint8

const (
	inFlight recordState = iota
	wanted               // reported lost: to be sent again
	gone                 // given up
)

// A sender is the half of a connection that delivers a flow:
//
//	cursor -> payloads of 1316 bytes -> [flight] -> peer
//	                                      ^  acknowledged, or reported lost
//
// A packet is Taken when it is read from the ring, and Sent once the peer has
// acknowledged it; what is in neither account is in flight. The payload is
// never copied: what is sent again is read from the ring again.
type sender struct {
	c        *conn
	ledger   *endpoint.Ledger
	cursor   *flow.Cursor
	stuck    time.Duration
	overhead uint64 // percent of the stream that may be sent again

	packets []media.Packet // read from the ring; those from taken on are to be sent
	taken   int
	offset  int    // in the packet at taken
	place   uint64 // its position

	flight []record // a ring of a power of two
	first  sequence // oldest in flight
	next   sequence // to be sent next
	isn    sequence // first of all
	queue  []sequence
	window int           // packets that the peer has room for
	hold   time.Duration // how long the peer's ACKs wait here on average: it takes that for a part of the round trip
	tokens int           // bytes that may be sent again
	turn   time.Duration // of the loop, for which the next two count
	told   int           // times that the peer was told not to wait
	looked int           // packets that were looked at for its reports

	stamp    uint32        // of the packet sent last: times never go back
	played   time.Duration // when the peer plays it
	progress time.Duration // when something was last acknowledged, or first offered
	owed     bool          // something was offered that is not acknowledged, or was given up
	offered  time.Duration // when, or when some of it was last acknowledged
	probes   int           // in a row

	bytes, lost            uint64
	sentAt, ackedAt        time.Time
	pktSent, pktLoss       uint64
	pktRetrans, pktDropped uint64
	rate                   meter
}

func newSender(c *conn, cursor *flow.Cursor, ledger *endpoint.Ledger, overhead int, stuck time.Duration) *sender {
	return &sender{
		c: c, ledger: ledger, cursor: cursor, stuck: stuck, overhead: uint64(overhead),
		packets: make([]media.Packet, 0, burst), flight: make([]record, 64),
		first: c.first, next: c.first, isn: c.first, window: max(leastWindow, c.terms.window), tokens: spareTokens,
	}
}

func (s *sender) record(q sequence) *record { return &s.flight[int(q)&(len(s.flight)-1)] }

// count is how many packets are in flight.
func (s *sender) count() int { return s.next.since(s.first) }

// data is not expected: a peer of an output has nothing to say.
func (s *sender) data(header, []byte, time.Duration) {}

func (s *sender) control(h header, body []byte, at time.Duration) {
	switch h.kind {
	case controlACK:
		s.acknowledged(h.specific, body, at)
	case controlNAK:
		s.missed(body, at)
	}
}

// acknowledged takes an ACK (draft-sharabayko-srt-01 section 4.8.1).
func (s *sender) acknowledged(number uint32, body []byte, at time.Duration) {
	a, ok := parseACK(body)
	if !ok {
		return
	}
	n := a.next.since(s.first)
	if n > s.count() || n < -mostHeld {
		return // of what was never sent
	}
	if !a.light {
		s.c.control(controlACKACK, number, nil)
		s.window = int(max(leastWindow, min(a.room, mostHeld)))
		if a.rtt > 0 && a.rtt < time.Minute {
			s.hold += (s.c.now - at - s.hold) / 8
			s.c.rtt, s.c.rttVar, s.c.measured = max(a.rtt-s.hold, leastRTT), min(a.rttVar, time.Minute), true
		}
	}
	if n <= 0 {
		s.owed = s.owed && (n < 0 || s.count() > 0) // it knows of all that was given up
		return
	}
	var packets, bytes uint64
	for range n {
		switch r := s.record(s.first); {
		case r.state == gone:
		case r.state == wanted, r.asked && at-r.sent < s.c.rtt-s.c.rttVar:
			s.drop(r) // it cannot have come since it was reported lost: the peer goes on without it
		default:
			packets++
			bytes += uint64(r.size)
		}
		s.first = s.first.plus(1)
	}
	s.progress, s.probes = at, 0
	s.offered, s.owed = at, s.count() > 0
	s.bytes += bytes
	s.ledger.Sent.Add(packets)
	s.ledger.Bytes.Add(bytes)
	s.ledger.BytesAcked.Add(bytes)
	if packets > 0 {
		s.ackedAt = s.c.when(at)
	}
}

// drop gives a packet in flight up.
func (s *sender) drop(r *record) {
	r.state = gone
	s.lost++
	s.pktDropped++
	s.ledger.Drop(endpoint.DropTooLate, 1)
	s.ledger.Lost.Add(1)
}

// missed takes a list of what the peer reports lost (section 4.8.2). What was
// sent again a moment ago may be on its way. Nothing in flight is looked at
// twice, whatever the list says.
func (s *sender) missed(list []byte, at time.Duration) {
	s.begin()
	seen := 0 // of the flight
	parseLosses(list, func(l span) {
		if l.first.since(s.first) < 0 && l.first.since(s.first) > -mostHeld {
			s.giveUp(span{l.first, s.earlier(l.last)})
		}
		to := min(s.count()-1, l.last.since(s.first))
		for i := max(seen, l.first.since(s.first)); i <= to && s.looked < mostLooked; i++ {
			q := s.first.plus(i)
			s.looked++
			switch r := s.record(q); {
			case r.state == gone:
				for i < to && s.record(s.first.plus(i+1)).state == gone {
					i++
					s.looked++
				}
				s.giveUp(span{q, s.first.plus(i)})
			case r.state == inFlight && s.missing(r, at):
				s.pktLoss++
				s.c.lossy = at + lossyFor
				s.want(q, r)
			}
		}
		seen = max(seen, to+1)
	})
}

// missing tells whether a report of a packet is to be believed: what was sent
// again may still have been on its way. For the last time, it is sent again on
// suspicion.
func (s *sender) missing(r *record, at time.Duration) bool {
	if !r.again {
		return true
	}
	if s.age(r, at)+s.c.rtt*3/2 > s.c.terms.send {
		return at-r.sent >= lastChance(s.c.rtt)
	}
	return at-r.sent >= s.c.rtt-s.c.rttVar
}

// begin notes whether this is another turn of the loop.
func (s *sender) begin() {
	if s.turn != s.c.now {
		s.turn, s.told, s.looked = s.c.now, 0, 0
	}
}

// age is how long ago a packet began its way.
func (s *sender) age(r *record, at time.Duration) time.Duration {
	return time.Duration(microseconds(at)-r.time) * time.Microsecond
}

// earlier returns q, or the last that is not in flight any more if that is
// earlier.
func (s *sender) earlier(q sequence) sequence {
	if q.since(s.first) < 0 {
		return q
	}
	return s.first.plus(-1)
}

func (s *sender) want(q sequence, r *record) {
	r.state = wanted
	s.queue = append(s.queue, q)
}

// giveUp tells the peer not to wait for a run (section 3.2.9): it was
// acknowledged, or is too late.
func (s *sender) giveUp(l span) {
	s.begin()
	if s.told++; s.told > mostTold {
		return // it asks again
	}
	var b [8]byte
	l.put(b[:])
	s.c.control(controlDropReq, 0, b[:])
}

// tick gives up what is too late, and asks after what nobody speaks of.
func (s *sender) tick(at time.Duration) {
	if s.count() == 0 {
		s.progress = at
	}
	if s.isStuck(at) {
		s.c.end(errStuck)
		return
	}
	s.dropLate(at)
	s.probe(at)
	if len(s.queue) > 0 {
		s.allow(payloadSize) // also where the stream has paused
	}
}

// isStuck tells whether the peer acknowledges nothing of what it is offered, be
// that given up again and again. Where nothing new is offered, it may not know.
func (s *sender) isStuck(at time.Duration) bool {
	return s.owed && at-s.offered > s.stuck && (s.count() > 0 || at-s.c.at(s.sentAt) < s.stuck/2)
}

// dropLate gives up what the peer cannot use any more (section 4.6).
func (s *sender) dropLate(at time.Duration) {
	if !s.c.terms.flags.TLPKTDROP {
		return
	}
	late := microseconds(at - max(tooLateFloor, s.c.terms.send) - 2*tick)
	from := s.first
	for s.count() > 0 {
		r := s.record(s.first)
		if int32(late-r.time) < 0 {
			break
		}
		if r.state != gone {
			s.drop(r)
		}
		s.first = s.first.plus(1)
	}
	if from != s.first {
		s.giveUp(span{from, s.first.plus(-1)})
	}
}

// probe sends packets again, unasked, when nothing has been acknowledged for
// longer than an answer takes: the last one, where nothing follows that would
// show its loss; the oldest, where nothing is heard of the peer, whose reports
// may all be lost, or where it reports a loss but once.
func (s *sender) probe(at time.Duration) {
	n := s.count()
	timeout := max(minProbe, s.c.patience()+2*tick) << min(s.probes, 5)
	if n == 0 || len(s.queue) > 0 || at-s.progress < timeout {
		return
	}
	suspect := func(q sequence) {
		if r := s.record(q); r.state == inFlight && at-r.sent >= timeout {
			s.want(q, r)
		}
	}
	suspect(s.next.plus(-1))
	if at-s.c.heard >= timeout || !s.c.terms.flags.PERIODICNAK {
		for i := range min(n-1, suspects) {
			if q := s.first.plus(i); s.age(s.record(q), at) < s.c.terms.send { // it is of use if it comes
				suspect(q)
			}
		}
	}
	if len(s.queue) > 0 {
		s.probes++
	}
}

// pump sends what is to be sent again, then, unless that is all that is asked
// for, what is new: no more than a burst.
func (s *sender) pump(at time.Duration, again bool) (more bool) {
	left := s.resend(at, s.burstOf())
	if again {
		return left == 0
	}
	blocked := len(s.queue) > 0
	for left > 0 && !s.c.finishing && s.count() < s.window && s.fetch() {
		s.fresh(at)
		left--
	}
	return left == 0 || blocked && s.tokens >= payloadSize
}

// burstOf is how many packets may leave now: a burst, or what comes in two
// turns of the pace where that is more, from 84 Mbit/s on.
func (s *sender) burstOf() int {
	return max(burst, int(2*s.rate.rate*uint64(paceEvery)/uint64(time.Second)))
}

// resend sends again up to left packets, and returns how many more it might
// have been.
func (s *sender) resend(at time.Duration, left int) int {
	for left > 0 && len(s.queue) > 0 {
		q := s.queue[0]
		r := s.record(q)
		if q.since(s.first) < 0 || q.since(s.next) >= 0 || r.state != wanted {
			s.queue = s.queue[1:]
			continue
		}
		if s.tokens < int(r.size) {
			break // as the stream goes on there will be more
		}
		s.queue = s.queue[1:]
		if s.again(q, r, at) {
			left--
		}
	}
	return left
}

// again sends a packet that was lost, if the ring still holds it.
func (s *sender) again(q sequence, r *record, at time.Duration) bool {
	p, ok := s.cursor.Flow().At(r.position)
	if !ok {
		s.drop(r)
		return false
	}
	s.tokens -= int(r.size)
	s.pktRetrans++
	s.ledger.Retransmitted.Add(1)
	r.state, r.again = inFlight, true
	s.send(q, r, p.Data, flagRetransmitted, at)
	return true
}

// fetch has the next payload ready, and reports whether there is one.
func (s *sender) fetch() bool {
	for {
		if s.taken < len(s.packets) {
			return true
		}
		s.packets, s.taken = s.packets[:cap(s.packets)], 0
		clear(s.packets)
		n, lost := s.cursor.Poll(s.packets)
		s.packets = s.packets[:n]
		if lost > 0 {
			s.refuse(endpoint.DropOverrun, lost)
		}
		if n == 0 {
			return false
		}
		s.place = s.cursor.Position() - uint64(n)
		s.skip()
	}
}

// skip passes over packets that cannot be sent.
func (s *sender) skip() {
	for s.taken < len(s.packets) {
		p := &s.packets[s.taken]
		switch {
		case len(p.Data) == 0:
		case p.Format.Kind == media.FLV || p.Format.Kind != media.TS && len(p.Data) > payloadSize:
			s.refuse(endpoint.DropFormat, 1)
		default:
			return
		}
		s.taken, s.place = s.taken+1, s.place+1
	}
}

func (s *sender) refuse(why endpoint.Drop, n uint64) {
	s.ledger.Taken.Add(n)
	s.ledger.Drop(why, n)
}

// fresh sends the payload that fetch has ready: a whole packet, or as many
// transport packets of it as fit.
func (s *sender) fresh(at time.Duration) {
	p := &s.packets[s.taken]
	size := min(len(p.Data)-s.offset, payloadSize)
	if s.count() == len(s.flight) {
		s.grow()
	}
	q := s.next
	s.next = q.plus(1)
	r := s.record(q)
	*r = record{position: s.place, offset: uint32(s.offset), size: uint16(size), time: s.stampOf(p.Arrival, at)}
	if s.c.keys.send != nil {
		r.parity = int8(s.c.keys.next())
	}
	if s.count() == 1 {
		s.progress = at
	}
	if !s.owed {
		s.owed, s.offered = true, at
	}
	s.ledger.Taken.Add(1)
	s.allow(size * int(s.overhead) / 100)
	s.played = at + s.c.terms.send
	s.sentAt = s.c.when(at)
	s.send(q, r, p.Data, 0, at)
	if s.offset += size; s.offset == len(p.Data) {
		s.offset, s.taken, s.place = 0, s.taken+1, s.place+1
		s.skip()
	}
}

// allow lets bytes be sent again. What may be saved up is the overhead of a
// second: so much was lost if the network was gone for that long.
func (s *sender) allow(bytes int) {
	s.tokens = min(s.tokens+bytes, spareTokens+int(s.rate.perSecond*s.overhead/100))
}

// stampOf is the time that a packet carries: when it arrived in the flow, not
// when its batch was sent. It does not go back, nor beyond now.
func (s *sender) stampOf(arrival time.Time, at time.Duration) uint32 {
	t := microseconds(max(0, min(s.c.at(arrival), at)))
	if s.next.since(s.isn) != 1 && int32(t-s.stamp) < 0 {
		t = s.stamp
	}
	s.stamp = t
	return t
}

// send puts a packet out.
func (s *sender) send(q sequence, r *record, data []byte, flags uint32, at time.Duration) {
	payload := data[r.offset:][:r.size]
	number := uint32(q.since(s.isn))&maxSequence%messageNumbers + 1
	h := header{sequence: q, flags: flagSolo | flags | number, time: r.time, to: s.c.peerID}
	if k := s.c.keys.send; k != nil {
		h.flags |= flagEvenKey << r.parity
		plain := payload
		payload = s.c.out.room(len(plain))
		k.crypt(payload, plain, int(r.parity), q)
	}
	r.sent = at
	s.pktSent++
	s.rate.add(at, len(payload)+datagramOverhead)
	b := s.c.out.room(headerSize)
	h.put(b)
	s.c.put(b, payload)
}

// grow makes room for more packets in flight.
func (s *sender) grow() {
	larger := make([]record, 2*len(s.flight))
	for i := range s.count() {
		q := s.first.plus(i)
		larger[int(q)&(len(larger)-1)] = *s.record(q)
	}
	s.flight = larger
}

// finish lets the peer have what is in flight and the time of the latency to
// play it: a receiver that is told goodbye throws away what it holds. It gives
// up after longestDrain.
func (s *sender) finish(at time.Duration, gone bool) bool {
	if gone || s.sentAt.IsZero() {
		return true
	}
	if s.count() == 0 && at > s.played+2*tick {
		return true
	}
	return at > s.c.at(s.sentAt)+min(s.c.terms.send+500*time.Millisecond, longestDrain)
}

// close enters in the ledger what will never be known to have arrived.
func (s *sender) close(time.Duration) {
	for i := range s.count() {
		if s.record(s.first.plus(i)).state != gone {
			s.ledger.Drop(endpoint.DropClosed, 1)
		}
	}
	s.first, s.queue, s.packets = s.next, nil, nil
	s.cursor.Close()
}

func (s *sender) show(f *figures, at time.Duration) {
	f.bytes, f.lost, f.sent, f.acked, f.latency = s.bytes, s.lost, s.sentAt, s.ackedAt, s.c.terms.send
	l := &f.link
	l.PktSent, l.PktSndLoss, l.PktRetrans, l.PktSndDrop = s.pktSent, s.pktLoss, s.pktRetrans, s.pktDropped
	l.PktFlightSize, l.PktFlowWindow = uint64(s.count()), uint64(s.window)
	l.MbpsSendRate = s.rate.mbps(at)
	l.MsSndTsbPdDelay = milliseconds(s.c.terms.send)
	if s.count() > 0 {
		span := s.record(s.next.plus(-1)).time - s.record(s.first).time
		l.MsSndBuf = milliseconds(time.Duration(span) * time.Microsecond)
	}
}
