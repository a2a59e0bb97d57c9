package rtmp

import (
	"testing"
	"time"

	"sluice/relay/media"
)

// A server that does not list the codec of the sound gets the picture alone,
// and the output says so.
func TestSoundThatServersDoNotTake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	opus := func(packet byte) []byte { return []byte{9<<4 | packet, 'O', 'p', 'u', 's', 1} }
	format := &media.Format{
		Kind: media.FLV, Clock: &media.Clock{},
		Headers: []media.Header{{Track: media.Audio, Data: opus(0)}, {Track: media.Video, Data: []byte{0x17, 0, 0, 0, 0, 1}}},
	}
	send := func(track int, ms int64, data []byte) {
		r.flow.Publish([]media.Packet{{
			Format: format, Track: track, DTS: ms * ticks, PTS: ms * ticks, Arrival: time.Now(), RandomAccess: track == media.Video && ms == 0, Data: data,
		}})
	}
	send(media.Video, 0, picture(true, 0, 1))
	send(media.Audio, 10, opus(1))
	send(media.Video, 40, picture(false, 0, 2))
	got := make(chan message, 10)
	out := r.output(pushing(hosts(t, func(h *host) {
		defer close(got)
		if h.publishes(nil) {
			for {
				m, err := h.next()
				if err != nil {
					return
				}
				got <- m
			}
		}
	})))
	eventually(t, "the output says what it leaves out", func() bool {
		st := out.Status()
		return st.Reason != nil && st.Reason.Message == "audio codec Opus is not among those of Enhanced RTMP that the server lists: video only; send another, or set enhanced to force"
	})
	out.stop()
	pictures := 0
	for m := range got {
		switch int(m.kind) {
		case media.Audio:
			t.Error("the server is sent sound that it does not take")
		case media.Video:
			pictures++
		}
	}
	if pictures != 3 { // the header and two
		t.Errorf("the server got %d messages of video", pictures)
	}
	if l := out.ledger; l.Taken.Load() != 3 || l.Sent.Load() != 2 || l.Dropped()["wrong_format"] != 1 {
		t.Errorf("taken %d, sent %d, dropped %v", l.Taken.Load(), l.Sent.Load(), l.Dropped())
	}
}
