package remux

import "sluice/relay/mpegts"

// maxCarry is how much of a frame that goes on in the next unit is kept. The
// longest frames are those of LOAS and ADTS, of 13 bits.
const maxCarry = 3 + 1<<13

// A syntax reads the frames of one audio codec.
type syntax interface {
	// next looks at the start of b. It returns the length of the frame that
	// begins there; 0 where more bytes are needed to tell; -1 where none does.
	next(b []byte) int
	// take reads a frame, which next has measured: its data for a message, how
	// many samples it lasts, and how many of them a second has. ok is false
	// for one that is damaged or that no message can carry.
	take(b []byte) (data []byte, samples, rate int, ok bool)
	// header is the header message in force, nil where the codec has none.
	header() []byte
	info() Info
	unfit() string
}

// A scanner finds audio frames, of which several may share a unit, and which
// may begin in one and end in the next. The time of a unit is that of the first
// frame that begins in it (2.4.3.7); others follow at the rate of their samples,
// counted from there, so that nothing adds up.
type scanner struct {
	syntax
	carry  []byte
	buf    []byte
	locked bool // frames were found one after another
	frame  frame

	timed   bool  // base is valid
	base    int64 // the time of the last unit
	samples int64 // since then
	rate    int64
}

func (s *scanner) now() int64 {
	if s.rate == 0 {
		return s.base
	}
	return s.base + (s.samples*90000+s.rate/2)/s.rate
}

func (s *scanner) read(u *mpegts.Unit, emit func(*frame), drop func(Drop, int)) {
	if u.Lost {
		if len(s.carry) > 0 {
			drop(DropDamaged, 1)
		}
		s.carry, s.timed = s.carry[:0], false
	}
	carried := len(s.carry)
	b := u.Data
	if carried > 0 {
		s.buf = append(append(s.buf[:0], s.carry...), b...)
		b = s.buf
	}
	s.carry = s.carry[:0]
	stamped := !u.Timed
	garbage := false
	at := 0
	for at < len(b) {
		n := s.next(b[at:])
		if n > 0 && !s.locked && at+n < len(b) && s.next(b[at+n:]) < 0 {
			n = -1 // a pattern that looked like a frame
		}
		if n < 0 {
			s.locked = false
			at++
			if !garbage {
				garbage = true
				drop(DropDamaged, 1)
			}
			continue
		}
		if n == 0 || at+n > len(b) {
			break
		}
		s.locked, garbage = true, false
		if !stamped && at >= carried {
			s.base, s.samples, s.timed, stamped = u.PTS, 0, true, true
		}
		s.take(b[at:at+n], emit, drop)
		at += n
	}
	switch rest := b[at:]; {
	case u.Damaged: // and counted by the PES
	case len(rest) > maxCarry:
		drop(DropDamaged, 1)
		s.locked = false
	default:
		s.carry = append(s.carry, rest...)
		if !stamped && at >= carried { // the frame that the unit's time is of goes on in the next
			s.base, s.samples, s.timed = u.PTS, 0, true
		}
	}
}

func (s *scanner) end(func(*frame), func(Drop, int)) {}

func (s *scanner) take(b []byte, emit func(*frame), drop func(Drop, int)) {
	data, samples, rate, ok := s.syntax.take(b)
	t := s.now()
	if rate > 0 {
		if int64(rate) != s.rate { // count anew
			s.base, s.samples, s.rate = t, 0, int64(rate)
		}
		s.samples += int64(samples)
	}
	switch {
	case s.unfit() != "":
		drop(DropCodec, 1)
	case !ok:
		drop(DropDamaged, 1)
	case !s.timed:
		drop(DropTime, 1)
	default:
		s.frame = frame{dts: t, pts: t, codec: s.info().Codec, data: data, header: s.header()}
		emit(&s.frame)
	}
}
