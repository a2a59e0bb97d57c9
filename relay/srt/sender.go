package srt

import (
	"context"
	"errors"
	"io"
	"sync"
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
	// burst is how many packets are taken from the ring at a time.
	burst = 64
)

// A sender delivers a flow to one peer:
//
//	cursor -> [cut to payloads] -> conn -> peer -> acknowledgement -> ledger
//
// A packet is Taken when it is read from the ring, and Sent once the peer has
// acknowledged it; what is in neither account is in flight.
type sender struct {
	*session
	ledger *endpoint.Ledger
	stuck  time.Duration

	acct    sync.Mutex
	flight  []int // payload sizes, oldest first
	counted stats // as far as the ledger knows
	offered time.Time
}

// send runs the sender until the session ends or ctx is done, and closes its
// connection. It returns the cause of the end. ctx must be the session's.
func send(ctx context.Context, s *session, cursor *flow.Cursor, ledger *endpoint.Ledger, stuck time.Duration) error {
	d := &sender{session: s, ledger: ledger, stuck: stuck}
	var wg sync.WaitGroup
	wg.Go(d.listen)
	wg.Go(func() { d.watch(ctx) })
	d.deliver(ctx, cursor)
	cause := context.Cause(ctx)
	if _, abrupt := endings[cause]; !abrupt && !errors.Is(cause, endpoint.ErrSocketsLost) {
		d.drain()
	}
	s.conn.close()
	wg.Wait()
	d.settle()
	return cause
}

// listen notices the end of the connection: writing does not. A peer of an
// output has nothing to say.
func (d *sender) listen() {
	b := make([]byte, maxDatagram)
	for {
		if _, _, err := d.conn.read(b); err != nil {
			d.end(d.cause())
			return
		}
	}
}

// watch keeps the accounts and ends the session of a peer that is stuck.
func (d *sender) watch(ctx context.Context) {
	t := time.NewTicker(lookInterval)
	defer t.Stop()
	for {
		d.look()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if d.isStuck() {
			d.end(errStuck)
			return
		}
	}
}

// deliver offers the flow to the connection until ctx is done.
func (d *sender) deliver(ctx context.Context, cursor *flow.Cursor) {
	packets := make([]media.Packet, burst)
	for {
		n, lost, err := cursor.Next(ctx, packets)
		if lost > 0 {
			d.drop(endpoint.DropOverrun, lost)
		}
		for _, p := range packets[:n] {
			d.offer(p)
		}
		clear(packets[:n]) // do not hold on to payloads
		if errors.Is(err, io.EOF) {
			<-ctx.Done() // the flow is over, and so is the output soon
			return
		}
		if err != nil {
			return
		}
	}
}

// offer cuts a packet into payloads, between transport packets.
func (d *sender) offer(p media.Packet) {
	switch data := p.Data; {
	case len(data) == 0:
	case len(data) <= payloadSize && p.Format.Kind != media.Elementary:
		d.write(data)
	case p.Format.Kind != media.TS:
		d.drop(endpoint.DropFormat, 1)
	default:
		for ; len(data) > payloadSize; data = data[payloadSize:] {
			d.write(data[:payloadSize])
		}
		d.write(data)
	}
}

func (d *sender) drop(why endpoint.Drop, n uint64) {
	d.ledger.Taken.Add(n)
	d.ledger.Drop(why, n)
}

func (d *sender) write(b []byte) {
	d.acct.Lock()
	defer d.acct.Unlock()
	switch err := d.conn.write(b); {
	case errors.Is(err, io.EOF):
		d.drop(endpoint.DropClosed, 1)
		return
	case err != nil:
		d.drop(endpoint.DropQueue, 1)
		return
	}
	now := time.Now()
	d.ledger.Taken.Add(1)
	d.flight = append(d.flight, len(b))
	if d.offered.IsZero() {
		d.offered = now
	}
	d.update(func(s *session) { s.sent = now })
}

// look enters in the accounts what the connection knows of the packets'
// fate. It returns how many are in flight.
func (d *sender) look() int {
	d.acct.Lock()
	defer d.acct.Unlock()
	st, now := d.conn.stats(), time.Now()
	late := d.land(advance(st.tooLate, &d.counted.tooLate))
	d.ledger.Drop(endpoint.DropTooLate, late.packets)
	d.ledger.Lost.Add(late.packets)
	acked := d.land(advance(st.acked, &d.counted.acked))
	d.ledger.Sent.Add(acked.packets)
	d.ledger.Bytes.Add(acked.bytes)
	d.ledger.BytesAcked.Add(acked.bytes)
	d.ledger.Retransmitted.Add(advance(st.retransmitted, &d.counted.retransmitted))
	if acked.packets > 0 {
		d.offered = time.Time{}
		if len(d.flight) > 0 {
			d.offered = now
		}
	}
	d.update(func(s *session) {
		if acked.packets > 0 {
			s.acked = now
		}
		s.bytes += acked.bytes
		s.lost += late.packets
		s.rtt, s.latency = st.rtt, st.sendLatency
	})
	return len(d.flight)
}

// advance moves a counter that never goes back, and returns by how much.
func advance(to uint64, counter *uint64) uint64 {
	n := max(to, *counter) - *counter
	*counter += n
	return n
}

type load struct{ packets, bytes uint64 }

// land takes the n oldest packets out of the flight.
func (d *sender) land(n uint64) load {
	n = min(n, uint64(len(d.flight)))
	l := load{packets: n}
	for _, size := range d.flight[:n] {
		l.bytes += uint64(size)
	}
	d.flight = d.flight[n:]
	return l
}

func (d *sender) isStuck() bool {
	d.acct.Lock()
	defer d.acct.Unlock()
	return !d.offered.IsZero() && time.Since(d.offered) > d.stuck
}

// drain lets the peer have what is in flight and the time of the latency to
// play it: a receiver that is told goodbye throws away what it holds. It gives
// up when the connection is gone, or longestDrain has passed.
func (d *sender) drain() {
	var last time.Time
	var latency time.Duration
	d.update(func(s *session) { last, latency = s.sent, s.latency })
	if last.IsZero() {
		return
	}
	played := last.Add(latency + 2*tick)
	end := time.Now().Add(min(latency+500*time.Millisecond, longestDrain))
	t := time.NewTicker(tick)
	defer t.Stop()
	for now := range t.C {
		if d.conn.gone.Load() || now.After(end) || d.look() == 0 && now.After(played) {
			return
		}
	}
}

// settle closes the accounts: what is still in flight will never be known to
// have arrived.
func (d *sender) settle() {
	d.look()
	d.acct.Lock()
	defer d.acct.Unlock()
	rest := d.land(uint64(len(d.flight)))
	d.ledger.Drop(endpoint.DropClosed, rest.packets)
}
