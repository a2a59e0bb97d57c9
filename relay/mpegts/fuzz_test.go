package mpegts_test

import (
	"bytes"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/relaytest"
)

// Whatever comes and however it is cut, no byte is invented, changed or moved:
// what goes out is a subsequence of what came in, of whole packets if it is
// MPEG-TS, and all of it if it is not.
func FuzzIngest(f *testing.F) {
	g := relaytest.NewTS(1)
	one, two := g.Next(), g.Next()
	f.Add([]byte{}, uint16(0), uint8(0))
	f.Add(append(one, two...), uint16(1316), uint8(0))
	f.Add(append(one[100:], two...), uint16(1000), uint8(3))
	f.Add(bytes.Repeat([]byte{0x47}, 3000), uint16(188), uint8(0))
	f.Add(bytes.Repeat(append([]byte{0x47, 0x40}, make([]byte, 186)...), 12), uint16(187), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint16, gaps uint8) {
		i := mpegts.NewIngest()
		now := time.Unix(0, 0)
		var in, out []byte
		var packets []media.Packet
		step := int(size)%2000 + 1
		for n := 0; n < len(data); n += step {
			part := data[n:min(n+step, len(data))]
			in = append(in, part...)
			now = now.Add(time.Millisecond)
			packets = i.Push(part, now, nil, packets)
			if gaps > 0 && n/step%int(gaps) == 0 {
				i.Gap()
			}
		}
		rest := in
		for _, p := range packets {
			if p.Format == nil || len(p.Data) == 0 {
				t.Fatalf("packet %+v", p)
			}
			if p.Format.Kind == media.TS {
				if len(p.Data)%mpegts.PacketSize != 0 {
					t.Fatalf("%d bytes of MPEG-TS", len(p.Data))
				}
			} else if p.RandomAccess {
				t.Fatal("random access in what is not MPEG-TS")
			}
			// Packets are whole pieces of what came in, in order.
			b := p.Data
			for len(b) > 0 {
				n := min(mpegts.PacketSize, len(b))
				at := bytes.Index(rest, b[:n])
				if at < 0 {
					t.Fatalf("%d bytes went out that did not come in", n)
				}
				rest = rest[at+n:]
				b = b[n:]
			}
			out = append(out, p.Data...)
		}
		if s := i.Stats(); uint64(len(out))+s.Skipped > uint64(len(in)) {
			t.Fatalf("%d in, %d out, %d skipped", len(in), len(out), s.Skipped)
		}
	})
}

// The section parsers read nothing outside a section, and an assembler gives
// out only sections whose checksum is right.
func FuzzSections(f *testing.F) {
	g := relaytest.NewTS(1)
	d := g.Next()
	f.Add(d[188:376], uint8(0))
	f.Add(d[376:564], uint8(2))
	f.Add(append(bytes.Clone(d[188:376]), d[376:564]...), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, mode uint8) {
		each := func(section []byte) {
			if mpegts.CRC32(section) != 0 || len(section) > 1024 {
				t.Fatalf("a section of %d bytes with a wrong checksum", len(section))
			}
			_, _ = mpegts.ParsePAT(section)
			_, _ = mpegts.ParsePMT(section)
		}
		var a mpegts.Assembler
		var c mpegts.Continuity
		for b := data; len(b) >= mpegts.PacketSize; b = b[mpegts.PacketSize:] {
			p := mpegts.Packet(b[:mpegts.PacketSize])
			a.Push(p, each)
			c.Check(p)
			_, _ = p.PCR()
			_, _, _ = p.Payload(), p.Adaptation(), p.RandomAccess()
		}
		// Parsers may be given what no assembler has checked.
		if programs, err := mpegts.ParsePAT(data); err == nil && len(programs)*4 > len(data) {
			t.Fatalf("%d programs in %d bytes", len(programs), len(data))
		}
		if pmt, err := mpegts.ParsePMT(data); err == nil && pmt != nil && len(pmt.Streams)*5 > len(data) {
			t.Fatalf("%d streams in %d bytes", len(pmt.Streams), len(data))
		}
		// A section of the fuzzer's making with a right checksum, in packets.
		if n := len(data); n > 3 && n <= 1018 {
			s := append([]byte{2 * (mode & 1), 0xB0 | byte((n+1)>>8), byte(n + 1)}, data[3:]...)
			crc := mpegts.CRC32(s)
			s = append(s, byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc))
			got := 0
			var a mpegts.Assembler
			for i, cc := 0, byte(0); i < len(s); cc++ {
				p := append(make([]byte, 0, mpegts.PacketSize), 0x47, 0, 0, 0x10|cc&15)
				if i == 0 {
					p[1] |= 0x40
					p = append(p, 0)
				}
				k := min(mpegts.PacketSize-len(p), len(s)-i)
				p = append(p, s[i:i+k]...)
				i += k
				for len(p) < mpegts.PacketSize {
					p = append(p, 0xFF)
				}
				a.Push(p, func(section []byte) {
					if bytes.Equal(section, s) {
						got++
					}
					each(section)
				})
			}
			if got != 1 {
				t.Fatalf("a section of %d bytes came out %d times", len(s), got)
			}
		}
	})
}
