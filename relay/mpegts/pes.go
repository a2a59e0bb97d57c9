package mpegts

import (
	"bytes"
	"time"
)

// Bounds of what a PES holds.
const (
	// maxUnit is the most bytes of one unit. A picture of 8K at the highest
	// rates has less.
	maxUnit = 8 << 20
	// unitTime is how long a unit may grow.
	unitTime = 5 * time.Second
	// idleTime is how long after its last packet a unit of unknown length
	// counts as whole.
	idleTime = 400 * time.Millisecond
	// tailsSeen is how many units must have ended in a stuffed packet, and none
	// gone on after one, before stuffing counts as the end of a unit.
	tailsSeen = 8
)

// A Unit is the content of a PES packet (2.4.3.6).
type Unit struct {
	PTS, DTS int64 // 90 kHz, 33 bits; DTS is PTS where the packet has no other
	Timed    bool  // there is a PTS
	Ordered  bool  // there is a DTS of its own
	Sized    bool  // the packet says how long it is: at most 64 KiB
	// RandomAccess is the indicator of the packet in which the unit began.
	RandomAccess bool
	// Lost tells that something is missing between the unit before and this.
	Lost bool
	// Damaged tells that the rest of the unit is missing: Data ends there.
	Damaged bool
	Data    []byte // valid during the call that hands it over
}

// UnitCounts is what a PES has counted since it was made.
type UnitCounts struct {
	Units     uint64 // handed over whole
	Damaged   uint64 // a part of the unit is missing
	Oversize  uint64 // given up for its size, or for the time it took
	Malformed uint64 // no PES packet where one should begin
	Scrambled uint64 // encrypted transport or PES packets
}

// A PES puts the units of one elementary stream together. Its memory and the
// time for which it holds data are bounded, whatever comes. The zero value is
// ready.
type PES struct {
	counts UnitCounts
	buf    []byte // the unit from its start code on
	open   bool
	want   int // length of the whole unit, 0 where the stream does not say
	entry  bool
	lost   bool
	began  time.Time
	grew   time.Time // when its last packet came

	last     uint8 // continuity counter
	seen     bool  // last is valid
	payload  [PacketSize]byte
	payloadN int

	// Encoders fill up the last packet of a unit, and nothing else, with
	// stuffing. Where a stream was seen to do so, a unit of unknown length is
	// handed over at its end instead of at the start of the next one.
	stuffed bool // the last packet was
	tails   int  // units that ended so
	early   bool // the unit was handed over at its stuffing
	useless bool // stuffing does not mark the end in this stream
}

// Counts returns what was counted so far.
func (s *PES) Counts() UnitCounts { return s.counts }

// Push adds a packet of the PID and calls each for what is now complete, and
// for the beginning of a unit whose rest is missing.
func (s *PES) Push(p Packet, now time.Time, each func(*Unit)) {
	s.Expire(now, each)
	if p.Corrupt() {
		s.damage(each)
		return
	}
	if !p.HasPayload() {
		return
	}
	b := p.Payload()
	cc := p.Continuity()
	switch {
	case !s.seen, cc == (s.last+1)&0x0F:
	case cc == s.last && bytes.Equal(b, s.payload[:s.payloadN]):
		return // sent twice (2.4.3.3)
	case p.Discontinuity() && p.UnitStart():
		// A jump that is meant; what came before it is whole as it is.
	default:
		s.damage(each)
	}
	s.last, s.seen = cc, true
	s.payloadN = copy(s.payload[:], b)
	if p.Scrambled() {
		s.counts.Scrambled++
		s.damage(each)
		return
	}
	if p.UnitStart() {
		s.start(p, b, now, each)
	} else {
		s.more(p, b, now, each)
	}
}

// Expire ends what has waited for too long.
func (s *PES) Expire(now time.Time, each func(*Unit)) {
	switch {
	case !s.open:
	case s.want == 0 && now.Sub(s.grew) > idleTime:
		s.finish(each)
	case now.Sub(s.began) > unitTime:
		s.giveUp()
	}
}

// Flush ends the stream: a unit of unknown length is handed over.
func (s *PES) Flush(each func(*Unit)) {
	if s.open && s.want == 0 {
		s.finish(each)
		return
	}
	s.damage(each)
}

func (s *PES) start(p Packet, b []byte, now time.Time, each func(*Unit)) {
	if s.stuffed {
		s.tails++
	}
	if s.open {
		if s.want == 0 {
			s.finish(each)
		} else {
			s.damage(each)
		}
	}
	s.stuffed, s.early = false, false
	if len(b) < 4 || !bytes.HasPrefix(b, startCode) {
		s.counts.Malformed++
		s.lost = true
		return
	}
	s.open, s.entry, s.began = true, p.RandomAccess(), now
	s.buf, s.want = s.buf[:0], 0
	s.more(p, b, now, each)
}

func (s *PES) more(p Packet, b []byte, now time.Time, each func(*Unit)) {
	if s.stuffed && len(b) > 0 { // and yet it goes on
		s.stuffed, s.tails, s.useless = false, 0, true
		if s.early {
			s.early, s.lost = false, true
			s.counts.Damaged++
		}
	}
	if !s.open {
		return
	}
	if len(s.buf)+len(b) > maxUnit {
		s.giveUp()
		return
	}
	s.buf = append(s.buf, b...)
	s.grew = now
	if s.want == 0 && len(s.buf) >= 6 {
		if n := int(s.buf[4])<<8 | int(s.buf[5]); n > 0 {
			s.want = 6 + n
		}
	}
	switch {
	case s.want > 0:
		if len(s.buf) >= s.want {
			s.buf = s.buf[:s.want]
			s.finish(each)
		}
	case p.stuffed():
		s.stuffed = true
		if s.tails >= tailsSeen && !s.useless {
			s.finish(each)
			s.early = true
		}
	}
}

// finish hands the unit over.
func (s *PES) finish(each func(*Unit)) {
	s.open = false
	var u Unit
	if s.parse(&u) {
		s.counts.Units++
		s.lost = false
		each(&u)
	}
	s.shrink()
}

// damage ends the unit where it is; there is always something lost.
func (s *PES) damage(each func(*Unit)) {
	switch {
	case !s.open:
	case s.want == 0 && s.stuffed && !s.useless:
		s.finish(each) // what is lost came after it
	default:
		s.open = false
		s.counts.Damaged++
		u := Unit{Damaged: true}
		if s.parse(&u) {
			each(&u)
		}
		s.shrink()
	}
	s.lost, s.stuffed, s.early = true, false, false
}

func (s *PES) giveUp() {
	s.counts.Oversize++
	s.open, s.lost = false, true
	s.shrink()
}

// shrink lets the memory of an unusually large unit go.
func (s *PES) shrink() {
	if cap(s.buf) > 1<<20 && len(s.buf) < cap(s.buf)/4 {
		s.buf = nil
	}
}

// parse reads the header of the unit (2.4.3.7).
func (s *PES) parse(u *Unit) bool {
	b := s.buf
	u.Lost, u.RandomAccess, u.Sized = s.lost, s.entry, s.want > 0
	if len(b) < 6 {
		s.malformed(u)
		return false
	}
	switch b[3] {
	case 0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF: // without optional fields (table 2-21)
		u.Data = b[6:]
		return true
	}
	if len(b) < 9 || b[6]&0xC0 != 0x80 || 9+int(b[8]) > len(b) {
		s.malformed(u)
		return false
	}
	if b[6]&0x30 != 0 { // PES_scrambling_control
		s.counts.Scrambled++
		s.lost = true
		return false
	}
	h := b[9 : 9+int(b[8])]
	if b[7]&0x80 != 0 && len(h) >= 5 {
		u.Timed = true
		u.PTS = timestamp(h)
		u.DTS = u.PTS
		if b[7]&0x40 != 0 && len(h) >= 10 {
			u.DTS, u.Ordered = timestamp(h[5:]), true
		}
	}
	u.Data = b[9+len(h):]
	return true
}

func (s *PES) malformed(u *Unit) {
	s.lost = true
	if !u.Damaged { // that is counted already
		s.counts.Malformed++
	}
}

// timestamp reads a PTS or DTS.
func timestamp(b []byte) int64 {
	return int64(b[0]&0x0E)<<29 | int64(b[1])<<22 | int64(b[2]&0xFE)<<14 | int64(b[3])<<7 | int64(b[4]>>1)
}

// stuffed tells whether the adaptation field is longer than what is in it
// (2.4.3.4).
func (p Packet) stuffed() bool {
	if p[3]&0x20 == 0 {
		return false
	}
	n := int(p[4])
	if n == 0 {
		return true
	}
	a := p.Adaptation()
	used := 1
	if a[0]&0x10 != 0 {
		used += 6 // PCR
	}
	if a[0]&0x08 != 0 {
		used += 6 // OPCR
	}
	if a[0]&0x04 != 0 {
		used++ // splice_countdown
	}
	for _, flag := range []byte{0x02, 0x01} { // private data, extension
		if a[0]&flag != 0 && used < len(a) {
			used += 1 + int(a[used])
		}
	}
	return n > used
}
