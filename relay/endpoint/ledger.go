package endpoint

import "sync/atomic"

// A Drop is why a packet was not delivered.
type Drop uint8

const (
	DropOverrun Drop = iota // the output was too slow: the ring went round
	DropQueue               // the peer's send queue was full
	DropTooLate             // no longer of use to the peer when it could be sent
	DropWrite               // the socket refused it
	DropFormat              // the protocol cannot carry it
	DropClosed              // in flight when the session ended
	drops
)

// String returns the name of the reason in telemetry.
func (d Drop) String() string {
	return [...]string{"overrun", "queue_full", "too_late", "write_failed", "wrong_format", "session_closed"}[d]
}

// A Ledger counts what became of the packets of one input or output since the
// process started. Once an output is at rest,
//
//	Taken = Sent + the sum of Dropped
//
// where an output counts a packet once for each session or destination that
// takes it. All counters only grow. A nil Ledger is not valid; the zero value
// is.
type Ledger struct {
	Taken         atomic.Uint64 // packets that the endpoint set out to deliver
	Sent          atomic.Uint64 // packets handed to the peer; of an input, published
	Bytes         atomic.Uint64 // payload bytes of Sent
	BytesAcked    atomic.Uint64 // payload bytes that the peer confirmed
	Lost          atomic.Uint64 // packets that never arrived, as far as is known
	Retransmitted atomic.Uint64 // packets sent or received again
	Connections   atomic.Uint64 // peers connected; each after the first is a reconnection of a dialling endpoint
	Refused       atomic.Uint64 // peers turned away
	dropped       [drops]atomic.Uint64
}

// Drop counts n packets that were not delivered.
func (l *Ledger) Drop(why Drop, n uint64) { l.dropped[why].Add(n) }

// Dropped returns the packets not delivered, by reason; reasons that never
// occurred are left out.
func (l *Ledger) Dropped() map[string]uint64 {
	m := make(map[string]uint64)
	for d := range drops {
		if n := l.dropped[d].Load(); n > 0 {
			m[d.String()] = n
		}
	}
	return m
}
