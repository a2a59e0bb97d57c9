package srt

import "time"

// How a timebase follows the peer's clock.
const (
	driftSlot  = time.Second // a minimum is taken over each
	driftSlots = 3           // the base follows the least of so many
	settling   = time.Second // at first, the base takes any lower offset at once

	// A correction is at most driftStep in a slot, so that playing does not
	// hurry; beyond driftJump the peer's clock was set, and is followed at once.
	driftStep = 25 * time.Millisecond
	driftJump = 250 * time.Millisecond

	// Samples whose round trip was longer by more than driftQueue than the
	// shortest of late say more about a queue than about a clock.
	driftQueue = 15 * time.Millisecond
	rttSlot    = 10 * time.Second
	rttSlots   = 3

	// mostAhead is by how much a packet may seem to come from the future: the
	// base is up to a second late.
	mostAhead = time.Second
)

// A timebase tells when, by our clock, the peer's clock showed a time: its
// base is the offset between the two, which drifts with them. It is the least
// delay that was seen of late, since whatever a packet is late by is the
// network's doing (draft-sharabayko-srt-01 section 4.5, 4.7; libsrt averages
// instead, and so takes queues for drift).
//
// Times are since the beginning of the connection. The peer's are unwrapped
// to 64 bits.
type timebase struct {
	begun   bool
	last    int64         // peer's microseconds, as last unwrapped
	base    time.Duration // offset in use
	origin  time.Duration // offset at first
	slot    int           // number of the slot that is on
	started time.Duration // when samples began
	lows    window        // least offsets
	rtts    window        // shortest round trips
}

// unwrap returns a peer's time as one that does not go round.
func (t *timebase) unwrap(time uint32) int64 {
	t.last += int64(int32(time - uint32(t.last)))
	return t.last
}

// of returns the peer's time of a packet that came now. One that would be from
// the future is of now, lest it hold up all that follow it until then.
func (t *timebase) of(stamp uint32, now time.Duration) int64 {
	peer := t.unwrap(stamp)
	if ahead := t.local(peer) - now; ahead > mostAhead {
		peer -= int64(ahead / time.Microsecond)
	}
	return peer
}

// begin sets the first offset: of the handshake packet that opened the
// connection.
func (t *timebase) begin(at time.Duration, stamp uint32) {
	t.begun, t.started = true, at
	t.last = int64(stamp)
	t.base = at - time.Duration(stamp)*time.Microsecond
	t.origin = t.base
	t.lows, t.rtts = newWindow(driftSlots), newWindow(rttSlots)
}

// local returns our time of a peer's time.
func (t *timebase) local(peer int64) time.Duration {
	return t.base + time.Duration(peer)*time.Microsecond
}

// arrived takes the time of a data packet, which is that of its making: it is
// a sample only at first.
func (t *timebase) arrived(at time.Duration, stamp uint32) {
	if offset := at - time.Duration(t.unwrap(stamp))*time.Microsecond; at-t.started < settling && offset < t.base {
		t.base, t.origin = offset, offset
	}
}

// answered takes the time of a packet that the peer made and sent at once,
// with the round trip that it ended.
func (t *timebase) answered(at time.Duration, stamp uint32, rtt time.Duration) {
	t.arrived(at, stamp)
	t.rtts.low(int(at/rttSlot), rtt)
	if rtt <= t.rtts.least()+driftQueue {
		t.lows.low(int(at/driftSlot), at-time.Duration(t.unwrap(stamp))*time.Microsecond)
	}
	if slot := int(at / driftSlot); slot != t.slot {
		t.slot = slot
		t.follow()
	}
}

// follow moves the base to where the peer's clock is now.
func (t *timebase) follow() {
	off, known := t.lows.known()
	if !known {
		return
	}
	if off -= t.base; off < driftJump && off > -driftJump {
		off = max(-driftStep, min(driftStep, off))
	}
	t.base += off
}

// drift is how far the peer's clock has moved against ours.
func (t *timebase) drift() time.Duration { return t.base - t.origin }

// A window keeps the least values of the last slots of time.
type window struct {
	slots []low
}

type low struct {
	number int // of the slot, from 1; 0: none
	value  time.Duration
}

func newWindow(slots int) window { return window{make([]low, slots)} }

// low takes a value of a slot.
func (w *window) low(slot int, v time.Duration) {
	l := &w.slots[slot%len(w.slots)]
	if l.number != slot+1 {
		*l = low{slot + 1, v}
	}
	l.value = min(l.value, v)
}

// known returns the least value; ok is false where there is none.
func (w *window) known() (least time.Duration, ok bool) {
	for _, l := range w.slots {
		if l.number != 0 && (!ok || l.value < least) {
			least, ok = l.value, true
		}
	}
	return least, ok
}

func (w *window) least() time.Duration {
	least, _ := w.known()
	return least
}
