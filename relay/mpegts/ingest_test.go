package mpegts_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/relaytest"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// push feeds payloads a millisecond apart.
func push(i *mpegts.Ingest, payloads ...[]byte) (out []media.Packet) {
	for n, p := range payloads {
		out = i.Push(p, start.Add(time.Duration(n)*time.Millisecond), nil, out)
	}
	return out
}

func generate(seed uint64, n int) (datagrams [][]byte) {
	g := relaytest.NewTS(seed)
	for range n {
		datagrams = append(datagrams, g.Next())
	}
	return datagrams
}

func join(packets []media.Packet) (all []byte) {
	for _, p := range packets {
		all = append(all, p.Data...)
	}
	return all
}

// cut splits b into pieces of size(), the last one shorter.
func cut(b []byte, size func() int) (pieces [][]byte) {
	for len(b) > 0 {
		n := min(size(), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

func TestAlignedPassesAsItCame(t *testing.T) {
	for _, size := range []int{188, 376, 1316, 10 * 188} {
		in := cut(bytes.Join(generate(1, 400), nil), func() int { return size })
		i := mpegts.NewIngest()
		out := push(i, in...)
		if len(out) != len(in) {
			t.Fatalf("%d bytes: %d datagrams became %d", size, len(in), len(out))
		}
		for n := range in {
			if !bytes.Equal(out[n].Data, in[n]) || out[n].Format != out[0].Format || out[n].Format.Kind != media.TS {
				t.Fatalf("%d bytes: datagram %d is not what came in", size, n)
			}
			if want := start.Add(time.Duration(n) * time.Millisecond); !out[n].Arrival.Equal(want) {
				t.Fatalf("%d bytes: datagram %d arrived at %v, not %v", size, n, out[n].Arrival, want)
			}
		}
		s := i.Stats()
		if s.Packets != 2800 || s.Continuity+s.Skipped+s.Realigned+s.Opaque != 0 || s.PCR == 0 {
			t.Errorf("%d bytes: %+v", size, s)
		}
	}
}

func TestRandomAccessIsMarked(t *testing.T) {
	for _, indicated := range []bool{true, false} {
		in := generate(1, 4*relaytest.GroupOfPictures)
		if !indicated {
			for _, d := range in {
				for o := 0; o < len(d); o += 188 {
					if p := mpegts.Packet(d[o : o+188]); p.RandomAccess() {
						p[5] &^= 0x40
					}
				}
			}
		}
		for n, p := range push(mpegts.NewIngest(), in...) {
			if want := n%relaytest.GroupOfPictures == 0; p.RandomAccess != want {
				t.Errorf("indicated %v: datagram %d: random access is %v", indicated, n, p.RandomAccess)
			}
		}
	}
}

func TestOutOfAlignmentIsRealigned(t *testing.T) {
	whole := bytes.Join(generate(2, 300), nil)
	random := rand.New(rand.NewPCG(1, 2))
	for name, size := range map[string]func() int{
		"1300":   func() int { return 1300 },
		"100":    func() int { return 100 },
		"1":      func() int { return 1 },
		"random": func() int { return 1 + random.IntN(1456) },
	} {
		for _, offset := range []int{0, 1, 100, 187} {
			i := mpegts.NewIngest()
			var out []media.Packet
			if name == "1" {
				// One byte a datagram decides itself for datagrams: begin with a larger one.
				out = push(i, append([][]byte{whole[offset : offset+1200]}, cut(whole[offset+1200:60000], size)...)...)
			} else {
				out = push(i, cut(whole[offset:], size)...)
			}
			want := whole
			if offset > 0 {
				want = whole[188:]
			}
			if name == "1" {
				want = want[:(60000-(len(whole)-len(want)))/188*188]
			}
			got := join(out)
			if !bytes.Equal(got, want) {
				t.Fatalf("pieces of %s from %d: %d bytes came out of %d", name, offset, len(got), len(want))
			}
			for n, p := range out {
				if len(p.Data)%188 != 0 || len(p.Data) > 1316 || p.Format.Kind != media.TS {
					t.Fatalf("pieces of %s from %d: datagram %d has %d bytes", name, offset, n, len(p.Data))
				}
			}
			if s := i.Stats(); s.Continuity != 0 || s.Skipped != uint64((188-offset)%188) {
				t.Errorf("pieces of %s from %d: %+v", name, offset, s)
			}
		}
	}
}

// A datagram lost from a stream out of alignment costs the packets that it
// touched, and no packet is made up of two halves.
func TestLossOutOfAlignment(t *testing.T) {
	whole := bytes.Join(generate(3, 300), nil)
	known := map[string]bool{}
	for o := 0; o < len(whole); o += 188 {
		known[string(whole[o:o+188])] = true
	}
	for _, size := range []int{1300, 1316} {
		pieces := cut(whole[50:], func() int { return size })
		i := mpegts.NewIngest()
		var out []media.Packet
		lost := 0
		for n, p := range pieces {
			if n%10 == 5 {
				lost++
				if size == 1316 {
					i.Gap() // the halves fit in length: only the protocol can tell
				}
				continue
			}
			out = i.Push(p, start, nil, out)
		}
		got := join(out)
		for o := 0; o < len(got); o += 188 {
			if !known[string(got[o:o+188])] {
				t.Fatalf("datagrams of %d: packet %d was invented", size, o/188)
			}
		}
		if least := len(whole)/188 - 1 - lost*(7+3); len(got)/188 < least {
			t.Errorf("datagrams of %d: %d packets came out, at least %d were whole", size, len(got)/188, least)
		}
	}
}

func TestDamagedSyncByteOfAlignedStreamPasses(t *testing.T) {
	in := generate(4, 20)
	in[10][3*188] = 0
	if out := push(mpegts.NewIngest(), in...); !bytes.Equal(join(out), bytes.Join(in, nil)) {
		t.Error("the damaged packet was changed or lost")
	}
}

func TestOpaqueDatagramsPassAsTheyCame(t *testing.T) {
	g, v := relaytest.NewDatagrams(1), relaytest.NewDatagramVerifier(1)
	var in [][]byte
	for range 300 {
		in = append(in, g.Next())
	}
	i := mpegts.NewIngest()
	out := push(i, in...)
	for _, p := range out {
		v.Feed(p.Data)
		if p.Format.Kind != media.Datagram || p.Format != out[0].Format || p.RandomAccess {
			t.Fatalf("a datagram was taken for %v", p.Format.Kind)
		}
	}
	if err := v.Report().Intact(); err != nil || v.Report().Received != 300 {
		t.Errorf("%v %+v", err, v.Report())
	}
	if s := i.Stats(); s.Opaque != 300 || s.Packets != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSmallDatagramsAreNotHeldForLong(t *testing.T) {
	i := mpegts.NewIngest()
	var out []media.Packet
	for n := range 3 {
		out = i.Push([]byte("hello"), start.Add(time.Duration(n)*600*time.Millisecond), []byte{0x80}, out)
	}
	if len(out) != 3 || out[0].Header[0] != 0x80 || !out[0].Arrival.Equal(start) {
		t.Errorf("after 1.2 s %d of 3 datagrams came out", len(out))
	}
}

func TestKindChangesBringANewFormat(t *testing.T) {
	g := relaytest.NewDatagrams(1)
	var in [][]byte
	for range 100 {
		in = append(in, g.Next())
	}
	in = append(in, generate(5, 100)...)
	for range 300 {
		in = append(in, g.Next())
	}
	i := mpegts.NewIngest()
	var kinds []media.Kind
	var last *media.Format
	for _, p := range push(i, in...) {
		if p.Format != last {
			kinds = append(kinds, p.Format.Kind)
			last = p.Format
		}
	}
	if len(kinds) != 3 || kinds[0] != media.Datagram || kinds[1] != media.TS || kinds[2] != media.Datagram {
		t.Errorf("kinds: %v", kinds)
	}
}

func TestRestartIsANewSession(t *testing.T) {
	i := mpegts.NewIngest()
	first := push(i, generate(6, 10)...)
	i.Restart()
	second := push(i, generate(6, 10)...)
	if len(first) != 10 || len(second) != 10 || first[0].Format == second[0].Format {
		t.Errorf("%d and %d datagrams, formats %p %p", len(first), len(second), first[0].Format, second[0].Format)
	}
	if s := i.Stats(); s.Continuity != 0 {
		t.Errorf("the restart was counted as a jump: %+v", s)
	}
}

func TestPushedMemoryMayBeUsedAgain(t *testing.T) {
	i := mpegts.NewIngest()
	in := generate(7, 50)
	buf, header := make([]byte, 2000), make([]byte, 12)
	var out []media.Packet
	for n, d := range in {
		copy(buf, d)
		header[0] = byte(n)
		out = i.Push(buf[:len(d)], start, header, out)
		clear(buf)
		header[0] = 0xFF
	}
	if !bytes.Equal(join(out), bytes.Join(in, nil)) || out[49].Header[0] != 49 || out[0].Header[0] != 0 {
		t.Error("packets change with the caller's buffer")
	}
}

func TestContinuityErrorsAreCounted(t *testing.T) {
	in := generate(8, 100)
	in = append(in[:50:50], in[51:]...) // marker, video and perhaps audio jump
	i := mpegts.NewIngest()
	push(i, in...)
	if n := i.Stats().Continuity; n < 2 || n > 6 {
		t.Errorf("%d jumps", n)
	}
}

// Payload memory is cut from slabs: far less than one allocation a datagram.
func TestIngestAllocatesSlabsOnly(t *testing.T) {
	in := generate(9, 500)
	i := mpegts.NewIngest()
	out := push(i, in...)
	n := 0
	got := testing.AllocsPerRun(5000, func() {
		out = i.Push(in[n%500], start, nil, out[:0])
		n++
	})
	if got > 0.1 {
		t.Errorf("%.2f allocations a datagram", got)
	}
	pieces := cut(bytes.Join(in, nil)[60:], func() int { return 1300 })
	i = mpegts.NewIngest()
	out = push(i, pieces...)
	got = testing.AllocsPerRun(5000, func() {
		out = i.Push(pieces[n%len(pieces)], start, nil, out[:0])
		n++
	})
	if got > 0.1 {
		t.Errorf("out of alignment: %.2f allocations a datagram", got)
	}
}

func BenchmarkIngest(b *testing.B) {
	in := generate(1, 1000)
	for name, payloads := range map[string][][]byte{
		"aligned":   in,
		"unaligned": cut(bytes.Join(in, nil)[60:], func() int { return 1316 }),
	} {
		b.Run(name, func(b *testing.B) {
			i := mpegts.NewIngest()
			out := push(i, payloads...)
			b.SetBytes(1316)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				out = i.Push(payloads[n%1000], start, nil, out[:0])
				n++
			}
		})
	}
}
