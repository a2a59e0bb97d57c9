package remux_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// Garbage within a transport stream costs what it touches, and no frame more:
// mpegts.Ingest finds the packets again, and Demux puts out every frame of
// which all packets came, once, unchanged and in its place.
func TestGarbage(t *testing.T) {
	_, data := source{seconds: 4, video: append(x264, "-g", "25", "-bf", "2", "-b:v", "600k"), audio: aac}.make(t)
	whole, _ := demux(t, remux.Options{}, data)
	times := map[frameKey]int64{}
	for _, p := range whole {
		times[key(p)] = p.PTS
	}
	random := rand.New(rand.NewPCG(7, 8))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	syncs := func(n, every int) []byte {
		b := noise(n)
		for i := 0; i < n; i += every {
			b[i] = mpegts.SyncByte
		}
		return b
	}
	for _, tt := range []struct {
		name string
		// disturb returns what comes in the place of a packet, and whether the
		// packet is still among it.
		disturb func(p []byte) (b []byte, kept bool)
	}{
		{"bytes between packets", func(p []byte) ([]byte, bool) { return append(noise(1+random.IntN(600)), p...), true }},
		{"one byte too many", func(p []byte) ([]byte, bool) { return append([]byte{0}, p...), true }},
		{"a cut packet", func(p []byte) ([]byte, bool) { return p[:1+random.IntN(187)], false }},
		{"a packet without its beginning", func(p []byte) ([]byte, bool) { return p[1+random.IntN(187):], false }},
		{"a packet with a hole", func(p []byte) ([]byte, bool) { return append(bytes.Clone(p[:50]), p[60:]...), false }},
		{"sync bytes in garbage", func(p []byte) ([]byte, bool) { return append(syncs(300+random.IntN(300), 47), p...), true }},
		{"garbage of sync bytes", func(p []byte) ([]byte, bool) {
			return append(bytes.Repeat([]byte{mpegts.SyncByte}, 1+random.IntN(400)), p...), true
		}},
		{"garbage that looks like packets", func(p []byte) ([]byte, bool) { return append(syncs(188*2+100, 188), p...), true }},
		{"garbage of the length of packets", func(p []byte) ([]byte, bool) { return append(noise(188*3), p...), true }},
	} {
		for _, datagram := range []int{1316, 188, 1000, 1460} {
			var stream []byte
			if datagram == 188 { // so that none is a packet
				stream = []byte{0}
			}
			lost := map[uint16][]bool{} // of the units of each PID, in order
			mark := func(p mpegts.Packet) {
				if n := len(lost[p.PID()]); n > 0 {
					lost[p.PID()][n-1] = true
				}
			}
			places := 0
			for o := 0; o < len(data); o += 188 {
				p := mpegts.Packet(data[o : o+188])
				// Not at the end of an aligned datagram: that has gone on before
				// anything tells that its last packet is cut.
				here := o/188%41 == 40 && (len(stream)+188)%datagram != 0
				if here { // the packet before garbage is not known to be one: no other follows it
					mark(mpegts.Packet(data[o-188 : o]))
				}
				if p.UnitStart() {
					lost[p.PID()] = append(lost[p.PID()], false)
				}
				if !here {
					stream = append(stream, p...)
					continue
				}
				places++
				b, kept := tt.disturb(p)
				stream = append(stream, b...)
				if !kept {
					mark(p)
				}
			}
			i, d := mpegts.NewIngest(), remux.NewDemux(remux.Options{})
			var out, packets []media.Packet
			add := func(p media.Packet) { out = append(out, p) }
			now := time.Unix(1000, 0)
			each := 4 * time.Second * time.Duration(datagram) / time.Duration(len(stream))
			for ; len(stream) > 0; stream = stream[min(datagram, len(stream)):] {
				packets = i.Push(stream[:min(datagram, len(stream))], now, nil, packets[:0])
				for _, p := range packets {
					d.Feed(p, add)
				}
				now = now.Add(each)
			}
			d.Flush(add)
			checkOrder(t, out)

			var offset int64
			seen := map[frameKey]bool{}
			pictures := 0
			for n, p := range out {
				k := key(p)
				pts, known := times[k]
				if !known || seen[k] {
					t.Fatalf("%s, %d: a frame of track %d that was not in the stream, or a second time", tt.name, datagram, p.Track)
				}
				seen[k] = true
				if n == 0 {
					offset = p.PTS - pts
				}
				if d := p.PTS - pts - offset; d < -90 || d > 90 {
					t.Fatalf("%s, %d: a frame is %d ms from its place", tt.name, datagram, d/90)
				}
				if p.Track == media.Video {
					pictures++
				}
			}
			intact := 0
			for _, l := range lost[0x100] {
				if !l {
					intact++
				}
			}
			s, c := i.Stats(), d.Counters()
			if pictures < intact || places < 10 || c.Jumps > 0 || c.Repaired > 0 {
				t.Errorf("%s, %d: %d pictures of %d that are whole of %d, %d places; %+v, %+v", tt.name, datagram, pictures, intact, len(lost[0x100]), places, s, c)
			}
		}
	}
}
