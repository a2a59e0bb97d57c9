package rtmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
)

// quick are the pauses of a push to two servers that a test waits for.
var quick = dial.Retry{
	First: 50 * time.Millisecond, Most: 200 * time.Millisecond, Refused: 100 * time.Millisecond,
	Healthy: time.Minute, Proven: 700 * time.Millisecond,
}

// pushQuickly runs an output that pushes, and calls again soon.
func (r *rig) pushQuickly(mode string, servers ...*nginx) outputRun {
	var apps []string
	for _, n := range servers {
		apps = append(apps, n.url("down"))
	}
	cfg := pushTo(apps...)
	cfg.DestinationMode = mode
	env := r.env()
	out := newPushOutput(r.transport, cfg, env)
	out.set.Retry = quick
	return outputRun{out, r.run(env.Ledger, func(ctx context.Context) error { return out.Run(ctx, r.flow) })}
}

// playing lets ffprobe play what is pushed to a server.
func (n *nginx) playing(t *testing.T) viewer {
	t.Helper()
	v := watch(t, n.url("down")+"/pushed")
	n.plays("pushed")
	return v
}

// shows waits until a viewer has seen something.
func (v viewer) shows() {
	v.t.Helper()
	eventually(v.t, "the stream is seen", func() bool { return strings.Contains(v.out.String(), "packet|") })
}

// repeats checks that a stream is a source that is repeated, from anywhere on,
// with times that rise.
func (s stream) repeats(t *testing.T, source stream) {
	t.Helper()
	for kind, want := range source {
		got := s[kind]
		if len(got) == 0 {
			t.Errorf("there is no %s", kind)
			continue
		}
		const most = 200 // ms, where it begins again
		for i := 1; i < len(got); i++ {
			if d := got[i].dts - got[i-1].dts; d <= 0 || d > most {
				t.Errorf("%s frame %d: DTS goes from %d ms to %d", kind, i, got[i-1].dts, got[i].dts)
				break
			}
		}
		if !cyclic(got, want) {
			t.Errorf("%s: the %d frames are not those of the source, over and over", kind, len(got))
		}
	}
}

// cyclic tells whether frames are those of a source that is repeated.
func cyclic(got, source []frame) bool {
	for first := range source {
		same := true
		for i := 0; same && i < len(got); i++ {
			same = got[i].hash == source[(first+i)%len(source)].hash
		}
		if same {
			return true
		}
	}
	return false
}

// repeat lets ffmpeg publish a clip over and over.
func (r *rig) repeat(clip string) *program {
	r.t.Helper()
	return start(r.t, "ffmpeg", "-v", "warning", "-nostdin", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "flv", r.in())
}

// failing waits until an output says that a destination fails, and why.
func (r outputRun) failing(destination int) {
	r.t.Helper()
	eventually(r.t, "a destination fails", func() bool {
		d := r.Status().Destinations[destination]
		return d.Phase != endpoint.Connected && d.Reason != nil && d.Reason.Code != endpoint.ReasonStandby
	})
}

func (r outputRun) connected(destination int) {
	r.t.Helper()
	eventually(r.t, "a destination is connected", func() bool { return r.Status().Destinations[destination].Phase == endpoint.Connected })
}

// TestBoth pushes to two servers, one of which dies and comes back: the other
// one's viewer sees nothing of it.
func TestBoth(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	first, second := startNginx(t, ""), startNginx(t, "")
	r := newRig(t)
	in, out := r.input(r.publishHere()), r.pushQuickly(dial.Both, first, second)
	in.await(endpoint.Listening)
	out.connected(0)
	out.connected(1)
	steady := second.playing(t)
	r.repeat(source)
	steady.shows()
	first.kill()
	out.failing(0)
	first.start(t)
	out.connected(0)
	again := first.playing(t)
	again.shows()
	out.stop()
	for _, v := range []viewer{steady, again} {
		v.saw().repeats(t, framesOf(t, source))
	}
}

// TestBackup pushes to a server that dies: another one gets the stream until it
// is back.
func TestBackup(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	first, second := startNginx(t, ""), startNginx(t, "")
	r := newRig(t)
	in, out := r.input(r.publishHere()), r.pushQuickly(dial.Backup, first, second)
	in.await(endpoint.Listening)
	r.repeat(source)
	out.connected(0)
	if d := out.Status().Destinations[1]; d.Reason == nil || d.Reason.Code != endpoint.ReasonStandby {
		t.Errorf("the second is %+v", d)
	}
	standIn := second.playing(t)
	first.kill()
	out.failing(0)
	out.connected(1)
	standIn.shows()
	first.start(t)
	again := first.playing(t)
	out.connected(0)
	again.shows()
	standIn.saw().repeats(t, framesOf(t, source)) // it is let go
	out.stop()
	again.saw().repeats(t, framesOf(t, source))
}

// TestServerComesBack pushes to one server that dies; whoever runs the output
// runs another.
func TestServerComesBack(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	n := startNginx(t, "")
	r := newRig(t)
	in, out := r.input(r.publishHere()), r.output(pushTo(n.url("down")))
	in.await(endpoint.Listening)
	r.repeat(source)
	out.await(endpoint.Connected)
	n.kill()
	if phase, why := endpoint.Explain(out.wait()); phase != endpoint.Connecting || why.Code != "peer_closed" {
		t.Errorf("phase %d, reason %+v", phase, why)
	}
	if phase, why := endpoint.Explain(r.output(pushTo(n.url("down"))).wait()); phase != endpoint.Connecting || why.Code != "no_listener" {
		t.Errorf("while it is away: phase %d, reason %+v", phase, why)
	}
	n.start(t)
	player := n.playing(t)
	out = r.output(pushTo(n.url("down")))
	player.shows()
	out.stop()
	player.saw().repeats(t, framesOf(t, source))
}

// TestSourceServerComesBack pulls from a server that dies; whoever runs the
// input runs another.
func TestSourceServerComesBack(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	n := startNginx(t, "")
	r := newRig(t)
	tap, out := r.tap(), r.output(r.playHere())
	out.await(endpoint.Listening)
	player := watch(t, r.out())
	out.await(endpoint.Connected)
	cfg := InputConfig{URL: n.url("up"), StreamKey: endpoint.NewSecret("source")}
	in := r.input(cfg)
	in.await(endpoint.Connected)
	first := publish(t, source, n.url("up")+"/source")
	eventually(t, "the stream comes in", func() bool { return tap.frames.Load() > 70 })
	n.kill()
	first.kill()
	if phase, why := endpoint.Explain(in.wait()); phase != endpoint.Connecting || why.Code != "peer_closed" {
		t.Errorf("phase %d, reason %+v", phase, why)
	}
	before := tap.frames.Load()
	n.start(t)
	r.input(cfg).await(endpoint.Connected)
	if err := publish(t, source, n.url("up")+"/source").wait(); err != nil {
		t.Errorf("the publisher ended with %v", err)
	}
	want := framesOf(t, source)
	tap.whole(t, before+int64(want.len()), out)
	out.stop()
	player.saw().goesOn(t, before, want)
}

// TestChunkSizes pushes with the smallest and the largest chunks, to a server
// with others.
func TestChunkSizes(t *testing.T) {
	for _, size := range []int{4096, 40960} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			source := clip(t, 3)
			n := startNginx(t, "")
			r := newRig(t)
			cfg := pushTo(n.url("down"))
			cfg.ChunkSize = size
			out := r.output(cfg)
			out.await(endpoint.Connected)
			player := n.playing(t)
			feed := r.replay(out)
			for i, m := range messages(t, source) {
				if i > 2 && m.kind == rtmpmsg.TypeIDVideoMessage && len(m.data) > 5 { // larger than any chunk, and H.264 all the same
					m.data = append(m.data, filler(50_000)...)
				}
				feed.send(m, int64(m.time))
			}
			out.stop()
			got := player.saw()
			if len(got["video"]) != len(framesOf(t, source)["video"]) {
				t.Errorf("%d frames", len(got["video"]))
			}
		})
	}
}

// filler is a NAL unit of filler data (ITU-T H.264 section 7.3.2.7), with its
// length.
func filler(n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	b = append(b, 12)
	b = append(b, bytes.Repeat([]byte{0xFF}, n-2)...)
	return append(b, 0x80)
}

// TestPublisherComesBack has a publisher die and come back: who plays, and the server
// that is pushed to, stay connected, and times go on.
func TestPublisherComesBack(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	want := framesOf(t, source)
	n := startNginx(t, "")
	r := newRig(t)
	tap, in := r.tap(), r.input(r.publishHere())
	out, push := r.output(r.playHere()), r.output(pushTo(n.url("down")))
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	push.await(endpoint.Connected)
	viewers := []viewer{watch(t, r.out()), n.playing(t)}
	out.await(endpoint.Connected)
	session := out.Status().Sessions[0].ID

	first := publish(t, source, r.in())
	eventually(t, "the stream comes in", func() bool { return tap.frames.Load() > 70 })
	first.kill()
	in.await(endpoint.Listening)
	before := tap.frames.Load()
	if err := publish(t, source, r.in()).wait(); err != nil {
		t.Errorf("the publisher ended with %v", err)
	}
	tap.whole(t, before+int64(want.len()), out, push)
	if s := out.Status().Sessions; len(s) != 1 || s[0].ID != session {
		t.Errorf("who plays has session %s, and not %+v", session, s)
	}
	if c := push.ledger.Connections.Load(); c != 1 || push.Status().Phase != endpoint.Connected {
		t.Errorf("pushed in %d connections", c)
	}
	out.stop()
	push.stop()
	for _, v := range viewers {
		v.saw().goesOn(t, before, want)
	}
}

// goesOn checks that a stream is some frames and then a whole source, at times
// that rise.
func (s stream) goesOn(t *testing.T, before int64, source stream) {
	t.Helper()
	if n, want := int64(s.len()), before+int64(source.len()); n != want {
		t.Errorf("%d frames, want %d", n, want)
	}
	tail := make(stream)
	for kind, frames := range s {
		for i := 1; i < len(frames); i++ {
			if frames[i].dts <= frames[i-1].dts {
				t.Errorf("%s frame %d: DTS goes from %d ms to %d", kind, i, frames[i-1].dts, frames[i].dts)
			}
		}
		tail[kind] = frames[max(0, len(frames)-len(source[kind])):]
	}
	tail.is(t, source, 0)
}
