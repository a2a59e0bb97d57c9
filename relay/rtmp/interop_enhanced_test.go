package rtmp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/bytecounter"
	"github.com/bluenviron/gortmplib/pkg/codecs"
	gortmp "github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// Debian has no program that speaks Enhanced RTMP: gortmplib does.

// A tape is a gortmplib.Conn that keeps what is written, and gives it back.
type tape []gortmp.Message

func (t *tape) BytesReceived() uint64 { return 0 }
func (t *tape) BytesSent() uint64     { return 0 }

func (t *tape) Write(m gortmp.Message) error {
	*t = append(*t, m)
	return nil
}

func (t *tape) Read() (gortmp.Message, error) {
	if len(*t) == 0 {
		return nil, io.EOF
	}
	m := (*t)[0]
	*t = (*t)[1:]
	return m, nil
}

// media is what a tape has of audio and video.
func (t tape) media() (media tape) {
	for _, m := range t {
		switch m.(type) {
		case *gortmp.VideoExSequenceStart, *gortmp.VideoExCodedFrames, *gortmp.VideoExFramesX, *gortmp.VideoExMultitrack,
			*gortmp.AudioExSequenceStart, *gortmp.AudioExCodedFrames, *gortmp.AudioExMultitrack:
			media = append(media, m)
		}
	}
	return media
}

// through is what a tape is for who reads it from the wire.
func (t tape) through(test *testing.T) (got tape) {
	test.Helper()
	var wire bytes.Buffer
	counted := bytecounter.NewReadWriter(&wire)
	rw := gortmp.NewReadWriter(counted, counted, false)
	for _, m := range t {
		if err := rw.Write(m); err != nil {
			test.Fatal(err)
		}
	}
	for {
		m, err := rw.Read()
		if err != nil {
			return got
		}
		got = append(got, m)
	}
}

// tracks are the codecs that a tape has.
func (t tape) tracks() (names []string, err error) {
	r := &gortmplib.Reader{Conn: &t}
	if err := r.Initialize(); err != nil {
		return nil, err
	}
	for _, track := range r.Tracks() {
		names = append(names, fmt.Sprintf("%T", track.Codec))
	}
	return names, nil
}

// record makes three seconds of a stream, from a time on. Units are larger than
// a chunk, and each is another one.
func record(t *testing.T, from time.Duration, of ...codecs.Codec) (made tape) {
	t.Helper()
	w := &gortmplib.Writer{Conn: &made}
	for _, c := range of {
		w.Tracks = append(w.Tracks, &gortmplib.Track{Codec: c})
	}
	err := w.Initialize()
	for n := range 3 * 25 {
		at := from + time.Duration(n)*40*time.Millisecond
		for i, track := range w.Tracks {
			data := bytes.Repeat([]byte{byte(n), byte(i), 0xFF}, 2000)
			switch track.Codec.(type) {
			case *codecs.H265:
				const idr, trail = 19 << 1, 1 << 1
				kind := byte(trail)
				if n%10 == 0 {
					kind = idr
				}
				err = errors.Join(err, w.WriteH265(track, at+80*time.Millisecond, at, [][]byte{append([]byte{kind, 1}, data...)}))
			case *codecs.AV1:
				unit := [][]byte{append([]byte{6 << 3}, data...)} // a frame
				if n%10 == 0 {
					header := []byte{1 << 3, 0, 0, 0, 0x42, 0xAB, 0xBF, 0xC3, 0x70, 0x0B, 0xE0, 0x01}
					unit = [][]byte{header, unit[0]}
				}
				err = errors.Join(err, w.WriteAV1(track, at, unit))
			case *codecs.Opus:
				err = errors.Join(err, w.WriteOpus(track, at, data))
			case *codecs.AC3:
				err = errors.Join(err, w.WriteAC3(track, at, append([]byte{0x0B, 0x77, 0x47, 0x11, 0x0C, 0x40, 0x2F, 0x84}, data...)))
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func stereo() *codecs.Opus {
	return &codecs.Opus{IDHeader: &opus.IDHeader{Version: 1, ChannelCount: 2, InputSampleRate: 48000}}
}

// A witness is a gortmplib that is sent a stream.
type witness struct {
	mu   sync.Mutex
	got  tape
	over chan struct{}
}

// reads reads from what connect returns until it ends.
func reads(connect func() (gortmplib.Conn, error)) *witness {
	w := &witness{over: make(chan struct{})}
	go func() {
		defer close(w.over)
		c, err := connect()
		for err == nil {
			var m gortmp.Message
			if m, err = c.Read(); err == nil {
				w.mu.Lock()
				w.got = append(w.got, m)
				w.mu.Unlock()
			}
		}
	}()
	return w
}

// has tells how many messages of audio and video it has seen.
func (w *witness) has() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.got.media())
}

// goClient is a gortmplib that calls the rig.
func (r *rig) goClient(t *testing.T, app, key string, publish bool) (gortmplib.Conn, error) {
	c := &gortmplib.Client{
		URL:     &url.URL{Scheme: "rtmp", Host: fmt.Sprintf("127.0.0.1:%d", r.port), Path: "/" + app, Fragment: key},
		Publish: publish,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := c.Initialize(ctx); err != nil {
		return nil, err
	}
	t.Cleanup(c.Close)
	return c, nil
}

// A goServer is a gortmplib that takes one publisher at a time. It lists no
// codecs of Enhanced RTMP.
type goServer struct {
	port   int
	listed chan []any // the codecs that a client lists
	conns  chan *gortmplib.ServerConn
}

// serveGo starts a server. accept says whether a client may publish.
func serveGo(t *testing.T, accept func(*gortmplib.ServerConn) error) *goServer {
	t.Helper()
	s := &goServer{port: relaytest.FreePort(t), listed: make(chan []any, 10), conns: make(chan *gortmplib.ServerConn, 10)}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := &gortmplib.ServerConn{RW: nc}
			if err := c.Initialize(); err == nil {
				s.listed <- c.FourCcList
				err = accept(c)
				if err == nil {
					err = c.Accept()
				}
				if err == nil {
					s.conns <- c
					continue // until the client leaves
				}
			}
			nc.Close()
		}
	}()
	return s
}

func (s *goServer) app() string { return fmt.Sprintf("rtmp://127.0.0.1:%d/down", s.port) }

func anybody(*gortmplib.ServerConn) error { return nil }

// same checks what was seen of a stream that has ended.
func (w *witness) same(t *testing.T, who string, want tape, tracks []string) {
	t.Helper()
	<-w.over
	got := w.got.media()
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s: message %d of %d is another one: %T, want %T", who, i, len(got), got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, want %d", who, len(got), len(want))
	}
	if found, err := w.got.tracks(); err != nil || !reflect.DeepEqual(found, tracks) {
		t.Errorf("%s: tracks %v (%v), want %v", who, found, err, tracks)
	}
}

// TestEnhanced lets gortmplib publish codecs of Enhanced RTMP to us and play
// them from us; it is also what we push to, if we are to force it; and another
// box is, which lists what it takes.
func TestEnhanced(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   time.Duration
		codecs []codecs.Codec
	}{
		{"HEVC and Opus", 0, []codecs.Codec{&codecs.H265{}, stereo()}},
		{"AV1 and AC-3", 0, []codecs.Codec{&codecs.AV1{}, &codecs.AC3{SampleRate: 48000, ChannelCount: 2}}},
		{"HEVC and two of Opus", 0, []codecs.Codec{&codecs.H265{}, stereo(), stereo()}},
		{"HEVC and Opus, above 2^24 ms", 20_000 * time.Second, []codecs.Codec{&codecs.H265{}, stereo()}},
		{"HEVC and Opus, over 2^32 ms", (1<<32 - 2300) * time.Millisecond, []codecs.Codec{&codecs.H265{}, stereo()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made := record(t, c.from, c.codecs...)
			want := made.through(t)
			fromZero := record(t, 0, c.codecs...).through(t).media() // for servers
			tracks, err := want.tracks()
			if err != nil {
				t.Fatal(err)
			}
			want = want.media()
			r, other := newRig(t), newRig(t)
			in, there := r.input(r.publishHere()), other.input(other.publishHere())
			in.await(endpoint.Listening)
			there.await(endpoint.Listening)

			server := serveGo(t, anybody)
			forced := pushTo(server.app())
			forced.Enhanced = EnhancedForce
			toOther := pushTo(fmt.Sprintf("rtmp://127.0.0.1:%d/in", other.port))
			toOther.Destinations[0].StreamKey = endpoint.NewSecret("key")
			outputs := []outputRun{r.output(r.playHere()), r.output(forced), r.output(toOther), other.output(other.playHere())}
			outputs[0].await(endpoint.Listening)
			outputs[3].await(endpoint.Listening)
			played := reads(func() (gortmplib.Conn, error) { return r.goClient(t, "live", "stage", false) })
			pushed := reads(func() (gortmplib.Conn, error) { return <-server.conns, nil })
			relayed := reads(func() (gortmplib.Conn, error) { return other.goClient(t, "live", "stage", false) })
			for _, out := range outputs {
				out.await(endpoint.Connected)
			}
			if listed := <-server.listed; len(listed) != len(fourCCs) {
				t.Errorf("we list %v", listed)
			}

			publisher, err := r.goClient(t, "in", "key", true)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range made {
				if err := publisher.Write(m); err != nil {
					t.Fatal(err)
				}
			}
			for _, w := range []*witness{played, pushed, relayed} {
				eventually(t, "it has all come out", func() bool { return w.has() >= len(want) })
			}
			for _, out := range outputs {
				out.stop()
			}
			played.same(t, "a player", want, tracks)
			pushed.same(t, "a server that lists nothing", fromZero, tracks)
			relayed.same(t, "a player of a server that lists all", fromZero, tracks)

			// A server that does not list a codec is not sent it.
			phase, why := endpoint.Explain(r.output(pushTo(server.app())).wait())
			if phase != endpoint.Unworkable || why.Code != "codec" {
				t.Errorf("a server that lists nothing: phase %d, %+v", phase, why)
			}
		})
	}
}

// TestAuthenticationByGortmplib pushes to a server that asks who we are.
func TestAuthenticationByGortmplib(t *testing.T) {
	t.Parallel()
	server := serveGo(t, func(c *gortmplib.ServerConn) error { return c.CheckCredentials("camera", "battery staple") })
	push := func(r *rig, user, password string) outputRun {
		cfg := pushTo(server.app())
		cfg.Destinations[0].Username, cfg.Destinations[0].Password = user, endpoint.NewSecret(password)
		return r.output(cfg)
	}
	push(newRig(t), "camera", "battery staple").await(endpoint.Connected)
	for _, wrong := range [][2]string{{"", ""}, {"camera", "staple battery"}} {
		r := newRig(t)
		phase, why := endpoint.Explain(push(r, wrong[0], wrong[1]).wait())
		if phase != endpoint.Refused || why.Code != "authentication" {
			t.Errorf("as %q: phase %d, %+v", wrong[0], phase, why)
		}
		if wrong[1] != "" && strings.Contains(why.Message+r.log.String(), wrong[1]) {
			t.Error("the password is shown")
		}
	}
}

// TestNameInApp has gortmplib, which takes a path for the application's name,
// publish and play without a stream key.
func TestNameInApp(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)
	for app, publish := range map[string]bool{"in/key": true, "live/stage": false} {
		if _, err := r.goClient(t, app, "", publish); err != nil {
			t.Errorf("%s: %v", app, err)
		}
	}
	in.await(endpoint.Connected)
	out.await(endpoint.Connected)
}
