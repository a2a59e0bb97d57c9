package srt

import (
	"context"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// lookInterval is how often a connection's statistics are read.
const lookInterval = 100 * time.Millisecond

// receive publishes what a session receives until it ends or ctx is done, and
// closes its connection. It returns the cause of the end.
func receive(ctx context.Context, s *session, to *flow.Flow, ledger *endpoint.Ledger) error {
	stop := context.AfterFunc(ctx, s.conn.close)
	defer s.conn.close() // waits for a close under way
	defer stop()
	var (
		ingest = mpegts.NewIngest()
		b      = make([]byte, maxDatagram)
		out    []media.Packet
		looked time.Time
		resent uint64 // counted so far
	)
	look := func(now time.Time) {
		st := s.conn.stats()
		ledger.Retransmitted.Add(st.retransmitted - resent)
		looked, resent = now, st.retransmitted
		s.update(func(s *session) { s.rtt, s.latency = st.rtt, st.recvLatency })
	}
	look(time.Now())
	for {
		n, missing, err := s.conn.read(b)
		now := time.Now()
		if err != nil || ctx.Err() != nil { // what was read after the end is not published
			look(now)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return s.cause()
		}
		if missing > 0 {
			ledger.Lost.Add(missing)
			ingest.Gap()
		}
		out = ingest.Push(b[:n], now, nil, out[:0])
		to.Publish(out)
		count(ledger, out)
		s.update(func(s *session) {
			s.bytes += uint64(n)
			s.lost += missing
			s.received = now
		})
		if now.Sub(looked) >= lookInterval {
			look(now)
		}
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
