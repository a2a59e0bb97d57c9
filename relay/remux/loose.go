package remux

import (
	"bytes"

	"sluice/relay/mpegts"
)

// looseUnits is for how many units that begin with an access unit pictures are
// still put together across units, after one that did not.
const looseUnits = 100

// maxSpans is over how many units a picture may go on: what is kept of it is
// copied for each.
const maxSpans = 32

// A loose stream is one whose PES packets begin anywhere in a picture. Then
// the last picture of each is known to be whole when the next one begins, and
// the time of a packet is that of the first picture that begins in it (2.4.3.7).
type loose struct {
	left int // units until it counts as orderly again; 0: it does
	tail access
	data []byte // of tail; it begins with a delimiter
	join []byte
	cuts []int

	spans int // units over which the tail goes
}

// acrossUnits reads a unit of a loose stream, and keeps its last picture.
func (r *nalReader) acrossUnits(u *mpegts.Unit, emit func(*frame), drop func(Drop, int)) {
	l := &r.loose
	if u.Lost && len(l.data) > 0 {
		drop(DropDamaged, 1)
		l.data = l.data[:0]
	}
	r.ordered = r.ordered || u.Ordered
	old := len(l.data)
	if size := old + len(u.Data); cap(l.join) > 1<<20 && size < cap(l.join)/4 {
		l.join = nil // of an unusually large picture
	}
	l.join = append(append(l.join[:0], l.data...), u.Data...)
	l.data = l.data[:0]
	b := l.join
	l.cuts = r.delimiters(b, l.cuts[:0])
	switch {
	case len(b) > maxPicture, l.spans > maxSpans:
		l.spans = 0
		drop(DropOversize, 1)
		return
	case len(l.cuts) == 0:
		drop(DropDamaged, 1)
		l.left = 0 // there is no telling where its pictures end
		return
	case old == 0 && len(bytes.TrimRight(b[:l.cuts[0]], "\x00")) > 0:
		drop(DropDamaged, 1)
	}
	if r.aligned(u.Data) {
		l.left--
	} else {
		l.left = looseUnits
	}
	a, own := l.tail, false
	for i, at := range l.cuts {
		switch {
		case i == 0 && old > 0: // the one that was kept
		case at >= old && !own:
			own = true
			a = access{dts: u.DTS, pts: u.PTS, timed: u.Timed, entry: u.RandomAccess, lost: u.Lost}
		}
		if i == len(l.cuts)-1 && l.left > 0 {
			if l.spans++; i > 0 || old == 0 { // it begins here
				l.spans = 1
			}
			l.tail, l.data = a, append(l.data, b[at:]...)
			return
		}
		end := len(b)
		if i < len(l.cuts)-1 {
			end = l.cuts[i+1]
		}
		a.units = splitNAL(b[at:end], r.units[:0])
		r.units = a.units
		timed := a.timed
		a = r.following(a, r.accessUnit(a, emit, drop))
		a.timed = timed
	}
}

// lastOfLoose hands over what is kept, at the end.
func (r *nalReader) lastOfLoose(emit func(*frame), drop func(Drop, int)) {
	if l := &r.loose; len(l.data) > 0 {
		l.tail.units = splitNAL(l.data, r.units[:0])
		r.accessUnit(l.tail, emit, drop)
		l.data = l.data[:0]
	}
}

// delimiters appends where access unit delimiters begin, with their start code.
func (r *nalReader) delimiters(b []byte, at []int) []int {
	for o := 0; ; o += 3 {
		i := bytes.Index(b[o:], startCode)
		if i < 0 || o+i+3 >= len(b) {
			return at
		}
		if o += i; r.kind(b[o+3:]) == nalDelimiter {
			at = append(at, o)
		}
	}
}

// aligned tells whether an access unit begins where b does.
func (r *nalReader) aligned(b []byte) bool {
	at := bytes.Index(b, startCode)
	return at >= 0 && at+3 < len(b) && len(bytes.TrimRight(b[:at], "\x00")) == 0 && r.kind(b[at+3:]) == nalDelimiter
}
