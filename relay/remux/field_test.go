package remux_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// bitString is bits, one in a byte.
type bitString []byte

func (b *bitString) u(n int, v uint32) {
	for n--; n >= 0; n-- {
		*b = append(*b, byte(v>>n&1))
	}
}

// ue writes Exp-Golomb codes (H.264 section 9.1).
func (b *bitString) ue(values ...uint32) {
	for _, v := range values {
		n := 0
		for (v+1)>>(n+1) > 0 {
			n++
		}
		b.u(n, 0)
		b.u(n+1, v+1)
	}
}

// nal makes a NAL unit, after a start code, with trailing bits and emulation
// prevention.
func (b bitString) nal(head byte) []byte {
	b = append(b, 1)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	out, zeros := []byte{0, 0, 0, 1, head}, 0
	for ; len(b) > 0; b = b[8:] {
		var c byte
		for _, bit := range b[:8] {
			c = c<<1 | bit
		}
		if zeros >= 2 && c <= 3 {
			out, zeros = append(out, 3), 0
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// A camera makes H.264 of 64 x 64 with field pictures, which no encoder at hand
// does: macroblocks of plain samples, and fields that repeat the one before.
type camera struct {
	random *rand.Rand
	bottom bool // the bottom field comes first
}

const (
	cameraWidth = 4 // in macroblocks
	cameraField = 2 // height of a field
	cameraGroup = 7 // frames from one IDR picture to the next
)

// sets are SPS and PPS.
func (camera) sets() []byte {
	var s bitString
	s.u(8, 77) // Main
	s.u(8, 0)
	s.u(8, 30)
	s.ue(0, 0, 0, 4, 2)                // id; frame_num of 4 bits; POC of type 0 and 8 bits; 2 reference frames
	s.u(1, 0)                          // no gaps
	s.ue(cameraWidth-1, cameraField-1) // map units are pairs of macroblocks
	s.u(2, 0)                          // frame_mbs_only_flag, mb_adaptive_frame_field_flag
	s.u(2, 2)                          // direct_8x8_inference_flag, no cropping
	s.u(1, 1)                          // VUI
	s.u(4, 0)
	s.u(1, 1)
	s.u(32, 1)
	s.u(32, 50)
	s.u(1, 1)
	s.u(3, 0)
	s.u(2, 3) // bitstream_restriction
	s.ue(0, 0, 10, 10, 1, 2)
	var p bitString
	p.ue(0, 0)
	p.u(2, 0)
	p.ue(0, 0, 0)
	p.u(3, 0)
	p.ue(0, 0, 0)
	p.u(3, 4) // deblocking_filter_control_present_flag
	return append(s.nal(0x67), p.nal(0x68)...)
}

// picture makes a slice that is a field, or a frame.
func (c camera) picture(idr, repeat bool, ref byte, frameNum, poc uint32, isField, bottom bool) []byte {
	var s bitString
	kind, macroblocks := uint32(7), cameraWidth*cameraField
	if repeat {
		kind = 5
	}
	s.ue(0, kind, 0)
	s.u(4, frameNum)
	if s.u(1, 0); isField {
		s[len(s)-1] = 1
		if s.u(1, 0); bottom {
			s[len(s)-1] = 1
		}
	} else {
		macroblocks *= 2
	}
	head := ref<<5 | 1
	if idr {
		head = ref<<5 | 5
		s.ue(0)
	}
	s.u(8, poc)
	if repeat {
		s.u(2, 0)
	}
	switch {
	case idr:
		s.u(2, 0)
	case ref > 0:
		s.u(1, 0)
	}
	s.ue(0, 1) // slice_qp_delta, disable_deblocking_filter_idc
	if repeat {
		s.ue(uint32(macroblocks)) // mb_skip_run
		return s.nal(head)
	}
	for range macroblocks {
		s.ue(25) // I_PCM
		for len(s)%8 != 0 {
			s = append(s, 0)
		}
		for range 384 {
			s.u(8, 1+c.random.Uint32N(255))
		}
	}
	return s.nal(head)
}

// A shot is a frame of one or two pictures.
type shot struct {
	pts, dts int64 // milliseconds
	key      bool
	pictures [][]byte
}

// shoot makes frames at 25 in a second in the order of decoding: I0 P2 B1 P4 B3
// and so on. Those of which whole is true are one picture.
func (c camera) shoot(n int, whole func(i int) bool) (shots []shot) {
	frameNum := uint32(0)
	for i := range n {
		group, at := i/cameraGroup, i%cameraGroup
		shown, ref := at, byte(0)
		switch {
		case at == 0:
			frameNum, ref = 0, 3
		case at%2 == 1: // a P picture, before the B picture that is shown first
			shown, ref = at+1, 2
			frameNum++
		default:
			shown = at - 1
		}
		number := frameNum
		if ref == 0 {
			number++
		}
		s := shot{pts: 1000 + int64(group*cameraGroup+shown)*40, dts: 960 + int64(i)*40, key: at == 0}
		poc := uint32(2 * shown)
		if whole(i) {
			s.pictures = [][]byte{c.picture(at == 0, false, ref, number, poc, false, false)}
		} else {
			s.pictures = [][]byte{
				c.picture(at == 0, false, ref, number, poc, true, c.bottom),
				// The second field of some is predicted from the first.
				c.picture(false, ref > 0 && i%3 == 0, ref, number, poc+1, true, !c.bottom),
			}
		}
		shots = append(shots, s)
	}
	return shots
}

// Two field pictures arrive as the one message of their frame, at the time of
// the first, however the transport stream cuts them.
func TestFieldPictures(t *testing.T) {
	delimiter := []byte{0, 0, 0, 1, 0x09, 0xF0}
	fields := func(int) bool { return false }
	for _, tt := range []struct {
		name   string
		camera camera
		whole  func(int) bool
		add    func(b *bench, s shot, sets []byte)
	}{
		{"each in a packet of its own", camera{}, fields, nil},
		{"bottom field first", camera{bottom: true}, fields, nil},
		{"frames among them", camera{}, func(i int) bool { return i%5 < 2 }, nil},
		{"the second without a time", camera{}, fields, func(b *bench, s shot, sets []byte) {
			b.ordered(s.pts, s.dts, append(append(append([]byte(nil), delimiter...), sets...), s.pictures[0]...))
			b.unit(-1, append(append([]byte(nil), delimiter...), s.pictures[1]...))
		}},
		{"both in a packet", camera{}, fields, func(b *bench, s shot, sets []byte) {
			u := append(append(append([]byte(nil), delimiter...), sets...), s.pictures[0]...)
			b.ordered(s.pts, s.dts, append(append(u, delimiter...), s.pictures[1]...))
		}},
		{"both in a packet without a delimiter", camera{}, fields, func(b *bench, s shot, sets []byte) {
			u := append(append(append([]byte(nil), delimiter...), sets...), s.pictures[0]...)
			b.ordered(s.pts, s.dts, append(u, s.pictures[1]...))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.add == nil {
				tt.add = addFields
			}
			tt.camera.random = rand.New(rand.NewPCG(5, 6))
			b := newBench(mpegts.Stream{Type: mpegts.H264})
			shots := tt.camera.shoot(70, tt.whole)
			for _, s := range shots {
				var sets []byte
				if s.key {
					sets = tt.camera.sets()
				}
				tt.add(b, s, sets)
			}
			out, d := b.messages(t)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 || len(out) != len(shots) {
				t.Fatalf("%d messages of %d frames, %+v", len(out), len(shots), c)
			}
			checkShots(t, out, shots)
			if s := d.Streams()[0].Streams[0]; s.Width != 64 || s.Height != 64 || s.FrameRate != 25 {
				t.Errorf("%+v", s)
			}
			dir := t.TempDir()
			before, flv, after := filepath.Join(dir, "before.ts"), filepath.Join(dir, "out.flv"), filepath.Join(dir, "after.ts")
			if err := os.WriteFile(before, b.data, 0o600); err != nil {
				t.Fatal(err)
			}
			writeFLV(t, flv, out)
			compareFiles(t, before, flv, source{video: x264})
			for i := range out {
				out[i].Arrival = time.Unix(1000, 0).Add(time.Duration(out[i].DTS) * time.Second / 90000)
			}
			made, _ := mux(out)
			again := checkTS(t, made)
			if err := os.WriteFile(after, again, 0o600); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, before, after, source{video: x264})
			back, _ := demux(t, remux.Options{}, again)
			if len(back) != len(out) {
				t.Errorf("%d messages come back, want %d", len(back), len(out))
			}
			checkShots(t, back, shots)
		})
	}
}

// addFields adds a frame with a PES packet for each field.
func addFields(b *bench, s shot, sets []byte) {
	for i, p := range s.pictures {
		later := int64(20 * i)
		b.ordered(s.pts+later, s.dts+later, append(append([]byte{0, 0, 0, 1, 0x09, 0xF0}, sets...), p...))
		sets = nil
	}
}

// checkShots holds messages against the frames that they are of.
func checkShots(t *testing.T, out []media.Packet, shots []shot) {
	t.Helper()
	for i := range min(len(out), len(shots)) {
		p, s := out[i], shots[i]
		size := 5
		for _, one := range s.pictures {
			size += len(one) // a length instead of the start code
		}
		if p.DTS/90 != s.dts-960 || p.PTS/90 != s.pts-960 || p.RandomAccess != s.key || len(p.Data) != size {
			t.Fatalf("message %d: DTS %d, PTS %d ms, key %v, %d bytes; want %d, %d, %v, %d",
				i, p.DTS/90, p.PTS/90, p.RandomAccess, len(p.Data), s.dts-960, s.pts-960, s.key, size)
		}
	}
}

// A field whose other is lost goes alone, and those after it are not put
// together wrongly.
func TestLostFields(t *testing.T) {
	c := camera{random: rand.New(rand.NewPCG(5, 6))}
	shots := c.shoot(70, func(int) bool { return false })
	for _, lost := range [][]int{{30}, {35}, {40, 41}, {41, 42}, {51, 52, 53}, {20, 33, 47}, {46, 50}, {33, 34}} { // fields, by their number
		b := newBench(mpegts.Stream{Type: mpegts.H264})
		missing := map[int]bool{}
		for _, n := range lost {
			missing[n] = true
		}
		want := map[int64]int{} // NAL units by PTS
		for i, s := range shots {
			var sets []byte
			if s.key {
				sets = c.sets()
			}
			at, cc := len(b.data), b.cc
			addFields(b, s, sets)
			whole := b.data[at:]
			b.data = b.data[:at]
			field := 2*i - 1
			for ; len(whole) > 0; whole = whole[188:] {
				p := mpegts.Packet(whole[:188])
				if p.UnitStart() {
					field++
				}
				// One packet in the middle is lost, not at the ends.
				if missing[field] && p.Continuity() == (cc+10)&15 {
					continue
				}
				b.data = append(b.data, p...)
				if p.UnitStart() {
					cc = p.Continuity()
					if !missing[field] {
						pts := s.pts - 960
						if field%2 == 1 && missing[field-1] {
							pts += 20
						}
						want[pts]++
					}
				}
			}
		}
		out, d := b.messages(t)
		if c := d.Counters(); c.Dropped["damaged"] != uint64(len(lost)) || len(c.Dropped) != 1 || c.Jumps > 0 {
			t.Errorf("%v: %+v", lost, c)
		}
		got := map[int64]int{}
		for _, p := range out {
			for n := p.Data[5:]; len(n) > 0; got[p.PTS/90]++ {
				n = n[4+(int(n[1])<<16|int(n[2])<<8|int(n[3])):]
			}
		}
		for pts, n := range want {
			if got[pts] != n {
				t.Errorf("%v: the message at %d ms has %d fields, want %d", lost, pts, got[pts], n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v: %d messages, want %d", lost, len(got), len(want))
		}
	}
}

// A field that has no other is a frame of its own, though one of the other
// parity follows.
func TestSingleField(t *testing.T) {
	c := camera{random: rand.New(rand.NewPCG(5, 6))}
	field := func(idr bool, frameNum, poc uint32, bottom bool) []byte {
		return c.picture(idr, false, 2, frameNum, poc, true, bottom)
	}
	shots := []shot{
		{1000, 960, true, [][]byte{field(true, 0, 0, false), field(false, 0, 1, true)}},
		{1040, 1000, false, [][]byte{field(false, 1, 2, false)}},
		{1080, 1040, false, [][]byte{field(false, 2, 5, true), field(false, 2, 4, false)}},
		{1120, 1080, false, [][]byte{field(false, 3, 6, false)}},
		{1160, 1120, true, [][]byte{field(true, 0, 0, true), field(false, 0, 1, false)}},
		{1200, 1160, false, [][]byte{field(false, 1, 2, true)}},
	}
	b := newBench(mpegts.Stream{Type: mpegts.H264})
	for _, s := range shots {
		var sets []byte
		if s.key {
			sets = c.sets()
		}
		addFields(b, s, sets)
	}
	out, d := b.messages(t)
	if len(out) != len(shots) || len(d.Counters().Dropped) > 0 {
		t.Fatalf("%d messages, want %d; %+v", len(out), len(shots), d.Counters())
	}
	checkShots(t, out, shots)
}
