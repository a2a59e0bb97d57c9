package remux

import (
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// Which fields of a frame a picture is.
const (
	topField = 1 << iota
	bottomField
	bothFields = topField | bottomField
)

// A field is what slice headers tell of one (H.264 section 7.4.3).
type field struct {
	parity   uint8
	frameNum uint32
	idr      bool
}

// fields puts together the two fields of a frame. In a transport stream each is
// an access unit of its own, mostly with a PES packet and times of its own; a
// message holds both, with the times of the first.
type fields struct {
	known bool         // syntax is of the sets in force
	sets  []sliceRules // of interlaced SPS
	pps   []ppsRule

	held bool
	field
	dts, pts int64
	key      bool
	header   []byte
	data     []byte
	lengths  []int
	split    [][]byte

	ordered bool  // order is known
	order   uint8 // the field that comes first
}

// sliceRules are what of an SPS is needed to read a slice header.
type sliceRules struct {
	id     uint32
	bits   int // of frame_num
	planes bool
}

type ppsRule struct{ id, sps uint32 }

// learn takes the rules of the parameter sets. There are none where no stream
// is interlaced.
func (h *fields) learn(sps, pps [][]byte) {
	h.known = true
	h.sets, h.pps = h.sets[:0], h.pps[:0]
	for _, b := range sps {
		var s h264.SPS
		if s.Unmarshal(b) == nil && !s.FrameMbsOnlyFlag && s.Log2MaxFrameNumMinus4 <= 12 {
			h.sets = append(h.sets, sliceRules{s.ID, int(s.Log2MaxFrameNumMinus4) + 4, s.SeparateColourPlaneFlag})
		}
	}
	for _, b := range pps {
		r := bitReader{b: unescape(nil, b[1:min(len(b), 16)])}
		if id, set := r.ue(), r.ue(); !r.short {
			h.pps = append(h.pps, ppsRule{id, set})
		}
	}
}

// fieldOf tells which field an access unit is; ok is false where it is a frame.
func (r *nalReader) fieldOf(units [][]byte) (f field, ok bool) {
	if r.hevc {
		return f, false // there a field is a picture that stands for itself
	}
	h := &r.fields
	if !h.known {
		h.learn(r.sps, r.pps)
	}
	if len(h.sets) == 0 {
		return f, false
	}
	for _, n := range units {
		if k := r.kind(n); k != nalSlice && k != nalKeySlice || len(n) < 2 || n[0]&0x1F > 5 || n[0]&0x1F == 3 || n[0]&0x1F == 4 {
			continue // of data partitioning, A has a header
		}
		one, is := h.parse(n)
		if !is {
			return f, false
		}
		if f.parity == 0 {
			f = one
		}
		f.parity |= one.parity
	}
	return f, f.parity != 0
}

// parse reads a slice header as far as bottom_field_flag (7.3.3).
func (h *fields) parse(n []byte) (f field, ok bool) {
	var plain [32]byte
	b := bitReader{b: unescape(plain[:0], n[1:min(len(n), 1+len(plain))])}
	b.ue() // first_mb_in_slice
	b.ue() // slice_type
	pps := b.ue()
	at := slices.IndexFunc(h.pps, func(p ppsRule) bool { return p.id == pps })
	if at < 0 {
		return f, false
	}
	set := slices.IndexFunc(h.sets, func(s sliceRules) bool { return s.id == h.pps[at].sps })
	if set < 0 {
		return f, false
	}
	if h.sets[set].planes {
		b.bits(2) // colour_plane_id
	}
	f.frameNum = b.bits(h.sets[set].bits)
	if !b.flag() { // field_pic_flag
		return f, false
	}
	f.parity, f.idr = topField, n[0]&0x1F == 5
	if b.flag() {
		f.parity = bottomField
	}
	return f, !b.short
}

// completedBy tells whether f is the second field of the frame that is held:
// the other one of the same frame_num, right after it (7.4.1.2.4).
func (h *fields) completedBy(f field, lost bool) bool {
	return h.held && !lost && (!f.idr || h.idr) && f.parity == h.parity^bothFields && f.frameNum == h.frameNum
}

// strays tells whether f, after a loss, is the second field of a frame whose
// first is lost: taken for a first one, it would be paired with one of the next
// frame, and so on.
func (h *fields) strays(f field, lost bool) bool {
	return lost && h.ordered && f.parity != h.order
}

// hold keeps a first field.
func (h *fields) hold(f field, a access, key bool, header []byte, units [][]byte) {
	h.held, h.field, h.dts, h.pts, h.key, h.header = true, f, a.dts, a.pts, key, header
	h.data, h.lengths = h.data[:0], h.lengths[:0]
	h.add(units)
}

// add appends the units of a field.
func (h *fields) add(units [][]byte) {
	for _, n := range units {
		h.data, h.lengths = append(h.data, n...), append(h.lengths, len(n))
	}
}

// units returns what is kept.
func (h *fields) units() [][]byte {
	h.split = h.split[:0]
	b := h.data
	for _, n := range h.lengths {
		h.split, b = append(h.split, b[:n]), b[n:]
	}
	return h.split
}

// shrink lets the memory of an unusually large picture go.
func (h *fields) shrink() {
	if cap(h.data) > 1<<20 && len(h.data) < cap(h.data)/4 {
		h.data = nil
	}
}
