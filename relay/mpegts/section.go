package mpegts

// maxSection is the largest PSI section: section_length is at most 1021
// (2.4.4.4, 2.4.4.9).
const maxSection = 3 + 1021

// An Assembler puts the sections of one PID together (2.4.4). The zero value is
// ready. Its memory is bounded by one section.
type Assembler struct {
	buf    [maxSection]byte
	n      int  // bytes in buf
	want   int  // total length of the section in buf; 0 until its header is there
	inside bool // a section has begun and nothing of it was lost
	last   uint8
	seen   bool // last is valid
}

// Push adds a packet of the PID and calls each for every section that is now
// complete and whose CRC is right. The section is valid during the call only.
// A section of which a packet is missing is given up.
func (a *Assembler) Push(p Packet, each func(section []byte)) {
	if !p.HasPayload() || p.Corrupt() || p.Scrambled() {
		return
	}
	cc := p.Continuity()
	switch {
	case a.seen && cc == a.last:
		return // repetition
	case a.seen && cc != (a.last+1)&0x0F:
		a.inside = false
	}
	a.last, a.seen = cc, true

	b := p.Payload()
	if !p.UnitStart() {
		a.add(b, each)
		return
	}
	if len(b) == 0 {
		return
	}
	pointer := int(b[0]) // pointer_field: bytes left of the section before
	b = b[1:]
	if pointer > len(b) {
		a.inside = false
		return
	}
	a.add(b[:pointer], each)
	a.n, a.want, a.inside = 0, 0, true
	a.add(b[pointer:], each)
}

// add takes bytes of the section that has begun, and of those that follow it
// directly. Stuffing ends it until the next start.
func (a *Assembler) add(b []byte, each func([]byte)) {
	for a.inside && len(b) > 0 {
		if a.n == 0 && b[0] == 0xFF {
			a.inside = false // stuffing (2.4.4)
			return
		}
		target := 3
		if a.want > 0 {
			target = a.want
		}
		n := copy(a.buf[a.n:target], b)
		a.n += n
		b = b[n:]
		if a.n < target {
			return
		}
		if a.want == 0 {
			a.want = 3 + (int(a.buf[1]&0x0F)<<8 | int(a.buf[2]))
			if a.want > maxSection || a.want == 3 {
				a.inside = false
			}
			continue
		}
		if CRC32(a.buf[:a.n]) == 0 {
			each(a.buf[:a.n])
		}
		a.n, a.want = 0, 0
	}
}

// crcTable is for the polynomial of annex A, most significant bit first.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&0x80000000 != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// CRC32 is the checksum of PSI sections (annex A). Over a section that ends
// with its own checksum it is 0.
func CRC32(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c = c<<8 ^ crcTable[byte(c>>24)^x]
	}
	return c
}
