package rtmp

import (
	"fmt"
	"strings"
	"testing"

	"sluice/relay/endpoint"
)

// A way is how a stream comes in and goes out.
type way struct{ pulled, pushed, tls bool }

func ways() (all []way) {
	for _, tls := range []bool{false, true} {
		for _, pulled := range []bool{false, true} {
			all = append(all, way{pulled, false, tls}, way{pulled, true, tls})
		}
	}
	return all
}

func (w way) String() string {
	in, out, by := "RTMP", "RTMP_PULL", "clear"
	if w.pulled {
		in = "RTMP_PULL"
	}
	if w.pushed {
		out = "RTMP_PUSH"
	}
	if w.tls {
		by = "TLS"
	}
	return in + " to " + out + ", " + by
}

// TestFourWays lets a stream come in and go out in every way, clear and by TLS.
// ffmpeg publishes, to us or to an nginx that we play from, and ffprobe plays,
// from us or from an nginx that we publish to.
func TestFourWays(t *testing.T) {
	for _, way := range ways() {
		t.Run(way.String(), func(t *testing.T) {
			t.Parallel()
			source := clip(t, 3)
			authority := newAuthority(t)
			r := newRig(t, authority.serves)
			tap := r.tap()
			var n *nginx
			app := func(name string) string { return n.url(name) }
			if way.pulled || way.pushed {
				n = startNginx(t, "")
				if way.tls {
					port := authority.inFront(t, n.port)
					app = func(name string) string { return fmt.Sprintf("rtmps://127.0.0.1:%d/%s", port, name) }
				}
			}
			from, to := r.publishHere(), r.playHere()
			from.TLS, to.TLS = way.tls, way.tls
			publishTo, playFrom := r.in(), r.out()
			if way.tls {
				publishTo, playFrom = secure(publishTo), secure(playFrom)
			}
			if way.pulled {
				from = InputConfig{URL: app("up"), StreamKey: endpoint.NewSecret("source")}
				publishTo = n.url("up") + "/source"
			}
			if way.pushed {
				to = pushTo(app("down"))
				playFrom = n.url("down") + "/pushed"
			}

			in, out := r.input(from), r.output(to)
			ready := endpoint.Listening
			if way.pushed {
				ready = endpoint.Connected
			}
			out.await(ready)
			player := watch(t, playFrom)
			if way.pushed {
				n.plays("pushed")
			}
			out.await(endpoint.Connected)
			ready = endpoint.Listening
			if way.pulled {
				ready = endpoint.Connected
			}
			in.await(ready)
			publisher := publish(t, source, publishTo)
			if err := publisher.wait(); err != nil {
				t.Fatalf("the publisher ended with %v", err)
			}
			want := framesOf(t, source)
			tap.whole(t, int64(want.len()), out)
			out.stop() // which tells the player that it is over
			player.saw().is(t, want, 0)
		})
	}
}

func secure(url string) string { return strings.Replace(url, "rtmp://", "rtmps://", 1) }

// pushTo pushes to one server, or to two.
func pushTo(apps ...string) OutputConfig {
	cfg := OutputConfig{ChunkSize: 4096}
	for _, app := range apps {
		cfg.Destinations = append(cfg.Destinations, Destination{URL: app, StreamKey: endpoint.NewSecret("pushed")})
	}
	return cfg
}
