package remux

// A bitReader reads most significant bits first. Past the end it reads zeros
// and sets short.
type bitReader struct {
	b     []byte
	pos   int // in bits
	short bool
}

func (r *bitReader) bits(n int) (v uint32) {
	if r.pos+n > 8*len(r.b) {
		r.short = true
		r.pos = 8 * len(r.b)
		return 0
	}
	for ; n > 0; n-- {
		v = v<<1 | uint32(r.b[r.pos>>3]>>(7-r.pos&7))&1
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// ue reads an Exp-Golomb code (H.264 section 9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		zeros++
		if zeros > 31 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// bytes reads n bytes that may begin at any bit, and appends them to dst.
func (r *bitReader) bytes(dst []byte, n int) []byte {
	if n < 0 || r.pos+8*n > 8*len(r.b) {
		r.short = true
		return dst
	}
	at, shift := r.pos>>3, r.pos&7
	r.pos += 8 * n
	if shift == 0 {
		return append(dst, r.b[at:at+n]...)
	}
	for i := at; i < at+n; i++ {
		dst = append(dst, r.b[i]<<shift|r.b[i+1]>>(8-shift))
	}
	return dst
}

// A bitWriter appends bits, most significant first.
type bitWriter struct {
	b []byte
	n int // bits
}

func (w *bitWriter) bits(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.n&7 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n>>3] |= byte(v>>n&1) << (7 - w.n&7)
		w.n++
	}
}
