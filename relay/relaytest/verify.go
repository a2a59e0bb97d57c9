package relaytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"sluice/relay/mpegts"
)

// A marker stands in the first packet of every datagram of a TS, after the
// packet header: magic, seed, sequence number, and the hash of the whole
// datagram with the hash's own bytes zero.
const (
	markAt     = 4
	hashAt     = markAt + 8 + 8 + 8
	hashLength = 16
)

var magic = []byte("sluiceTS")

func mark(d, header []byte, seed, sequence uint64) {
	b := append(d[:0], header...)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, seed)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = append(b, make([]byte, hashLength)...)
	fill(b, 0xA5)
	h := hash(d)
	copy(d[hashAt:], h[:])
}

// hash is of a datagram whose own hash does not count.
func hash(d []byte) (h [hashLength]byte) {
	s := sha256.New()
	s.Write(d[:hashAt])
	s.Write(make([]byte, hashLength))
	s.Write(d[hashAt+hashLength:])
	copy(h[:], s.Sum(nil))
	return h
}

// A Report is what a receiver got of a generated stream.
type Report struct {
	Received   uint64 // datagrams that came whole and as they were made, each counted once
	First      uint64 // sequence number of the first of them: where the receiver joined
	Last       uint64 // the highest
	Missing    uint64 // between First and Last
	Duplicated uint64 // came again
	Disordered uint64 // came after one with a higher number
	Altered    uint64 // not as they were made, or in part
	Foreign    uint64 // transport packets, or datagrams, that are not of this stream; those before First do not count
}

// Intact returns nil if something came, and everything did from First on, in
// order, once and unchanged.
func (r Report) Intact() error {
	if r.Received == 0 {
		return fmt.Errorf("nothing was received: %+v", r)
	}
	if r.Missing+r.Duplicated+r.Disordered+r.Altered+r.Foreign > 0 {
		return fmt.Errorf("the stream is not intact: %+v", r)
	}
	return nil
}

// tally keeps a Report.
type tally struct {
	Report
	seen map[uint64]bool
}

func (t *tally) count(sequence uint64) {
	if t.seen == nil {
		t.seen = make(map[uint64]bool)
	}
	switch {
	case t.seen[sequence]:
		t.Duplicated++
		return
	case t.Received == 0:
		t.First, t.Last = sequence, sequence
	case sequence < t.Last:
		t.Disordered++
		t.First = min(t.First, sequence)
	default:
		t.Last = sequence
	}
	t.seen[sequence] = true
	t.Received++
	t.Missing = t.Last - t.First + 1 - t.Received
}

// A Verifier checks the bytes of a TS, however they are cut. It may be used
// from any goroutine.
type Verifier struct {
	// Each is set before the first Feed, or nil. It is told the sequence number
	// of each datagram that came whole and as it was made.
	Each func(sequence uint64)

	mu      sync.Mutex
	seed    uint64
	tally   tally
	rest    []byte   // of a packet that is not whole yet
	current []byte   // the datagram whose marker came last
	whole   []uint64 // numbers of the datagrams that this Feed completes
}

// NewVerifier returns a Verifier of NewTS with the same seed.
func NewVerifier(seed uint64) *Verifier { return &Verifier{seed: seed} }

// Feed takes received bytes, in the order in which they came.
func (v *Verifier) Feed(b []byte) {
	for _, n := range v.take(b) {
		if v.Each != nil {
			v.Each(n)
		}
	}
}

// take returns the numbers of the datagrams that b completes.
func (v *Verifier) take(b []byte) []uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.whole = nil
	v.rest = append(v.rest, b...)
	for len(v.rest) >= mpegts.PacketSize {
		v.packet(v.rest[:mpegts.PacketSize])
		v.rest = v.rest[mpegts.PacketSize:]
	}
	return v.whole
}

// Report tells what came so far.
func (v *Verifier) Report() Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tally.Report
}

func (v *Verifier) packet(p []byte) {
	if p[0] == mpegts.SyncByte && mpegts.Packet(p).PID() == PIDMarker && bytes.HasPrefix(p[markAt:], magic) &&
		binary.BigEndian.Uint64(p[markAt+8:]) == v.seed {
		if v.current != nil {
			v.tally.Altered++ // the one before was cut short
		}
		v.current = append(make([]byte, 0, DatagramSize), p...)
		return
	}
	if v.current == nil {
		if v.tally.Received > 0 {
			v.tally.Foreign++
		}
		return
	}
	v.current = append(v.current, p...)
	if len(v.current) < DatagramSize {
		return
	}
	d := v.current
	v.current = nil
	if h := hash(d); !bytes.Equal(h[:], d[hashAt:hashAt+hashLength]) {
		v.tally.Altered++
		return
	}
	n := binary.BigEndian.Uint64(d[markAt+16:])
	v.tally.count(n)
	v.whole = append(v.whole, n)
}
