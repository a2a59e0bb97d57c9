package rtmp

import (
	"fmt"
	"testing"

	"sluice/relay/endpoint"
)

// TestTimesOfPublishers lets ffmpeg publish with times beyond 24 bits, and over
// the marks at which they grow longer or wrap while it runs.
func TestTimesOfPublishers(t *testing.T) {
	for _, offset := range []int64{20_000_000, 1<<24 - 1500, 1<<31 - 1500, 1<<32 - 1500} {
		t.Run(fmt.Sprintf("%d ms", offset), func(t *testing.T) {
			t.Parallel()
			source := clip(t, 3)
			want := framesOf(t, source)
			r := newRig(t)
			tap, in, out := r.tap(), r.input(r.publishHere()), r.output(r.playHere())
			in.await(endpoint.Listening)
			out.await(endpoint.Listening)
			player := watch(t, r.out())
			out.await(endpoint.Connected)
			publisher := publish(t, source, r.in(), "-output_ts_offset", fmt.Sprintf("%d.%03d", offset/1000, offset%1000))
			if err := publisher.wait(); err != nil {
				t.Fatalf("the publisher ended with %v", err)
			}
			tap.whole(t, int64(want.len()), out)
			out.stop()
			got := player.saw()
			got.is(t, want, 0)
			const wrap = 1 << 31 // of ffmpeg
			if at := got["video"][0].dts; at > offset || at%wrap < offset%wrap-100 {
				t.Errorf("it begins at %d ms", at)
			}
		})
	}
}

// TestTimesOfOutputs lets a stream go out whose times grow longer, or wrap,
// meanwhile: to players, whom it has the times of the flow for, and to servers,
// for whom times begin at zero with the push. For them the source falls silent
// until shortly before the mark.
func TestTimesOfOutputs(t *testing.T) {
	for _, mark := range []int64{1 << 24, 1 << 31, 1 << 32} {
		for _, to := range []string{"a player", "nginx", "ffmpeg"} {
			if to == "ffmpeg" && mark == 1<<32 {
				continue // it cannot tell a wrap of 32 bits from a jump, where it was there at zero
			}
			t.Run(fmt.Sprintf("%d ms to %s", mark, to), func(t *testing.T) {
				t.Parallel()
				source := clip(t, 3)
				want := framesOf(t, source)
				r := newRig(t)
				var cfg OutputConfig
				var play func() viewer
				switch to {
				case "a player":
					cfg = r.playHere()
					play = func() viewer { return watch(t, r.out()) }
				case "nginx":
					n := startNginx(t, "")
					cfg = pushTo(n.url("down"))
					play = func() viewer {
						v := watch(t, n.url("down")+"/pushed")
						n.plays("pushed")
						return v
					}
				case "ffmpeg":
					v := watch(t, r.out(), "-listen", "1")
					listening(t, r.port)
					cfg = pushTo(fmt.Sprintf("rtmp://127.0.0.1:%d/live", r.port))
					play = func() viewer { return v }
				}
				out := r.output(cfg)
				var player viewer
				if to == "a player" {
					out.await(endpoint.Listening)
					player = play()
				}
				out.await(endpoint.Connected)

				feed := r.replay(out)
				before := mark - 1500
				all := messages(t, source)
				if to != "a player" {
					for _, m := range all[:6] { // with the first frame of video
						feed.send(m, int64(m.time))
					}
					player = play()
					feed.send(all[5], before/2) // a longer step would be one back
				}
				feed.stream(all, before)
				out.stop()
				got := player.saw()
				for kind := range got {
					got[kind] = got[kind][max(0, len(got[kind])-len(want[kind])):]
				}
				got.is(t, want, 0)
			})
		}
	}
}
