// Package flow fans one live stream out to any number of readers.
//
// A Flow keeps the most recent packets in a ring. One input publishes; each
// reader has a Cursor and its own pace:
//
//	input -> Publish -> [tail ... ring ... next) -> Cursor.Next -> output
//
// Publish never blocks and never looks at the readers, so a slow reader can
// only hurt itself: once its place has left the ring, its cursor resumes at
// the newest entry, a random-access packet or the first of a session, and
// counts what it lost.
//
// The ring is bounded in time and in bytes, not in slots: it keeps what is
// younger than Retain, as long as that is no more than MaxBytes, and its array
// grows and shrinks with that. Packets are immutable; the garbage collector frees a
// payload when the ring and the last reader have moved on.
package flow

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/relay/media"
)

// Limits bound what a Flow remembers.
type Limits struct {
	Retain   time.Duration // how far back a reader may be
	MaxBytes int           // memory, whatever its age: data, header and slot of each packet
	// Entry keeps what follows the newest random-access packet, whatever its
	// age: readers that join begin there.
	Entry bool
}

// DefaultLimits suit a flow whose outputs ask for no more than the default
// latency: 1.5 x 120 ms and a second.
var DefaultLimits = Limits{Retain: 1180 * time.Millisecond, MaxBytes: 64 << 20}

const minSlots = 256 // a power of two

// slot is a packet with its position, so that a reader which holds a slot can
// tell whether it is the one it meant.
type slot struct {
	pos    uint64
	entry  bool // a reader may resume here
	packet media.Packet
}

// slotSize is the memory that a slot takes beside what its packet points to.
const slotSize = 144

func (s *slot) size() int { return len(s.packet.Data) + len(s.packet.Header) + slotSize }

type ring struct {
	slots []atomic.Pointer[slot] // length is a power of two
}

func newRing(n int) *ring { return &ring{slots: make([]atomic.Pointer[slot], n)} }

func (r *ring) at(pos uint64) *atomic.Pointer[slot] { return &r.slots[pos&uint64(len(r.slots)-1)] }

// A Flow is a ring of packets with one writer at a time. Make it with New.
type Flow struct {
	ring    atomic.Pointer[ring]
	tail    atomic.Uint64 // oldest position still held
	next    atomic.Uint64 // position of the next packet to be published
	entry   atomic.Uint64 // position+1 of the newest entry, 0 if none yet
	entries atomic.Bool   // the session that is on has shown random-access packets
	closed  atomic.Bool
	waiter  atomic.Pointer[chan struct{}] // closed by the next Publish; nil while nobody waits

	retain   atomic.Int64 // nanoseconds
	maxBytes atomic.Int64
	toEntry  atomic.Bool // Limits.Entry

	mu     sync.Mutex // serialises writers; readers never take it
	bytes  int        // memory between tail and next
	format *media.Format
	times  timeline
}

// New returns an empty Flow.
func New(l Limits) *Flow {
	f := &Flow{}
	f.ring.Store(newRing(minSlots))
	f.SetLimits(l)
	return f
}

// SetLimits changes what the flow remembers, from the next Publish on.
func (f *Flow) SetLimits(l Limits) {
	f.retain.Store(int64(l.Retain))
	f.maxBytes.Store(int64(l.MaxBytes))
	f.toEntry.Store(l.Entry)
}

// Publish appends batch, oldest first. It never blocks on a reader. The flow
// keeps the packets' Data and Header: they must not be written to again.
// Times of FLV go on from those of the clock before.
func (f *Flow) Publish(batch []media.Packet) {
	if len(batch) == 0 {
		return
	}
	f.mu.Lock()
	slots := make([]slot, len(batch)) // the one allocation of a batch
	next := f.next.Load()
	for i, p := range batch {
		s := &slots[i]
		if p.Format.Kind == media.FLV {
			f.times.shift(&p)
		}
		*s = slot{pos: next, entry: p.RandomAccess || begins(f.format, p.Format), packet: p}
		f.makeRoom(next, s.size(), p.Arrival)
		f.ring.Load().at(next).Store(s)
		next++
		if begins(f.format, p.Format) {
			f.entries.Store(false)
		}
		f.format = p.Format
		if p.RandomAccess {
			f.entries.Store(true)
		}
		if s.entry {
			f.entry.Store(next)
		}
		f.next.Store(next) // last: a position below next is there to be read
	}
	f.mu.Unlock()
	f.wake()
}

// begins tells whether a session begins where one format follows another.
func begins(old, new *media.Format) bool {
	return old != new && (old == nil || new.Clock == nil || old.Clock != new.Clock)
}

// makeRoom drops what is too old or too much once a packet of the given size
// is added, and fits the array to what is left.
func (f *Flow) makeRoom(next uint64, size int, now time.Time) {
	r := f.ring.Load()
	tail := f.tail.Load()
	oldest := now.Add(-time.Duration(f.retain.Load()))
	maxBytes := int(f.maxBytes.Load())
	kept := next // from here on packets are kept whatever their age
	if entry := f.entry.Load(); entry > 0 && f.toEntry.Load() {
		kept = entry - 1
	}
	f.bytes += size
	for tail < next {
		s := r.at(tail).Load()
		if f.bytes <= maxBytes && (tail >= kept || !s.packet.Arrival.Before(oldest)) {
			break
		}
		f.bytes -= s.size()
		f.tail.Store(tail + 1) // before the slot is cleared: readers trust tail
		r.at(tail).Store(nil)
		tail++
	}
	slots := len(r.slots)
	switch held := int(next - tail); {
	case held == slots:
		slots *= 2
	case slots > minSlots && held < slots/8:
		slots /= 2
	default:
		return
	}
	// Readers that still hold the array that is replaced find there what was
	// in it, and look into the new one for what was not.
	fitted := newRing(slots)
	for pos := tail; pos < next; pos++ {
		fitted.at(pos).Store(r.at(pos).Load())
	}
	f.ring.Store(fitted)
}

// Close ends the flow. Readers drain what is left, then get io.EOF.
func (f *Flow) Close() {
	f.closed.Store(true)
	f.wake()
}

func (f *Flow) wake() {
	if ch := f.waiter.Swap(nil); ch != nil {
		close(*ch)
	}
}

// wait returns a channel that the next Publish or Close closes.
func (f *Flow) wait() <-chan struct{} {
	for {
		if ch := f.waiter.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if f.waiter.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

// At returns the packet at a position while the ring still holds it: what was
// sent once can be sent again. ok is false for a packet that is gone or is yet
// to come.
func (f *Flow) At(pos uint64) (p media.Packet, ok bool) {
	s := f.at(pos)
	if s == nil {
		return media.Packet{}, false
	}
	return s.packet, true
}

// at returns the slot of a position, nil where the ring does not hold it.
func (f *Flow) at(pos uint64) *slot {
	s := f.ring.Load().at(pos).Load()
	if s == nil || s.pos != pos {
		return nil
	}
	return s
}

// Next returns the position that the next packet will have.
func (f *Flow) Next() uint64 { return f.next.Load() }

// LastArrival returns when the newest packet arrived, the zero time if there
// never was one.
func (f *Flow) LastArrival() time.Time {
	for {
		next := f.next.Load()
		if next == 0 {
			return time.Time{}
		}
		// The newest packet leaves the ring only when a newer one comes.
		if s := f.at(next - 1); s != nil {
			return s.packet.Arrival
		}
	}
}

// Source is what an output reads from. A Flow is a Source of what it carries;
// a conversion stage is a Source of what it makes.
type Source interface {
	// Open returns a cursor at the live edge of the stream. The caller closes
	// it.
	Open() *Cursor
}
