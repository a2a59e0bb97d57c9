package rtp

import (
	"errors"
	"net/netip"
	"time"

	"github.com/pion/rtp"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// takeover is how long the source must be silent before another sender is
// heard: two at a time would be mixed into one useless stream.
const takeover = 500 * time.Millisecond

// Jumps of the sequence number beyond these are a sender that began anew
// (RFC 3550 appendix A.1).
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// A receiver makes one stream of the datagrams that come to an input:
//
//	datagram -> allowed? -> the current source? -> RTP header off, in order -> Ingest -> Publish
type receiver struct {
	in     *input
	source netip.Addr // the only one that is heard, if valid
	to     *flow.Flow
	ingest *mpegts.Ingest
	order  reorder
	header rtp.Header
	batch  []media.Packet

	from  netip.AddrPort // of the session that is on; zero before the first
	ssrc  uint32
	seen  time.Time // when its last datagram came
	began int       // what follows a jump of the sequence number, to be seen twice; -1: no jump

	refused                    netip.Addr // the last sender turned away
	noisy                      netip.Addr // the last sender of what is not RTP
	refusals, noise, overflows notice
}

func newReceiver(in *input, source netip.Addr, to *flow.Flow) *receiver {
	r := &receiver{in: in, source: source, to: to, ingest: mpegts.NewIngest(), began: -1}
	r.order.deliver = func(d datagram) {
		r.batch = r.ingest.Push(d.payload, d.arrival, d.header, r.batch)
	}
	r.order.lose = func(n int) {
		r.in.env.Ledger.Lost.Add(uint64(n))
		r.ingest.Gap()
	}
	return r
}

// deadline is when expire has something to do; zero if it has not.
func (r *receiver) deadline() time.Time { return r.order.deadline() }

// mayRest tells whether nothing is given up within a rest: what is missing may
// have come by then, and not have been looked at.
func (r *receiver) mayRest(now time.Time) bool {
	d := r.deadline()
	return d.IsZero() || d.Sub(now) > longestRest
}

// expire goes on without what has been missing for too long.
func (r *receiver) expire(now time.Time) {
	r.order.expire(now)
	r.publish()
}

// take handles one datagram, whose memory it does not keep.
func (r *receiver) take(b []byte, from netip.AddrPort, now time.Time) {
	if !r.in.allow.Load().Contains(from.Addr()) || r.source.IsValid() && from.Addr() != r.source {
		r.refuse(from, now, "a sender that is not allowed was ignored")
		return
	}
	if r.in.cfg.Encapsulation == EncapsulationUDP {
		if r.session(from, 0, now) {
			r.batch = r.ingest.Push(b, now, nil, r.batch)
			r.publish()
		}
		return
	}
	header, payload, err := parse(&r.header, b)
	if errors.Is(err, errRTCP) {
		return
	}
	if err != nil {
		r.drop(endpoint.DropFormat)
		r.noise.log(r.in.env.Log, now, "a datagram is not RTP", "from", from)
		if !r.from.IsValid() && from.Addr() != r.noisy {
			r.noisy = from.Addr()
			r.in.set(func(s *endpoint.InputStatus) {
				s.Reason = endpoint.Because("not_rtp", "%s sends datagrams that are not RTP: set encapsulation udp if it sends bare MPEG-TS", from.Addr())
			})
		}
		return
	}
	if !r.session(from, r.header.SSRC, now) {
		return
	}
	d := datagram{sequence: r.header.SequenceNumber, arrival: now, header: header, payload: payload}
	if r.jumped(d.sequence) || !r.order.push(d) {
		r.drop(endpoint.DropTooLate)
	}
	r.order.expire(now)
	r.publish()
}

// overflow notes datagrams that did not fit the socket's buffer. Of RTP the
// sequence numbers tell what is lost.
func (r *receiver) overflow(n uint64, now time.Time) {
	if r.in.cfg.Encapsulation == EncapsulationUDP {
		r.in.env.Ledger.Lost.Add(n)
		r.ingest.Gap()
	}
	r.overflows.log(r.in.env.Log, now, "the receive buffer overflowed", "datagrams", n)
}

// session tells whether a datagram is of the session that is on, or begins one:
// the first, one from the same sender under another SSRC, one from another
// sender when the current one is silent.
func (r *receiver) session(from netip.AddrPort, ssrc uint32, now time.Time) bool {
	if from == r.from && ssrc == r.ssrc {
		r.seen = now
		return true
	}
	if r.from.IsValid() && from != r.from && now.Sub(r.seen) < takeover {
		r.refuse(from, now, "a second sender was ignored: the port has one already")
		return false
	}
	if r.from.IsValid() {
		r.restart(now)
	}
	if from != r.from {
		r.in.env.Ledger.Connections.Add(1)
	}
	r.from, r.ssrc, r.seen = from, ssrc, now
	r.in.env.Log.Info("receiving", "from", from, "encapsulation", r.in.cfg.Encapsulation)
	r.in.set(func(s *endpoint.InputStatus) { s.Phase, s.Reason, s.Peer = endpoint.Connected, nil, from.String() })
	return true
}

// restart ends the session that is on: what is held of it is handed on.
func (r *receiver) restart(now time.Time) {
	r.order.expire(now.Add(reorderTime))
	r.publish()
	r.order.reset()
	r.ingest.Restart()
	r.began = -1
}

// jumped tells whether a sequence number is too far from those before to be of
// the same run. The second of a new run begins a session.
func (r *receiver) jumped(sequence uint16) bool {
	if n := r.order.distance(sequence); n >= -maxMisorder && n <= maxDropout {
		r.began = -1
		return false
	}
	if r.began != int(sequence) {
		r.began = int(sequence + 1)
		return true
	}
	r.restart(r.seen)
	return false
}

// publish hands on what the payloads so far have completed.
func (r *receiver) publish() {
	if len(r.batch) == 0 {
		return
	}
	r.to.Publish(r.batch)
	l := r.in.env.Ledger
	for _, p := range r.batch {
		l.Bytes.Add(uint64(len(p.Data)))
	}
	l.Taken.Add(uint64(len(r.batch)))
	l.Sent.Add(uint64(len(r.batch)))
	last := r.batch[len(r.batch)-1].Arrival
	clear(r.batch)
	r.batch = r.batch[:0]
	r.in.set(func(s *endpoint.InputStatus) { s.Received = last })
}

func (r *receiver) drop(why endpoint.Drop) {
	r.in.env.Ledger.Taken.Add(1)
	r.in.env.Ledger.Drop(why, 1)
}

// refuse ignores a datagram; its sender is counted once, not at each datagram.
func (r *receiver) refuse(from netip.AddrPort, now time.Time, message string) {
	if from.Addr() != r.refused {
		r.refused = from.Addr()
		r.in.env.Ledger.Refused.Add(1)
	}
	r.refusals.log(r.in.env.Log, now, message, "from", from)
}
