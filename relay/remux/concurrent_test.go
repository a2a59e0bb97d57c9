package remux_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/remux"
)

// Reports may be read while the stage is at work: what they hold is whole, and
// counters only rise.
func TestReportsWhileAtWork(t *testing.T) {
	_, data := source{seconds: 4, video: append(x264, "-g", "25", "-bf", "2"), audio: aac}.make(t)
	_, other := source{seconds: 1, video: append(x264, "-g", "25", "-vf", "scale=160:90"), audio: aac, mux: []string{"-mpegts_start_pid", "0x200"}}.make(t)
	d, m := remux.NewDemux(remux.Options{}), remux.NewMux()

	var readers sync.WaitGroup
	done, looked := make(chan struct{}), make(chan struct{})
	look := func(streams func() []remux.Program, counters func() remux.Counters) {
		defer readers.Done()
		var before remux.Counters
		seen := 0
		for {
			c := counters()
			if c.In < before.In || c.Frames < before.Frames {
				t.Errorf("%+v after %+v", c, before)
			}
			before = c
			for _, p := range streams() {
				for i, s := range p.Streams {
					if s.Carried == (s.Reason != "") || s.Codec == "" {
						t.Errorf("%+v", s)
					}
					p.Streams[i] = remux.Stream{} // it is the reader's
				}
			}
			if _, err := json.Marshal(streams()); err != nil {
				t.Error(err)
			}
			if seen++; seen == 1 {
				looked <- struct{}{}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}
	readers.Add(2)
	go look(d.Streams, d.Counters)
	go look(m.Streams, m.Counters)
	<-looked
	<-looked

	frames := 0
	toMux := func(p media.Packet) { frames++; m.Feed(p, func(media.Packet) {}) }
	now := time.Unix(1000, 0)
	format := &media.Format{Kind: media.TS}
	for _, part := range [][]byte{data, other} {
		for o := 0; o < len(part); o += 7 * mpegts.PacketSize {
			now = now.Add(10 * time.Millisecond)
			d.Feed(media.Packet{Format: format, Arrival: now, Data: part[o:min(o+7*mpegts.PacketSize, len(part))]}, toMux)
			d.Tick(now.Add(5*time.Millisecond), toMux)
			m.Tick(now.Add(5*time.Millisecond), func(media.Packet) {})
		}
	}
	d.Flush(toMux)
	close(done)
	readers.Wait()
	if s := d.Streams()[0].Streams; len(s) != 2 || s[0].Width != 160 || frames < 250 {
		t.Errorf("%d messages, %+v", frames, s)
	}
	if s := m.Streams()[0].Streams; len(s) != 2 || s[0].Width != 160 {
		t.Errorf("%+v", s)
	}
}
