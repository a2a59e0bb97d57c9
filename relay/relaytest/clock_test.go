package relaytest

import (
	"encoding/binary"
	"math"
	"testing"
)

// stamped is an SRT packet with a timestamp, and nothing else.
func stamped(timestamp uint32) []byte {
	b := make([]byte, srtHeader)
	binary.BigEndian.PutUint32(b[srtTimestampAt:], timestamp)
	return b
}

func timestamp(b []byte) uint32 { return binary.BigEndian.Uint32(b[srtTimestampAt:]) }

func TestClockRate(t *testing.T) {
	const second, wrap = 1_000_000, math.MaxUint32
	for _, c := range []struct {
		name     string
		ppm      float64
		in, want []uint32
	}{
		{"true", 0, []uint32{5, 5 + second}, []uint32{5, 5 + second}},
		{"fast", 500, []uint32{7, 7 + second, 7 + 2*second}, []uint32{7, 7 + second + 500, 7 + 2*second + 1000}},
		{"slow", -10_000, []uint32{0, second, 100 * second}, []uint32{0, second - 10_000, 99 * second}},
		{"sent again", 1000, []uint32{0, 2 * second, second, 3 * second}, []uint32{0, 2*second + 2000, second + 1000, 3*second + 3000}},
		{"before the first", 1000, []uint32{second, 0}, []uint32{second, wrap - 1000 + 1}},
		{"wrap", 500, []uint32{wrap - second + 1, wrap, 0, second}, []uint32{wrap - second + 1, 499, 500, second + 1000}},
		{"wrap and back", 500, []uint32{wrap, 0, wrap, 0}, []uint32{wrap, 0, wrap, 0}},
	} {
		k := clock{ppm: c.ppm}
		for i, in := range c.in {
			b := stamped(in)
			k.rescale(b)
			if got := timestamp(b); got != c.want[i] {
				t.Errorf("%s: timestamp %d becomes %d, want %d", c.name, in, got, c.want[i])
			}
		}
	}
}

// A clock that wraps twice has run for more than two hours.
func TestClockRunsOn(t *testing.T) {
	const step, steps = 60_000_000, 150 // minutes
	k := clock{ppm: 200}
	raw := uint32(123)
	b := stamped(raw)
	k.rescale(b)
	for range steps {
		raw += step
		b = stamped(raw)
		k.rescale(b)
	}
	if elapsed := int64(steps * step); timestamp(b) != uint32(123+elapsed+elapsed/5000) {
		t.Errorf("after %d us the clock shows %d", elapsed, timestamp(b))
	}
}

func TestClockLeavesTheRest(t *testing.T) {
	k := clock{ppm: 500}
	k.rescale(stamped(0))
	b := stamped(1_000_000)
	for i := range b {
		if i < srtTimestampAt || i >= srtTimestampAt+4 {
			b[i] = byte(i)
		}
	}
	k.rescale(b)
	for i := range b {
		if (i < srtTimestampAt || i >= srtTimestampAt+4) && b[i] != byte(i) {
			t.Errorf("byte %d has changed", i)
		}
	}
	k.rescale(nil)
	k.rescale(make([]byte, srtHeader-1))
}
