package remux_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// passes tells whether PTS and DTS of a stream's video go past mark, of 33 bits,
// while it runs, and whether there is a picture whose PTS is beyond it and whose
// DTS is not yet.
func passes(data []byte, mark int64) (through, astride bool) {
	var pes mpegts.PES
	before, after := false, false
	side := func(t int64) bool { // beyond the mark, by less than an hour
		return (t-mark)&(1<<33-1) < 3600*90000
	}
	each := func(u *mpegts.Unit) {
		before = before || !side(u.PTS) && !side(u.DTS)
		after = after || side(u.PTS) && side(u.DTS)
		astride = astride || side(u.PTS) && !side(u.DTS)
	}
	for b := data; len(b) > 0; b = b[mpegts.PacketSize:] {
		if p := mpegts.Packet(b[:mpegts.PacketSize]); p.PID() == 0x100 {
			pes.Push(p, time.Time{}, each)
		}
	}
	pes.Flush(each)
	return before && after, astride
}

// lead is the most that the DTS of a picture is ahead of the clock when it
// begins, on a circle of 33 bits.
func lead(data []byte) (most int64) {
	clock, clocked := int64(0), false
	for b := data; len(b) > 0; b = b[mpegts.PacketSize:] {
		p := mpegts.Packet(b[:mpegts.PacketSize])
		if c, ok := p.PCR(); ok {
			clock, clocked = c/300, true
		}
		if p.PID() == 0x100 && p.UnitStart() && clocked {
			var pes mpegts.PES
			pes.Push(p, time.Time{}, func(*mpegts.Unit) {})
			pes.Flush(func(u *mpegts.Unit) { most = max(most, (u.DTS-clock)&(1<<33-1)) })
		}
	}
	return most
}

// After 13 h 15 min the clock of 90 kHz passes 2^32, and after 26 h 30 min it
// begins anew: there and back, frames stay what and where they are, though
// pictures are out of order as it passes.
func TestClockMarks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mark   int64
		offset string // seconds at which the source begins: a second before, and ffmpeg adds its delay
	}{
		{"13.25 h", 1 << 32, "47720.8"},
		{"26.5 h", 1 << 33, "95442.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := source{rate: "30000/1001", sound: 44100, video: append(x264, "-g", "15", "-bf", "3", "-x264-params", "b-adapt=0:open-gop=1:keyint=15:scenecut=0"), audio: aac}
			s.mux = []string{"-output_ts_offset", tt.offset, "-mpegts_copyts", "1"}
			file, data := s.make(t)
			if through, astride := passes(data, tt.mark); !through || !astride {
				t.Fatalf("the source does not pass the mark: %v, %v", through, astride)
			}
			out, d := demux(t, remux.Options{Hold: 500 * time.Millisecond}, data)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			dir := t.TempDir()
			flv, after := filepath.Join(dir, "out.flv"), filepath.Join(dir, "out.ts")
			writeFLV(t, flv, out)
			compareFiles(t, file, flv, s)

			// And back, at a time at which the clock of what is made passes it.
			begin := tt.mark - 1400*90 - 90000
			begin -= begin % 90
			for i := range out {
				p := &out[i]
				p.Arrival = time.Unix(1000, 0).Add(time.Duration(p.DTS) * time.Second / 90000)
				p.DTS, p.PTS = p.DTS+begin, p.PTS+begin
			}
			made, m := mux(out)
			if c := m.Counters(); len(c.Dropped) > 0 || c.Jumps > 0 {
				t.Errorf("%+v", c)
			}
			var all []byte
			for _, p := range made {
				all = append(all, p.Data...)
			}
			if through, astride := passes(all, tt.mark); !through || !astride {
				t.Fatalf("what is made does not pass the mark: %v, %v", through, astride)
			}
			if s := inspect(made); s.discontinuities > 0 {
				t.Errorf("%d discontinuities", s.discontinuities)
			}
			if most := lead(all); most < 0 || most > 90000 {
				t.Errorf("a picture is %d ms ahead of the clock", most/90)
			}
			if err := os.WriteFile(after, all, 0o600); err != nil {
				t.Fatal(err)
			}
			compareFiles(t, file, after, s)
			again, d := demux(t, remux.Options{Hold: 500 * time.Millisecond}, all)
			if c := d.Counters(); len(c.Dropped) > 0 || c.Repaired > 0 || c.Jumps > 0 || len(again) != len(out) {
				t.Errorf("%d messages of %d, %+v", len(again), len(out), c)
			}
		})
	}
}
