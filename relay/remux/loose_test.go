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

// Where PES packets begin anywhere in a picture, only the first of the pictures
// that one cuts is lost; after that they are put together across packets.
func TestPacketsThatBeginAnywhere(t *testing.T) {
	for name, video := range map[string][]string{"H.264": append(x264, "-g", "25", "-bf", "2"), "HEVC": x265} {
		_, data := source{seconds: 8, video: video}.make(t)
		whole, _ := demux(t, remux.Options{}, data)
		type au struct {
			pts, dts int64
			data     []byte
		}
		var units []au
		var pes mpegts.PES
		each := func(u *mpegts.Unit) { units = append(units, au{u.PTS / 90, u.DTS / 90, bytes.Clone(u.Data)}) }
		for b := data; len(b) > 0; b = b[188:] {
			if p := mpegts.Packet(b[:188]); p.PID() == 0x100 {
				pes.Push(p, time.Time{}, each)
			}
		}
		pes.Flush(each)
		if len(units) != 200 || len(whole) != 200 {
			t.Fatalf("%d units, %d messages", len(units), len(whole))
		}
		stream := mpegts.Stream{Type: mpegts.H264}
		if name == "HEVC" {
			stream.Type = mpegts.HEVC
		}
		random := rand.New(rand.NewPCG(9, 9))
		b := newBench(stream)
		const from, to = 11, 60 // the pictures that are cut
		spans := 0
		var carry []byte // the end of the picture before
		for i, u := range units {
			d := append(carry, u.data...)
			carry = nil
			if i >= from && i < to {
				if n := random.IntN(len(u.data) - 1); i%7 == 3 {
					// Some go on over a packet that has no beginning of one.
					spans++
					b.endless(u.pts, u.dts, d[:len(d)-n])
					half := d[len(d)-n:]
					if len(half) > 20 {
						b.endless(-1, -1, half[:len(half)/2])
						half = half[len(half)/2:]
					}
					carry = bytes.Clone(half)
					continue
				} else {
					carry = bytes.Clone(d[len(d)-n:])
					d = d[:len(d)-n]
				}
			}
			b.endless(u.pts, u.dts, d)
		}
		d := remux.NewDemux(remux.Options{})
		var out []media.Packet
		add := func(p media.Packet) { out = append(out, p) }
		newPacer().feed(d, b.data, 8*time.Second, add)
		d.Tick(time.Unix(1020, 0), add) // the last packet is whole
		if len(out) != 200 {
			t.Errorf("%s: %d pictures, and the stream is orderly again: none is held back", name, len(out))
		}
		d.Flush(add)
		checkOrder(t, out)
		times := map[frameKey]int64{}
		for _, p := range whole {
			times[key(p)] = p.PTS
		}
		unknown := 0
		for _, p := range out {
			pts, known := times[key(p)]
			if !known {
				unknown++
				continue
			}
			if d := p.PTS - pts; d < -90 || d > 90 {
				t.Fatalf("%s: a picture is %d ms from its place", name, d/90)
			}
			delete(times, key(p))
		}
		c := d.Counters()
		if len(times) != 1 || unknown > 1 || c.Dropped["damaged"] != 1 || len(c.Dropped) > 1 || spans == 0 {
			t.Errorf("%s: %d pictures are missing, %d are others; %+v", name, len(times), unknown, c)
		}
	}
}

// A picture that goes on over packet after packet is given up: what is kept of
// it is copied for each.
func TestPictureOverManyPackets(t *testing.T) {
	delimiter, picture := "\x00\x00\x00\x01\x09\xF0", "\x00\x00\x01\x41\x9A\x07\x07\x07"
	for packets, want := range map[int]uint64{30: 0, 33: 1, 70: 1} {
		b := newBench(mpegts.Stream{Type: mpegts.H264})
		b.endless(1000, 1000, []byte(delimiter+"\x00\x00\x01\x67\x42\xC0\x1E\xD9\x40\x00\x00\x01\x68\xCE\x3C\x80\x00\x00\x01\x65\x88\x84"))
		b.endless(1040, 1040, []byte("\x07\x07"+delimiter+picture)) // that is one such
		for range packets {
			b.endless(-1, -1, bytes.Repeat([]byte{7}, 100))
		}
		b.endless(1080, 1080, []byte(delimiter+picture))
		b.endless(1120, 1120, []byte(delimiter+picture))
		out, d := b.messages(t)
		if n := len(out); d.Counters().Dropped["oversize"] != want || n != 4-int(want) || out[n-1].DTS != 120*90 {
			t.Errorf("%d packets: %d messages, %+v", packets, n, d.Counters())
		}
	}
}
