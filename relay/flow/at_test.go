package flow

import (
	"testing"
	"time"

	"sluice/relay/media"
)

// Packets are read one by one where they are sent again: that costs no memory
// either.
func TestAtDoesNotAllocate(t *testing.T) {
	f, first := full(t)
	pos := first
	got := testing.AllocsPerRun(1000, func() {
		if _, ok := f.At(pos); !ok {
			t.Fatalf("packet %d is not there", pos)
		}
		pos++
	})
	if got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

func BenchmarkAt(b *testing.B) {
	f, first := full(b)
	pos := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := f.At(first + pos%1000); !ok {
			b.Fatalf("packet %d is not there", first+pos%1000)
		}
		pos++
	}
}

// full returns a flow with more than a thousand packets, and where they begin.
func full(tb testing.TB) (*Flow, uint64) {
	f := New(Limits{Retain: time.Second, MaxBytes: 64 << 20})
	first := open(tb, f).Position()
	for range 100 {
		batch := make([]media.Packet, 16)
		for i := range batch {
			batch[i] = media.Packet{Format: session, Arrival: epoch, Data: make([]byte, 1316)}
		}
		f.Publish(batch)
	}
	return f, first
}
