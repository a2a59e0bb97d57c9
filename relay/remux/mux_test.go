package remux_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// messages of a publisher, with which tests do as they like.
func published(t *testing.T) (file string, packets []media.Packet) {
	t.Helper()
	s := source{seconds: 3, video: append(x264, "-g", "25", "-bf", "2"), audio: aac, format: "flv"}
	file, _ = s.make(t)
	return file, readFLV(t, file)
}

// Where the times of messages pass 2^33 and 2^32 of 90 kHz, those of the
// transport stream begin anew, and nothing else changes.
func TestMuxWraps(t *testing.T) {
	file, packets := published(t)
	for _, begin := range []int64{1<<33 - 1400*90 - 90000, 1<<32 - 1400*90 - 90000} {
		begin -= begin % 90
		for i := range packets {
			packets[i].DTS += begin
			packets[i].PTS += begin
		}
		out, m := mux(packets)
		for i := range packets {
			packets[i].DTS -= begin
			packets[i].PTS -= begin
		}
		if c := m.Counters(); c.Jumps > 0 || c.Dropped["before_key"] > 0 {
			t.Errorf("%+v", c)
		}
		var all []byte
		for _, p := range out {
			all = append(all, p.Data...)
		}
		after := filepath.Join(t.TempDir(), "out.ts")
		if err := os.WriteFile(after, all, 0o600); err != nil {
			t.Fatal(err)
		}
		compareFiles(t, file, after, source{video: x264, audio: aac})
	}
}

// stats of a muxed stream.
type muxed struct {
	late, discontinuities int
	versions              map[byte]bool
	formats               []*media.Format
}

func inspect(out []media.Packet) (s muxed) {
	clock := int64(-1)
	s.versions = map[byte]bool{}
	var pes [2]mpegts.PES
	for _, d := range out {
		if n := len(s.formats); n == 0 || s.formats[n-1] != d.Format {
			s.formats = append(s.formats, d.Format)
		}
		for b := d.Data; len(b) > 0; b = b[188:] {
			p := mpegts.Packet(b[:188])
			if p.PID() == 0x1000 {
				s.versions[p.Payload()[6]>>1&31] = true
			}
			if p.Discontinuity() {
				s.discontinuities++
			}
			if c, ok := p.PCR(); ok {
				clock = c
			}
			if i := int(p.PID()) - 0x100; i == 0 || i == 1 {
				pes[i].Push(p, d.Arrival, func(u *mpegts.Unit) {
					if u.DTS*300 < clock {
						s.late++
					}
				})
			}
		}
	}
	return s
}

// A publisher whose audio comes late, or whose video does, makes the clock run
// further behind: after that no frame is late.
func TestMuxSkew(t *testing.T) {
	_, packets := published(t)
	for _, track := range []int{media.Audio, media.Video} {
		m := remux.NewMux()
		var out []media.Packet
		add := func(p media.Packet) { out = append(out, p) }
		const behind = 300 * time.Millisecond
		var own, other []media.Packet
		for _, p := range packets {
			if p.Track == track {
				p.Arrival = p.Arrival.Add(behind)
				own = append(own, p)
			} else {
				other = append(other, p)
			}
		}
		for len(own)+len(other) > 0 {
			from := &own
			if len(own) == 0 || len(other) > 0 && other[0].Arrival.Before(own[0].Arrival) {
				from = &other
			}
			m.Feed((*from)[0], add)
			m.Tick((*from)[0].Arrival.Add(5*time.Millisecond), add)
			*from = (*from)[1:]
		}
		s := inspect(out)
		half := inspect(out[len(out)/3:])
		if s.late > 30 || half.late > 0 || s.discontinuities > 0 || m.Counters().Jumps > 0 {
			t.Errorf("track %d behind: %d frames late, %d of them in the second half; %d discontinuities", track, s.late, half.late, s.discontinuities)
		}
		t.Logf("track %d: %d late", track, s.late)
	}
}

// A publisher that comes again is a new format, in which counters go on; times
// that go on as a Flow lets them are no jump, and others are marked.
func TestMuxRestart(t *testing.T) {
	_, packets := published(t)
	for _, step := range []int64{0, 60_000 * 90} {
		m := remux.NewMux()
		var out []media.Packet
		add := func(p media.Packet) { out = append(out, p) }
		offset, now := int64(0), time.Unix(1000, 0)
		for range 3 {
			format := &media.Format{Kind: media.FLV, Clock: &media.Clock{}, Headers: packets[0].Format.Headers}
			for _, p := range packets {
				p.Arrival = now.Add(time.Duration(p.DTS) * time.Second / 90000)
				p.Format, p.DTS, p.PTS = format, p.DTS+offset, p.PTS+offset
				m.Feed(p, add)
			}
			offset += 3200*90 + step
			now = now.Add(3200 * time.Millisecond)
		}
		s := inspect(out)
		want := 0
		if step != 0 {
			want = 2
		}
		if len(s.formats) != 3 || s.discontinuities != want || m.Counters().Jumps != uint64(want) || s.late > 0 || len(s.versions) != 1 {
			t.Errorf("step %d: %d formats, %d discontinuities, %d late, %+v", step, len(s.formats), s.discontinuities, s.late, m.Counters())
		}
		var continuity mpegts.Continuity
		for _, d := range out {
			for b := d.Data; len(b) > 0; b = b[188:] {
				if !continuity.Check(mpegts.Packet(b[:188])) {
					t.Fatal("a counter jumps")
				}
			}
		}
	}
}

// A track that comes later is in a new version of the table; codecs without a
// place are told and counted, and break nothing.
func TestMuxTracks(t *testing.T) {
	_, packets := published(t)
	m := remux.NewMux()
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	f := packets[0].Format
	var video, speex int
	only := &media.Format{Kind: media.FLV, Clock: f.Clock}
	for _, h := range f.Headers {
		if h.Track == media.Video {
			only.Headers = append(only.Headers, h)
		}
	}
	for _, p := range packets {
		late := p.DTS > 1500*90
		switch {
		case p.Track == media.Video && late:
			p.Format = f
		case p.Track == media.Video:
			p.Format = only
			video++
		case late:
			p.Format = f
		case p.DTS > 1000*90: // a codec that MPEG-TS has not
			p.Format, p.Data = only, []byte{0xB2, 1, 2, 3}
			speex++
		default:
			continue
		}
		m.Feed(p, add)
		if speex == 5 {
			s := m.Streams()[0].Streams
			if len(s) != 2 || s[1].Carried || s[1].Reason == "" || s[1].Codec != "speex" {
				t.Errorf("%+v", s)
			}
		}
	}
	m.Flush(add)
	checkTS(t, out)
	if s := inspect(out); len(s.versions) != 2 || len(s.formats) != 1 {
		t.Errorf("versions %v", s.versions)
	}
	c := m.Counters()
	if c.Dropped["codec"] != uint64(speex) || speex == 0 || c.Frames == 0 {
		t.Errorf("%+v", c)
	}
	s := m.Streams()[0].Streams
	if len(s) != 2 || !s[0].Carried || !s[1].Carried || s[1].Codec != "mp4a" || s[1].SampleRate != 48000 || s[0].FrameRate != 25 {
		t.Errorf("%+v", s)
	}
}

// Of several tracks in a message the first is carried.
func TestMuxMultitrack(t *testing.T) {
	m := remux.NewMux()
	var out []media.Packet
	add := func(p media.Packet) { out = append(out, p) }
	f := &media.Format{Kind: media.FLV, Clock: &media.Clock{}, Headers: []media.Header{
		{Track: media.Audio, Data: []byte("\x95\x10mp4a\x00\x00\x00\x02\x11\x90\x01\x00\x00\x02\x11\x90")},
	}}
	for i := range int64(40) {
		m.Feed(media.Packet{
			Format: f, Track: media.Audio, DTS: i * 1920, PTS: i * 1920, Arrival: time.Unix(0, i*int64(64*time.Millisecond)/3),
			Data: []byte("\x95\x11mp4a\x00\x00\x00\x03one\x01\x00\x00\x03two"),
		}, add)
	}
	m.Flush(add)
	back, _ := demux(t, remux.Options{}, checkTS(t, out))
	if len(back) != 40 || string(back[0].Data) != "\xAF\x01one" {
		t.Errorf("%d messages", len(back))
	}
	if c := m.Counters(); c.Dropped["second_track"] != 40 || c.Frames != 40 {
		t.Errorf("%+v", c)
	}
}
