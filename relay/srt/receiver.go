package srt

import (
	"math/bits"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// The timers and limits of a receiver.
const (
	ackEvery    = 10 * time.Millisecond // full acknowledgements (draft-sharabayko-srt-01 section 4.8.1)
	lightEvery  = 64                    // packets between two, after which a light one is sent
	leastNAK    = 20 * time.Millisecond // between two loss reports (section 4.8.2)
	leastSlots  = 256                   // of a power of two
	mostBytes   = 64 << 20              // held
	rememberACK = 64                    // acknowledgements whose answer is awaited
	jumpFor     = time.Second           // that packets are all too far ahead, and nothing is held
)

// A receiver is the half of a connection that receives a flow:
//
//	datagram -> decrypt -> [slots by sequence] -> its time comes -> Ingest -> Publish
//	                         holes: reported, and given up when what follows must play
type receiver struct {
	c      *conn
	ledger *endpoint.Ledger
	to     *flow.Flow
	ingest *mpegts.Ingest
	slab   media.Slab
	batch  []media.Packet
	time   timebase

	slots  []slot   // a ring of a power of two
	base   sequence // to be played next
	solid  sequence // the first that is missing
	top    sequence // one after the highest that came
	held   int      // packets
	bytes  int      // in them
	losses losses

	acked    sequence // as last acknowledged
	answered bool     // and the peer knows that we know
	ackedAt  time.Duration
	number   uint32 // of the next full acknowledgement
	asked    [rememberACK]ask
	since    int           // packets since the last acknowledgement
	jumped   time.Duration // since when all packets are too far ahead; 0: they are not
	list     []byte        // a loss list, made anew each time

	got, lost      uint64 // bytes published; packets given up
	receivedAt     time.Time
	pktRecv        uint64
	pktLoss        uint64
	pktRetrans     uint64
	pktDrop        uint64
	pktBelated     uint64
	pktUndecrypted uint64
	rate           meter
}

// A slot holds a packet that waits for its time.
type slot struct {
	data []byte // nil: it has not come
	time int64  // of the peer's clock, microseconds
}

// An ask is a full acknowledgement whose answer tells the round trip.
type ask struct {
	number uint32
	sent   time.Duration
	next   sequence
}

// newReceiver returns the half of a connection whose peer begins with first,
// and whose handshake packet of that time came at the given one.
func newReceiver(c *conn, first sequence, stamp uint32, arrival time.Duration, to *flow.Flow, ledger *endpoint.Ledger) *receiver {
	r := &receiver{
		c: c, ledger: ledger, to: to, ingest: mpegts.NewIngest(), slots: make([]slot, leastSlots),
		base: first, solid: first, top: first, acked: first, answered: true, number: 1,
	}
	r.time.begin(arrival, stamp)
	return r
}

func (r *receiver) slot(q sequence) *slot { return &r.slots[int(q)&(len(r.slots)-1)] }

// data takes a data packet.
func (r *receiver) data(h header, payload []byte, at time.Duration) {
	r.pktRecv++
	r.rate.add(at, len(payload)+datagramOverhead)
	again := h.flags&flagRetransmitted != 0 && r.c.terms.flags.REXMITFLG
	if again {
		r.pktRetrans++
		r.ledger.Retransmitted.Add(1)
	}
	ahead := h.sequence.since(r.base)
	switch {
	case len(payload) == 0:
		return
	case ahead < 0:
		r.pktBelated++
		return
	case ahead >= mostHeld && r.base == r.top:
		r.overflow()
		r.jump(at)
		return
	case ahead >= mostHeld, r.bytes > mostBytes, r.losses.full(h.sequence, r.top):
		r.overflow()
		return
	case ahead < r.top.since(r.base) && r.slot(h.sequence).data != nil:
		r.pktBelated++ // it is here already
		return
	}
	data, ok := r.open(h, payload)
	if !ok {
		r.pktUndecrypted++
		return
	}
	if ahead >= len(r.slots) {
		r.grow(ahead + 1)
	}
	r.jumped = 0
	r.time.arrived(at, h.time)
	r.place(h.sequence, slot{data: data, time: r.time.of(h.time, at)}, again, at)
}

// jump ends a connection whose numbers have gone on without us, or jumped: none
// of what comes can be received any more. A single packet says nothing.
func (r *receiver) jump(at time.Duration) {
	if r.jumped == 0 {
		r.jumped = at
	}
	if at-r.jumped > jumpFor {
		r.c.end(errJumped)
	}
}

// overflow counts a packet for which there is no room.
func (r *receiver) overflow() {
	r.ledger.Taken.Add(1)
	r.ledger.Drop(endpoint.DropQueue, 1)
}

// open returns a copy of the payload, in the clear. What is not encrypted as
// the connection is, is not let in.
func (r *receiver) open(h header, payload []byte) ([]byte, bool) {
	k := r.c.keys.receive
	switch key := h.flags & (flagEvenKey | flagOddKey); {
	case k == nil && key == 0:
		return r.slab.Copy(payload), true
	case k == nil || key == 0 || key == flagEvenKey|flagOddKey:
		return nil, false
	default:
		parity := int(key >> (bits.TrailingZeros(flagOddKey)) & 1)
		if k.blocks[parity] == nil {
			return nil, false
		}
		data := r.slab.Alloc(len(payload))
		k.crypt(data, payload, parity, h.sequence)
		return data, true
	}
}

// place puts a packet where it belongs, and keeps the list of what is missing.
func (r *receiver) place(q sequence, s slot, again bool, at time.Duration) {
	*r.slot(q) = s
	r.held++
	r.bytes += len(s.data)
	r.since++
	switch gap := q.since(r.top); {
	case gap == 0:
		r.losses.inOrder()
		r.top = q.plus(1)
	case gap > 0:
		r.pktLoss += uint64(gap)
		r.c.lossy = at + lossyFor
		r.losses.add(span{r.top, q.plus(-1)}, at)
		r.top = q.plus(1)
	default:
		r.losses.remove(q)
		if !again && r.c.terms.flags.REXMITFLG {
			r.losses.overtaken(-gap - 1)
		}
	}
	for r.solid != r.top && r.slot(r.solid).data != nil {
		r.solid = r.solid.plus(1)
	}
}

// grow makes room for packets that are n ahead.
func (r *receiver) grow(n int) {
	larger := make([]slot, 1<<bits.Len(uint(n-1)))
	for i := range r.top.since(r.base) {
		q := r.base.plus(i)
		larger[int(q)&(len(larger)-1)] = *r.slot(q)
	}
	r.slots = larger
}

func (r *receiver) control(h header, body []byte, at time.Duration) {
	switch h.kind {
	case controlACKACK:
		a := &r.asked[h.specific%rememberACK]
		if a.number != h.specific || a.sent == 0 {
			return
		}
		rtt := max(at-a.sent, leastRTT)
		r.c.roundTrip(rtt)
		r.time.answered(at, h.time, rtt)
		r.answered = r.answered || a.next == r.acked
		a.sent = 0
	case controlDropReq:
		if s, ok := parseDropRequest(body); ok {
			r.giveUp(s)
		}
	}
}

// giveUp takes out of the losses what the sender will not send again; the time
// of what follows goes over it.
func (r *receiver) giveUp(s span) {
	from, to := max(0, s.first.since(r.base)), min(r.top.since(r.base)-1, s.last.since(r.base))
	if from <= to {
		r.losses.drop(span{r.base.plus(from), r.base.plus(to)})
	}
}

// tick plays what is due, acknowledges and reports.
func (r *receiver) tick(at time.Duration) {
	r.play(at)
	r.acknowledge(at)
	r.report(at)
}

// play publishes the packets whose time has come (section 4.5), and goes on
// without those that are missing before one of them (section 4.6).
func (r *receiver) play(at time.Duration) {
	for r.base != r.top {
		missing := 0
		for r.slot(r.base.plus(missing)).data == nil {
			missing++ // the one before top has come
		}
		s := r.slot(r.base.plus(missing))
		due := r.time.local(s.time) + r.c.terms.receive
		if due > at {
			break
		}
		if missing > 0 {
			r.lose(missing)
		}
		r.got += uint64(len(s.data))
		r.batch = r.ingest.Push(s.data, r.c.when(due), nil, r.batch)
		r.held--
		r.bytes -= len(s.data)
		*s = slot{}
		r.base = r.base.plus(missing + 1)
	}
	if len(r.batch) == 0 {
		return
	}
	r.to.Publish(r.batch)
	count(r.ledger, r.batch)
	r.receivedAt = r.c.when(at)
	clear(r.batch)
	r.batch = r.batch[:0]
}

// lose goes on without the next n packets.
func (r *receiver) lose(n int) {
	next := r.base.plus(n)
	r.losses.below(next)
	if r.solid.since(next) < 0 {
		r.solid = next
		for r.solid != r.top && r.slot(r.solid).data != nil {
			r.solid = r.solid.plus(1)
		}
	}
	r.pktDrop += uint64(n)
	r.lost += uint64(n)
	r.ledger.Lost.Add(uint64(n))
	r.ingest.Gap()
}

// acknowledge tells the peer how far the stream has come without a hole: when
// it has come further, and again while the peer seems not to know.
func (r *receiver) acknowledge(at time.Duration) {
	if r.solid == r.acked && (r.answered || at-r.ackedAt < r.c.patience()) {
		return
	}
	if at-r.ackedAt < ackEvery {
		if r.since >= lightEvery && r.solid != r.acked {
			r.sendACK(acknowledgement{next: r.solid, light: true}, 0)
		}
		return
	}
	r.rate.turn(at)
	r.asked[r.number%rememberACK] = ask{number: r.number, sent: at, next: r.solid}
	r.sendACK(acknowledgement{
		next: r.solid, rtt: r.c.rtt, rttVar: r.c.rttVar, room: uint32(mostHeld - r.top.since(r.base)),
		packets: uint32(r.rate.rate), bytes: uint32(r.rate.perSecond),
	}, r.number)
	r.number = max(1, r.number+1)
	r.acked, r.answered, r.ackedAt = r.solid, false, at
}

func (r *receiver) sendACK(a acknowledgement, number uint32) {
	var b [fullACKSize]byte
	r.since = 0
	r.c.control(controlACK, number, b[:a.put(b[:])])
}

// report tells the peer what is missing: new holes at once, and each again
// twice in a round trip, so that every second report is of a packet that was
// sent again and lost (section 4.8.2). What can be sent again only once more is asked for more often.
func (r *receiver) report(at time.Duration) {
	if len(r.losses.list) == 0 {
		return
	}
	rtt := r.c.rtt + r.c.rttVar
	r.list = r.losses.appendReport(r.list[:0], pace{
		again: max(leastNAK, rtt/2), last: lastChance(rtt), urgent: r.c.terms.receive - rtt*3/2,
	}, r.top, at)
	if len(r.list) > 0 {
		r.c.control(controlNAK, 0, r.list)
	}
}

// lastChance is how often a packet is asked for, and sent, once there is no
// time to see whether it came.
func lastChance(rtt time.Duration) time.Duration { return max(leastNAK/2, rtt/4) }

// pump has nothing to do: what is received is played by the tick.
func (r *receiver) pump(time.Duration, bool) (more bool) { return false }

// finish plays what a source sent before it said goodbye. Where we end, what
// is held is of no use to anybody.
func (r *receiver) finish(_ time.Duration, gone bool) bool { return !gone || r.base == r.top }

func (r *receiver) close(time.Duration) { r.slots, r.held = nil, 0 }

func (r *receiver) show(f *figures, at time.Duration) {
	f.bytes, f.lost, f.received, f.latency = r.got, r.lost, r.receivedAt, r.c.terms.receive
	l := &f.link
	l.PktRecv, l.PktRcvLoss, l.PktRcvRetrans, l.PktRcvDrop = r.pktRecv, r.pktLoss, r.pktRetrans, r.pktDrop
	l.PktRcvBelated, l.PktRcvUndecrypt = r.pktBelated, r.pktUndecrypted
	l.PktReorderTolerance = uint64(r.losses.tolerance)
	l.MbpsRecvRate = r.rate.mbps(at)
	l.MsRcvTsbPdDelay = milliseconds(r.c.terms.receive)
	l.MsDrift = milliseconds(r.time.drift())
	if r.held > 0 {
		l.MsRcvBuf = max(0, milliseconds(r.time.local(r.time.last)+r.c.terms.receive-at))
	}
}

// count enters published packets in the ledger.
func count(ledger *endpoint.Ledger, packets []media.Packet) {
	var bytes uint64
	for _, p := range packets {
		bytes += uint64(len(p.Data))
	}
	ledger.Taken.Add(uint64(len(packets)))
	ledger.Sent.Add(uint64(len(packets)))
	ledger.Bytes.Add(bytes)
}
