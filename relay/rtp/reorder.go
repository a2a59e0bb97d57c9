package rtp

import "time"

// How far packets may be out of order. A network that reorders does so by a few
// packets; what is missing for longer is lost.
const (
	reorderWindow = 64 // packets; a power of two
	reorderTime   = 50 * time.Millisecond
)

// A datagram is an RTP packet taken apart.
type datagram struct {
	sequence        uint16
	arrival         time.Time
	header, payload []byte
}

// A reorder hands packets on in the order of their sequence numbers
// (RFC 3550 section 5.1), and gives up those that do not come in time.
type reorder struct {
	deliver func(datagram)
	lose    func(n int) // n packets before the next one are missing

	started bool
	next    uint16 // sequence number that is due
	held    [reorderWindow]held
	count   int
	latest  time.Time // arrival of the packet that was delivered last
}

// held keeps its memory from one packet to the next.
type held struct {
	datagram
	used bool
	mem  []byte
}

// reset forgets everything; the next packet is the first.
func (r *reorder) reset() {
	r.started, r.count = false, 0
	for i := range r.held {
		r.held[i].used = false
	}
}

// distance is how far ahead of the one that is due a packet is; negative if it
// is behind.
func (r *reorder) distance(sequence uint16) int {
	if !r.started {
		return 0
	}
	return int(int16(sequence - r.next))
}

// push takes a packet, whose memory it does not keep. It returns false for one
// that came too late, or again.
func (r *reorder) push(d datagram) bool {
	if !r.started {
		r.started, r.next = true, d.sequence
	}
	for r.distance(d.sequence) >= reorderWindow {
		if !r.skip() {
			r.lose(r.distance(d.sequence))
			r.next = d.sequence
		}
	}
	switch n := r.distance(d.sequence); {
	case n < 0:
		return false
	case n > 0:
		return r.hold(d)
	}
	r.hand(d)
	r.drain()
	return true
}

// expire gives up what has been missing for too long.
func (r *reorder) expire(now time.Time) {
	for r.count > 0 && !now.Before(r.deadline()) {
		r.skip()
	}
}

// deadline is when expire has something to do; zero if nothing is held.
func (r *reorder) deadline() time.Time {
	var first time.Time
	if r.count == 0 {
		return first
	}
	for i := range r.held {
		if h := &r.held[i]; h.used && (first.IsZero() || h.arrival.Before(first)) {
			first = h.arrival
		}
	}
	return first.Add(reorderTime)
}

func (r *reorder) hold(d datagram) bool {
	h := &r.held[d.sequence%reorderWindow]
	if h.used {
		return false
	}
	h.mem = append(append(h.mem[:0], d.header...), d.payload...)
	h.used, h.datagram = true, d
	h.header, h.payload = h.mem[:len(d.header)], h.mem[len(d.header):]
	r.count++
	return true
}

// skip goes on with the first packet that is held. It returns false if none is.
func (r *reorder) skip() bool {
	if r.count == 0 {
		return false
	}
	n := 0
	for !r.held[r.next%reorderWindow].used {
		r.next++
		n++
	}
	r.lose(n)
	r.drain()
	return true
}

// drain delivers what is held and due.
func (r *reorder) drain() {
	for r.count > 0 {
		h := &r.held[r.next%reorderWindow]
		if !h.used {
			return
		}
		h.used = false
		r.count--
		r.hand(h.datagram)
	}
}

// hand delivers a packet. Arrivals do not go back where the order was changed.
func (r *reorder) hand(d datagram) {
	if d.arrival.Before(r.latest) {
		d.arrival = r.latest
	}
	r.latest = d.arrival
	r.next++
	r.deliver(d)
}
