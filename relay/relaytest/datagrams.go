package relaytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"sluice/relay/mpegts"
)

// Datagrams is a source of payloads that are not MPEG-TS, of 64 to 1316 bytes.
// The same seed gives the same bytes.
type Datagrams struct {
	seed     uint64
	random   *rand.Rand
	sequence uint64
}

var datagramMagic = []byte("sluiceDG")

// NewDatagrams returns the payloads of a seed, from the first.
func NewDatagrams(seed uint64) *Datagrams {
	return &Datagrams{seed: seed, random: rand.New(rand.NewPCG(seed, 0x4447))}
}

// Next returns the next payload: magic, seed, sequence number, length, noise,
// and the hash of all of it.
func (g *Datagrams) Next() []byte {
	n := 64 + g.random.IntN(DatagramSize-64+1)
	b := make([]byte, 0, n)
	b = append(b, datagramMagic...)
	b = binary.BigEndian.AppendUint64(b, g.seed)
	b = binary.BigEndian.AppendUint64(b, g.sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	for len(b) < n-hashLength {
		x := byte(g.random.UintN(256))
		if x == mpegts.SyncByte {
			x++ // a stream that nobody can take for MPEG-TS
		}
		b = append(b, x)
	}
	g.sequence++
	h := sha256.Sum256(b)
	return append(b, h[:hashLength]...)
}

// A DatagramVerifier checks the payloads of Datagrams. It may be used from any
// goroutine.
type DatagramVerifier struct {
	mu    sync.Mutex
	seed  uint64
	tally tally
}

// NewDatagramVerifier returns a verifier of NewDatagrams with the same seed.
func NewDatagramVerifier(seed uint64) *DatagramVerifier { return &DatagramVerifier{seed: seed} }

// Feed takes one received payload.
func (v *DatagramVerifier) Feed(b []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(b) < 64 || !bytes.HasPrefix(b, datagramMagic) || binary.BigEndian.Uint64(b[8:]) != v.seed {
		v.tally.Foreign++
		return
	}
	body := b[:len(b)-hashLength]
	h := sha256.Sum256(body)
	if int(binary.BigEndian.Uint16(b[24:])) != len(b) || !bytes.Equal(h[:hashLength], b[len(body):]) {
		v.tally.Altered++
		return
	}
	v.tally.count(binary.BigEndian.Uint64(b[16:]))
}

// Report tells what came so far.
func (v *DatagramVerifier) Report() Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tally.Report
}
