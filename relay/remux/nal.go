package remux

import (
	"bytes"

	"sluice/relay/flv"
	"sluice/relay/mpegts"
)

// What a NAL unit is for.
type nalKind uint8

const (
	nalOther     nalKind = iota
	nalDelimiter         // access unit delimiter
	nalFiller            // filler data, end of sequence: nothing a message needs
	nalVPS
	nalSPS
	nalPPS
	nalSEI
	nalSlice
	nalKeySlice
)

// avcKind reads nal_unit_type (H.264 table 7-1).
func avcKind(u []byte) nalKind {
	switch u[0] & 0x1F {
	case 1, 2, 3, 4:
		return nalSlice
	case 5:
		return nalKeySlice
	case 6:
		return nalSEI
	case 7:
		return nalSPS
	case 8:
		return nalPPS
	case 9:
		return nalDelimiter
	case 10, 11, 12:
		return nalFiller
	}
	return nalOther
}

// hevcKind reads nal_unit_type (H.265 table 7-1).
func hevcKind(u []byte) nalKind {
	switch t := u[0] >> 1 & 0x3F; {
	case t >= 16 && t <= 23:
		return nalKeySlice
	case t < 32:
		return nalSlice
	case t == 32:
		return nalVPS
	case t == 33:
		return nalSPS
	case t == 34:
		return nalPPS
	case t == 35:
		return nalDelimiter
	case t == 36, t == 37, t == 38:
		return nalFiller
	case t == 39:
		return nalSEI
	}
	return nalOther
}

// splitNAL appends the NAL units of a byte stream (H.264 annex B) to units.
// What stands before the first start code is left out, and so are the zeros
// that may follow a unit.
func splitNAL(b []byte, units [][]byte) [][]byte {
	first := len(units)
	units = split(b, units)
	kept := units[:first]
	for _, u := range units[first:] {
		if u = bytes.TrimRight(u, "\x00"); len(u) > 0 {
			kept = append(kept, u)
		}
	}
	return kept
}

// unaligned tells whether something stands before the first start code. Zeros
// may (H.264 section B.1).
func unaligned(b []byte) bool {
	at := bytes.Index(b, startCode)
	return at > 0 && len(bytes.TrimRight(b[:at], "\x00")) > 0
}

// split cuts b at its start codes.
func split(b []byte, units [][]byte) [][]byte {
	at := bytes.Index(b, startCode)
	if at < 0 {
		return units
	}
	for b = b[at+3:]; ; {
		end := bytes.Index(b, startCode)
		u := b
		if end >= 0 {
			u = b[:end]
		}
		units = append(units, u)
		if end < 0 {
			return units
		}
		b = b[end+3:]
	}
}

var startCode = []byte{0, 0, 1}

// Bounds of what is kept.
const (
	maxSets = 32
	maxSet  = 4096 // bytes

	maxPicture = 8 << 20 // bytes
)

// A nalReader reads H.264 and HEVC.
type nalReader struct {
	hevc bool
	kind func([]byte) nalKind
	head int // bytes of a NAL unit's header

	vps, sps, pps [][]byte
	announced     []byte   // the header message in force
	stale         bool     // the parameter sets have changed since it was made
	known         [][]byte // the sets that are in it
	in            Info

	ordered  bool // the stream has DTS where it needs them
	reorder  int  // pictures to reorder, as the SPS says
	shuffled bool // pictures were seen out of order
	lastPTS  int64
	order    order
	part     mpegts.Unit // a picture of which more may come
	fields   fields
	loose    loose
	units    [][]byte // of the unit that is read
	kept     [][]byte // of them, those that a message holds
	frame    frame
	scratch  []byte
	duration int64 // of a frame, as last seen
	last     int64
	meter    rateMeter
}

func newNALReader(codec string) *nalReader {
	r := &nalReader{kind: avcKind, head: 1, in: Info{Codec: codec}}
	if codec == flv.HEVC {
		r.hevc, r.kind, r.head = true, hevcKind, 2
	}
	return r
}

func (r *nalReader) info() Info {
	i := r.in
	if measured := r.meter.rate(); measured > 0 {
		i.FrameRate = measured
	}
	return i
}

func (r *nalReader) unfit() string { return "" }

// nearFull is the length from which on a PES packet that says its length may
// hold but the beginning of a picture: the rest follows in others, without a time.
const nearFull = 60_000

func (r *nalReader) read(u *mpegts.Unit, emit func(*frame), drop func(Drop, int)) {
	if len(r.part.Data) > 0 {
		whole := r.part
		r.part.Data = r.part.Data[:0]
		switch goesOn := !u.Timed && !u.Lost && !u.Damaged; {
		case goesOn && len(whole.Data)+len(u.Data) <= maxPicture:
			r.part.Data = append(whole.Data, u.Data...)
			if len(u.Data) < nearFull { // that was the last
				whole.Data = r.part.Data
				r.part.Data = r.part.Data[:0]
				r.picture(&whole, emit, drop)
			}
			return
		case u.Lost, u.Damaged && !u.Timed, goesOn:
			drop(DropDamaged, 1)
		default:
			r.picture(&whole, emit, drop)
		}
	}
	switch {
	case u.Damaged: // and counted by the PES
	case u.Sized && u.Timed && len(u.Data) >= nearFull:
		kept := append(r.part.Data, u.Data...)
		r.part = *u
		r.part.Data = kept
	default:
		r.picture(u, emit, drop)
	}
}

func (r *nalReader) end(emit func(*frame), drop func(Drop, int)) {
	if len(r.part.Data) > 0 {
		whole := r.part
		r.part.Data = nil
		r.picture(&whole, emit, drop)
	}
	r.lastOfLoose(emit, drop)
	r.single(emit)
}

// picture reads a unit of one picture, or of several.
func (r *nalReader) picture(u *mpegts.Unit, emit func(*frame), drop func(Drop, int)) {
	if r.loose.left > 0 {
		r.acrossUnits(u, emit, drop)
		return
	}
	r.units = splitNAL(u.Data, r.units[:0])
	if len(r.units) == 0 {
		drop(DropDamaged, 1)
		return
	}
	if unaligned(u.Data) { // the end of a picture whose beginning has gone out
		drop(DropDamaged, 1)
		if cuts := r.delimiters(u.Data, nil); len(cuts) > 0 { // it will not happen again
			rest := *u
			rest.Data = u.Data[cuts[0]:]
			r.loose.left, r.loose.data = looseUnits+1, r.loose.data[:0]
			r.acrossUnits(&rest, emit, drop)
			return
		}
	}
	a := access{dts: u.DTS, pts: u.PTS, timed: u.Timed, entry: u.RandomAccess, lost: u.Lost}
	switch {
	case u.Timed:
	case r.fields.held: // the second field needs no time of its own
		a.dts, a.pts = r.fields.dts, r.fields.pts
	default:
		drop(DropTime, 1)
		return
	}
	r.ordered = r.ordered || u.Ordered
	// One access unit is the rule; where there are more, a delimiter stands
	// between them, and only the first has a time (2.4.3.7).
	first, coded := 0, false
	for i, n := range r.units {
		switch r.kind(n) {
		case nalSlice, nalKeySlice:
			coded = true
		case nalDelimiter:
			if coded {
				a.units = r.units[first:i]
				a = r.following(a, r.accessUnit(a, emit, drop))
				first, coded = i, false
			}
		}
	}
	a.units = r.units[first:]
	r.accessUnit(a, emit, drop)
}

// An access is an access unit: a frame, or one field of it.
type access struct {
	units    [][]byte
	dts, pts int64
	timed    bool // the times are its own
	entry    bool // the transport stream says that decoding may begin there
	lost     bool // something is missing before it
}

// following returns the time of what follows a in its unit.
func (r *nalReader) following(a access, step bool) access {
	if step {
		a.dts, a.pts = a.dts+r.duration, a.pts+r.duration
	}
	a.timed, a.lost = true, false
	return a
}

// accessUnit reads an access unit. It tells whether the next one is later:
// after a first field it is not.
func (r *nalReader) accessUnit(a access, emit func(*frame), drop func(Drop, int)) (step bool) {
	var key, intra, recovery, coded, sets bool
	for _, n := range a.units {
		if len(n) <= r.head {
			continue
		}
		switch k := r.kind(n); k {
		case nalKeySlice:
			key, coded = true, true
		case nalSlice:
			if !coded {
				intra = !r.hevc && intraSlice(n)
			}
			coded = true
		case nalSEI:
			recovery = recovery || r.recoveryPoint(n)
		case nalVPS, nalSPS, nalPPS:
			sets = true
		}
	}
	if sets {
		r.keepSets(a.units)
	}
	if !coded {
		if !sets {
			drop(DropDamaged, 1)
		}
		return true
	}
	f, isField := r.fieldOf(a.units)
	second := isField && r.fields.completedBy(f, a.lost)
	if !second {
		r.single(emit)
		if !a.timed {
			drop(DropTime, 1)
			return true
		}
	}
	// A recovery point is where decoding may begin in an open GOP or gradual
	// refresh (H.264 section D.2.8). The indicator of the transport stream
	// counts with a picture that could be one.
	key = key || !r.hevc && (recovery || a.entry && intra)
	if key && r.stale && !second {
		r.announce()
	}
	if r.announced == nil {
		drop(DropBeforeKey, 1)
		return true
	}
	r.kept = r.kept[:0]
	for _, n := range a.units {
		switch r.kind(n) {
		case nalDelimiter, nalFiller:
			continue
		case nalVPS, nalSPS, nalPPS:
			// What the header does not say yet stays where it is.
			if has(r.known, n) {
				continue
			}
		}
		r.kept = append(r.kept, n)
	}
	switch {
	case second:
		r.fields.add(r.kept)
		r.fields.order, r.fields.ordered = f.parity^bothFields, true
		r.single(emit)
	case isField && f.parity != bothFields && !r.fields.strays(f, a.lost):
		r.fields.hold(f, a, key, r.announced, r.kept)
		return false
	default:
		r.emit(a.dts, a.pts, key, r.announced, r.kept, emit)
	}
	return true
}

// single hands over the field that is held, with the other of its frame if that
// has come.
func (r *nalReader) single(emit func(*frame)) {
	if h := &r.fields; h.held {
		h.held = false
		r.emit(h.dts, h.pts, h.key, h.header, h.units(), emit)
		h.shrink()
	}
}

// emit hands over a frame.
func (r *nalReader) emit(dts, pts int64, key bool, header []byte, units [][]byte, emit func(*frame)) {
	if back := r.lastPTS - pts; !r.ordered && back > 0 && back < forward {
		r.shuffled = true // though the SPS may not say so
	}
	r.lastPTS = pts
	if !r.ordered && (r.reorder > 0 || r.shuffled) {
		duration := int64(3600)
		if r.in.FrameRate > 1 {
			duration = int64(90000 / r.in.FrameRate)
		}
		dts = r.order.dts(pts, r.reorder, duration)
	}
	f := &r.frame
	f.dts, f.pts, f.key, f.codec, f.header, f.units = dts, pts, key, r.in.Codec, header, units
	if d := dts - r.last; d > 0 && d < 1000*millisecond {
		r.duration = d
	}
	r.last = dts
	r.meter.add(dts)
	emit(f)
}

// unescape appends the payload of a NAL unit without its emulation prevention
// bytes (H.264 section 7.3.1).
func unescape(dst, b []byte) []byte {
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, c)
	}
	return dst
}

// intraSlice tells whether an H.264 slice is of a picture of which every slice
// may be of type I (section 7.4.3).
func intraSlice(n []byte) bool {
	b := bitReader{b: n[1:min(len(n), 12)]}
	b.ue() // first_mb_in_slice
	t := b.ue() % 5
	return !b.short && (t == 2 || t == 4) // I, SI
}

// recoveryPoint tells whether an SEI NAL unit holds a recovery point message.
func (r *nalReader) recoveryPoint(n []byte) bool {
	if r.hevc {
		return false
	}
	r.scratch = unescape(r.scratch[:0], n[r.head:min(len(n), 1024)])
	for b := r.scratch; len(b) >= 2 && b[0] != 0x80; {
		kind, size := 0, 0
		for len(b) > 0 && b[0] == 0xFF {
			kind, b = kind+255, b[1:]
		}
		if len(b) == 0 {
			return false
		}
		kind, b = kind+int(b[0]), b[1:]
		for len(b) > 0 && b[0] == 0xFF {
			size, b = size+255, b[1:]
		}
		if len(b) == 0 {
			return false
		}
		size, b = size+int(b[0]), b[1:]
		if kind == 6 {
			return true
		}
		b = b[min(size, len(b)):]
	}
	return false
}
