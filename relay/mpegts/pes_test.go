package mpegts_test

import (
	"bytes"
	"testing"
	"time"

	"sluice/relay/mpegts"
)

// packets cuts a PES packet into transport packets. The last is filled up with
// stuffing.
func packets(cc *byte, pes []byte) (out [][]byte) {
	for start := true; len(pes) > 0; start = false {
		p := []byte{0x47, 0x01, 0x00, 0x10 | *cc}
		*cc = (*cc + 1) & 15
		if start {
			p[1] |= 0x40
		}
		if room := 184 - len(pes); room > 0 {
			p[3] |= 0x20
			p = append(p, byte(room-1))
			if room > 1 {
				p = append(p, 0)
				p = append(p, bytes.Repeat([]byte{0xFF}, room-2)...)
			}
		}
		n := min(188-len(p), len(pes))
		p = append(p, pes[:n]...)
		pes = pes[n:]
		out = append(out, p)
	}
	return out
}

// pesPacket makes a PES packet with PTS and DTS. Its length is in it, or not.
func pesPacket(long bool, pts, dts int64, data []byte) []byte {
	stamp := func(mark byte, t int64) []byte {
		return []byte{mark | byte(t>>29)&0x0E | 1, byte(t >> 22), byte(t>>14) | 1, byte(t >> 7), byte(t<<1) | 1}
	}
	b := []byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0xC0, 10}
	b = append(append(b, stamp(0x30, pts)...), stamp(0x10, dts)...)
	b = append(b, data...)
	if !long {
		b[4], b[5] = byte((len(b)-6)>>8), byte(len(b)-6)
	}
	return b
}

type collected struct {
	units []mpegts.Unit
	now   time.Time
	pes   mpegts.PES
}

func (c *collected) add(u *mpegts.Unit) {
	v := *u
	v.Data = bytes.Clone(u.Data)
	c.units = append(c.units, v)
}

func (c *collected) push(packets ...[]byte) {
	for _, p := range packets {
		c.pes.Push(p, c.now, c.add)
	}
}

func noise(n int, with byte) []byte { return bytes.Repeat([]byte{with}, n) }

func TestUnitsOfKnownLength(t *testing.T) {
	var c collected
	var cc byte
	for i, n := range []int{1, 100, 165, 166, 184, 5000, 65000} {
		pts := int64(1)<<33 - 2 + int64(i)
		c.push(packets(&cc, pesPacket(false, pts&(1<<33-1), 7, noise(n, byte(i))))...)
		if len(c.units) != i+1 {
			t.Fatalf("%d bytes: %d units: it is whole and was not handed over", n, len(c.units))
		}
		u := c.units[i]
		if !u.Timed || !u.Ordered || u.PTS != pts&(1<<33-1) || u.DTS != 7 || u.Damaged || u.Lost || !bytes.Equal(u.Data, noise(n, byte(i))) {
			t.Errorf("%d bytes: %d bytes, PTS %d, %+v", n, len(u.Data), u.PTS, u)
		}
	}
	if n := c.pes.Counts(); n != (mpegts.UnitCounts{Units: 7}) {
		t.Errorf("%+v", n)
	}
}

// A unit of unknown length ends where the next begins; in a stream that marks
// the ends with stuffing, there.
func TestUnitsOfUnknownLength(t *testing.T) {
	var c collected
	var cc byte
	for i := range 20 {
		c.push(packets(&cc, pesPacket(true, 0, 0, noise(1000, byte(i))))...)
		want := i
		if i >= 8 {
			want = i + 1
		}
		if len(c.units) != want {
			t.Fatalf("after %d: %d units, want %d", i+1, len(c.units), want)
		}
	}
	// One without stuffing, which ends with the next.
	c.push(packets(&cc, pesPacket(true, 0, 0, noise(184*3-19, 20)))...)
	if len(c.units) != 20 {
		t.Fatalf("%d units: there is no telling yet where the last one ends", len(c.units))
	}
	c.push(packets(&cc, pesPacket(true, 0, 0, noise(1000, 21)))...)
	if len(c.units) != 22 {
		t.Fatalf("%d units, want 22", len(c.units))
	}
	for i, u := range c.units {
		if u.Damaged || u.Data[0] != byte(i) {
			t.Errorf("unit %d: %+v", i, u)
		}
	}
	// A stuffed packet in the middle: it was no mark, and counts no more.
	broken := packets(&cc, pesPacket(true, 0, 0, noise(500, 22)))
	cc--
	broken = append(broken[:len(broken)-1], stuffed(broken[len(broken)-1], &cc), plain(&cc, 23))
	c.push(broken...)
	n := len(c.units)
	c.push(packets(&cc, pesPacket(true, 0, 0, noise(1000, 24)))...)
	if len(c.units) != n {
		t.Error("stuffing still ends units")
	}
	c.pes.Flush(c.add)
	if len(c.units) != n+1 || !c.units[n].Lost {
		t.Errorf("%d units: want one more, after a loss", len(c.units)-n)
	}
	if got := c.pes.Counts(); got.Damaged != 1 {
		t.Errorf("%+v", got)
	}
}

func stuffed(p []byte, cc *byte) []byte { *cc = (*cc + 1) & 15; return p }

func plain(cc *byte, with byte) []byte {
	p := append([]byte{0x47, 0x01, 0x00, 0x10 | *cc}, noise(184, with)...)
	*cc = (*cc + 1) & 15
	return p
}

func TestDamagedUnits(t *testing.T) {
	for _, long := range []bool{false, true} {
		var c collected
		var cc byte
		a := packets(&cc, pesPacket(long, 1, 1, noise(1000, 1)))
		b := packets(&cc, pesPacket(long, 2, 2, noise(1000, 2)))
		d := packets(&cc, pesPacket(long, 3, 3, noise(1000, 3)))
		c.push(a...)
		c.push(a[len(a)-1]) // sent twice
		c.push(b[0], b[1])
		c.push(b[3], b[4]) // without b[2]
		c.push(d...)
		c.pes.Flush(c.add)
		if len(c.units) != 3 {
			t.Fatalf("%d units", len(c.units))
		}
		if u := c.units[0]; u.Damaged || u.Lost || len(u.Data) != 1000 {
			t.Errorf("first: %+v", u)
		}
		if u := c.units[1]; !u.Damaged || u.PTS != 2 || len(u.Data) != 2*184-19 {
			t.Errorf("second: %d bytes, %+v", len(u.Data), u)
		}
		if u := c.units[2]; u.Damaged || !u.Lost || len(u.Data) != 1000 {
			t.Errorf("third: %+v", u)
		}
		if n := c.pes.Counts(); n.Units != 2 || n.Damaged != 1 {
			t.Errorf("%+v", n)
		}
	}
}

func TestUnitsThatNeverEnd(t *testing.T) {
	t.Run("size", func(t *testing.T) {
		var c collected
		var cc byte
		c.push(packets(&cc, pesPacket(true, 0, 0, noise(165, 0)))...)
		for range (9 << 20) / 184 {
			c.push(plain(&cc, 1))
		}
		if n := c.pes.Counts(); n.Oversize != 1 || len(c.units) != 0 {
			t.Errorf("%+v, %d units", n, len(c.units))
		}
	})
	t.Run("time", func(t *testing.T) {
		var c collected
		var cc byte
		c.push(packets(&cc, pesPacket(true, 0, 0, noise(165, 0)))...)
		for range 60 {
			c.now = c.now.Add(100 * time.Millisecond)
			c.push(plain(&cc, 1))
		}
		if n := c.pes.Counts(); n.Oversize != 1 || len(c.units) != 0 {
			t.Errorf("%+v, %d units", n, len(c.units))
		}
	})
	t.Run("idle", func(t *testing.T) {
		var c collected
		var cc byte
		c.push(packets(&cc, pesPacket(true, 0, 0, noise(165, 0)))...)
		c.pes.Expire(c.now.Add(time.Second), c.add)
		if len(c.units) != 1 || c.units[0].Damaged {
			t.Errorf("%+v", c.units)
		}
	})
}

func TestNoUnits(t *testing.T) {
	var c collected
	var cc byte
	scrambled := packets(&cc, pesPacket(true, 0, 0, noise(100, 0)))[0]
	scrambled[3] |= 0x80
	encrypted := pesPacket(false, 0, 0, noise(100, 0))
	encrypted[6] |= 0x10
	c.push(scrambled)
	c.push(packets(&cc, encrypted)...)
	c.push(packets(&cc, noise(100, 9))...)
	if n := c.pes.Counts(); n.Scrambled != 2 || n.Malformed != 1 || len(c.units) != 0 {
		t.Errorf("%+v, %d units", n, len(c.units))
	}
}

// No unit is larger than what came or than the bound, and nothing panics.
func FuzzPES(f *testing.F) {
	var cc byte
	f.Add(bytes.Join(packets(&cc, pesPacket(false, 1, 1, noise(1000, 1))), nil), uint8(1))
	f.Add(bytes.Join(packets(&cc, pesPacket(true, 1, 1, noise(300, 1))), nil), uint8(200))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		var s mpegts.PES
		now := time.Unix(0, 0)
		left := len(data)
		each := func(u *mpegts.Unit) {
			left -= len(u.Data)
			if left < 0 {
				t.Fatal("more came out than went in")
			}
			if u.PTS < 0 || u.PTS >= 1<<33 || u.DTS < 0 || u.DTS >= 1<<33 {
				t.Fatalf("%+v", u)
			}
		}
		for b := data; len(b) >= mpegts.PacketSize; b = b[mpegts.PacketSize:] {
			now = now.Add(time.Duration(step) * time.Millisecond)
			s.Push(b[:mpegts.PacketSize], now, each)
		}
		s.Flush(each)
	})
}
