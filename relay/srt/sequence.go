package srt

// A sequence is a packet sequence number: 31 bits, and round it goes
// (draft-sharabayko-srt-01 section 3.1).
type sequence uint32

// maxSequence is the largest packet sequence number.
const maxSequence = 1<<31 - 1

// plus returns the number n further on.
func (s sequence) plus(n int) sequence { return (s + sequence(uint32(n))) & maxSequence }

// since returns how far s is from another number, the shorter way round:
// negative where s comes before it.
func (s sequence) since(other sequence) int {
	return int(int32(s-other)<<1) >> 1 // the 31st bit is the sign
}
