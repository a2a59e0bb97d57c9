package relay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/mpegts"
	"sluice/relay/relaytest"
	"sluice/relay/remux"
	"sluice/relay/rtmp"
)

// recordingTime is how long a recording lasts.
const recordingTime = 8 * time.Second

// recording is a transport stream of ffmpeg, with more options where there are
// some: programme 1 with H.264 and two
// audio streams, programme 2 with MPEG-2 and AC-3.
func recording(t *testing.T, options ...string) []byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is needed: install the Debian package ffmpeg")
	}
	file := filepath.Join(t.TempDir(), "two.ts")
	args := []string{
		"-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000",
		"-map", "0", "-map", "1", "-map", "1", "-map", "0", "-map", "1", "-t", fmt.Sprint(recordingTime.Seconds()),
		"-c:v:0", "libx264", "-preset", "ultrafast", "-g", "25", "-threads", "1", "-pix_fmt", "yuv420p",
		"-c:v:1", "mpeg2video", "-b:v:1", "800k",
		"-c:a:0", "aac", "-ac:a:0", "2", "-b:a:0", "128k", "-c:a:1", "mp2", "-c:a:2", "ac3",
		"-program", "program_num=1:st=0:st=1:st=2", "-program", "program_num=2:st=3:st=4",
	}
	out, err := exec.Command(ffmpeg, append(append(args, options...), "-f", "mpegts", file)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rates are the bit rates of a recording, by PID.
func rates(data []byte) map[uint16]float64 {
	by := map[uint16]float64{}
	for ; len(data) >= mpegts.PacketSize; data = data[mpegts.PacketSize:] {
		by[mpegts.Packet(data[:mpegts.PacketSize]).PID()] += mpegts.PacketSize * 8 / recordingTime.Seconds()
	}
	return by
}

// plays sends a recording from the input of a box, until stop is called.
func (b *box) plays(t *testing.T, data []byte) (stop func()) {
	in, format := b.in(t, "in"), &media.Format{Kind: media.TS}
	each := recordingTime * relaytest.DatagramSize / time.Duration(len(data))
	return during(t, func() bool {
		n := min(relaytest.DatagramSize, len(data))
		if n > 0 {
			in.Emit(format, data[:n])
		}
		data = data[n:]
		time.Sleep(each)
		return true
	})
}

// during does something again and again, until it is done or stopped.
func during(t *testing.T, again func() bool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && again() {
		}
	}()
	return func() { cancel(); <-done }
}

// inspected is what an inspection says of its streams, a line each.
func (v Inspection) inspected() string {
	var b strings.Builder
	for _, p := range v.Programs {
		fmt.Fprintf(&b, "programme %d, map %d, chosen %v\n", p.Number, p.PMT, p.Chosen)
		for _, s := range p.Streams {
			fmt.Fprintf(&b, "%d %d %s %dx%d %.2f %d %d %v %s\n", s.PID, s.Type, s.CodecName(), s.Width, s.Height, s.FrameRate, s.SampleRate, s.Channels, s.Carried, s.Reason)
		}
	}
	return b.String()
}

func TestInspect(t *testing.T) {
	data := recording(t)
	wanted := rates(data)
	for _, tt := range []struct {
		program    int
		note, want string
	}{
		{0, "", `programme 1, map 4096, chosen true
256 27 H.264 320x180 25.00 0 0 true 
257 15 AAC 0x0 0.00 48000 2 true 
258 3 MPEG audio 0x0 0.00 0 0 false another track of its kind is carried
programme 2, map 4097, chosen false
259 2 MPEG-2 0x0 0.00 0 0 false MPEG-2 video has no place in RTMP
260 129 AC-3 0x0 0.00 0 0 false another programme is carried
`},
		{2, "", `programme 1, map 4096, chosen false
256 27 H.264 0x0 0.00 0 0 false programme 2 is asked for
257 15 AAC 0x0 0.00 0 0 false programme 2 is asked for
258 3 MPEG audio 0x0 0.00 0 0 false programme 2 is asked for
programme 2, map 4097, chosen true
259 2 MPEG-2 0x0 0.00 0 0 false MPEG-2 video has no place in RTMP
260 129 AC-3 0x0 0.00 48000 1 true 
`},
		{7, "programme 7, which the input asks for, is not there or has no video or audio that RTMP can carry", `programme 1, map 4096, chosen false
256 27 H.264 0x0 0.00 0 0 false programme 7 is asked for
257 15 AAC 0x0 0.00 0 0 false programme 7 is asked for
258 3 MPEG audio 0x0 0.00 0 0 false programme 7 is asked for
programme 2, map 4097, chosen false
259 2 MPEG-2 0x0 0.00 0 0 false programme 7 is asked for
260 129 AC-3 0x0 0.00 0 0 false programme 7 is asked for
`},
	} {
		t.Run(fmt.Sprint("programme ", tt.program), func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, b *box) {
				c := one()
				c.Flows[0].Inputs[0].Program = tt.program
				b.Apply(c)
				defer b.plays(t, data)()
				time.Sleep(time.Second)
				began := time.Now()
				v, err := b.Inspect(t.Context(), "f")
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > inspectPatience+time.Second || tt.note == "" && took > 4*time.Second {
					t.Errorf("it took %v", took)
				}
				if got := v.inspected(); got != tt.want || v.Note != tt.note {
					t.Errorf("note %q\n%s\nwant %q\n%s", v.Note, got, tt.note, tt.want)
				}
				if v.Flow != "f" || v.Input != "in" || v.Protocol != SRT || v.State != Receiving || v.Carriage != media.TS || v.Conversion != media.FLV {
					t.Errorf("%+v", v)
				}
				total := float64(len(data)*8) / recordingTime.Seconds()
				if off := math.Abs(float64(v.BitrateBps)/total - 1); off > 0.05 {
					t.Errorf("%d b/s come in: want %.0f", v.BitrateBps, total)
				}
				for _, p := range v.Programs {
					for _, s := range p.Streams {
						want := wanted[s.PID]
						if math.Abs(float64(s.BitrateBps)-want) > 0.15*want {
							t.Errorf("PID %d has %d b/s: want %.0f", s.PID, s.BitrateBps, want)
						}
					}
				}
			})
		})
	}
}

// Messages are told of as the transport stream that is made of them.
func TestInspectMessages(t *testing.T) {
	data := recording(t)
	var messages []media.Packet
	d := remux.NewDemux(remux.Options{})
	format, start := &media.Format{Kind: media.TS}, time.Unix(1000, 0)
	for i := 0; i < len(data); i += mpegts.PacketSize {
		at := start.Add(time.Duration(i) * recordingTime / time.Duration(len(data)))
		d.Feed(media.Packet{Format: format, Arrival: at, Data: data[i : i+mpegts.PacketSize]}, func(p media.Packet) { messages = append(messages, p) })
	}
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		c := one()
		c.Flows[0].Inputs[0] = Input{ID: "in", Protocol: RTMP, Enabled: true, RTMP: &rtmp.InputConfig{Port: 1935, App: "a"}}
		b.Apply(c)
		b.in(t, "in").SetStatus(endpoint.InputStatus{Phase: endpoint.Connected, Received: time.Now().Add(time.Minute)})
		f := b.streams[0].flow
		begin, sent := time.Now(), 0
		defer during(t, func() bool {
			if sent == len(messages) {
				return false
			}
			p := messages[sent]
			time.Sleep(time.Until(begin.Add(time.Duration(p.DTS) * time.Second / 90000)))
			p.Arrival = time.Now()
			f.Publish([]media.Packet{p})
			sent++
			return true
		})()
		time.Sleep(time.Second)
		v, err := b.Inspect(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		want := `programme 1, map 4096, chosen true
256 27 H.264 320x180 25.00 0 0 true 
257 15 AAC 0x0 0.00 48000 2 true 
`
		if got := v.inspected(); got != want || v.Note != "" || v.Carriage != media.FLV || v.Conversion != media.TS || v.Protocol != RTMP {
			t.Fatalf("%+v\n%s\nwant\n%s", v, got, want)
		}
		wanted := rates(data)
		for _, s := range v.Programs[0].Streams {
			if off := math.Abs(float64(s.BitrateBps)/wanted[s.PID] - 1); off > 0.25 { // its packets are not those of ffmpeg
				t.Errorf("PID %d has %d b/s: want about %.0f", s.PID, s.BitrateBps, wanted[s.PID])
			}
		}
	})
}

// Nothing runs before and after. A stage that an output runs is used, and goes
// on; one that none runs is left as it is.
func TestInspectLeavesNothingBehind(t *testing.T) {
	data := recording(t)
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		off := Output{ID: "p", Name: "p", Protocol: RTMPPull, MaxViewers: 4, RTMP: &rtmp.OutputConfig{Port: 1935, App: "a", StreamKey: "p"}}
		on := off
		on.Enabled = true
		b.Apply(one(off))
		st := b.onlyStage(t)
		defer b.plays(t, data)()
		time.Sleep(time.Second)
		if _, err := b.Inspect(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		if st.at.Load() != nil || st.users != 0 || st.to.Next() != 0 || len(b.streams[0].stages) != 1 {
			t.Errorf("the stage of a disabled output ran: %d users, %d packets", st.users, st.to.Next())
		}

		b.Apply(one(on))
		b.out(t, "p")
		runs := b.onlyStage(t)
		at := runs.at.Load()
		if runs.users != 1 || at == nil {
			t.Fatalf("the stage has %d users", runs.users)
		}
		inspected := make(chan Inspection)
		go func() {
			v, _ := b.Inspect(t.Context(), "f")
			inspected <- v
		}()
		time.Sleep(time.Second)
		if users := runs.usersNow(); users != 2 {
			t.Errorf("the stage has %d users while it is looked at, want 2", users)
		}
		if v := <-inspected; len(v.Programs) != 2 || runs.usersNow() != 1 || runs.at.Load() != at {
			t.Errorf("%d programmes, %d users, the same conversion: %v", len(v.Programs), runs.usersNow(), runs.at.Load() == at)
		}
		synctest.Wait()
	})
}

// onlyStage is the stage of the only output.
func (b *box) onlyStage(t *testing.T) *stage {
	t.Helper()
	b.Engine.mu.Lock()
	defer b.Engine.mu.Unlock()
	st := b.streams[0].outputs[0].stage
	if st == nil {
		t.Fatal("the output has no stage")
	}
	return st
}

func (s *stage) usersNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users
}

// Where there is nothing to tell, it is said why, and soon.
func TestInspectTellsWhy(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		if _, err := b.Inspect(t.Context(), "nix"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown flow: %v", err)
		}
		inspect := func(what string, within time.Duration, note string, want State) Inspection {
			t.Helper()
			began := time.Now()
			v, err := b.Inspect(t.Context(), "f")
			if took := time.Since(began); err != nil || v.Note != note || v.State != want || len(v.Programs) > 0 || took > within {
				t.Errorf("%s: %v after %v: %q, %s", what, err, took, v.Note, v.State)
			}
			return v
		}
		c := one()
		b.Apply(c)
		in := b.in(t, "in")
		in.SetStatus(endpoint.InputStatus{Phase: endpoint.Listening})
		time.Sleep(time.Second)
		inspect("nobody there", 0, "no media comes in", Waiting)

		emit := func(kind media.Kind, next func() []byte) (stop func()) {
			in, f := b.in(t, "in"), &media.Format{Kind: kind}
			in.SetStatus(endpoint.InputStatus{Phase: endpoint.Connected})
			stop = during(t, func() bool {
				in.Emit(f, next())
				time.Sleep(5 * time.Millisecond)
				return true
			})
			time.Sleep(time.Second)
			return stop
		}
		stop := emit(media.Datagram, relaytest.NewDatagrams(1).Next)
		if v := inspect("datagrams", time.Second, "the source sends datagrams that are not MPEG-TS", Receiving); v.Carriage != media.Datagram {
			t.Errorf("carriage %v", v.Carriage)
		}
		stop()
		null := append([]byte{mpegts.SyncByte, 0x1F, 0xFF, 0x10}, make([]byte, 184)...)
		stop = emit(media.TS, func() []byte { return null })
		inspect("no tables", inspectPatience+time.Second, "no programme was found in 5s: no PAT came", Receiving)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Inspect(ctx, "f"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody waits any more: %v", err)
		}
		stop()

		// Of two, it is the one in use that is looked at.
		c = one()
		c.Flows[0].Inputs = append(c.Flows[0].Inputs, source("spare"))
		c.Flows[0].Failover = &Failover{Mode: FailoverSwitch, Primary: "spare"}
		b.Apply(c)
		time.Sleep(3 * time.Second)
		if v := inspect("two inputs", 0, "no media comes in", Stalled); v.Input != "spare" {
			t.Errorf("input %s", v.Input)
		}
		c = one()
		c.Flows[0].Inputs[0].Enabled = false
		b.Apply(c)
		if v := inspect("disabled", 0, "no media comes in", Disabled); v.Input != "in" {
			t.Errorf("input %s", v.Input)
		}
	})
}

// A key frame is waited for, as far apart as they commonly are; a picture whose
// size is never told is not.
func TestInspectWaitsForAKeyFrame(t *testing.T) {
	data := recording(t, "-g", "500")
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one())
		stop := b.plays(t, data) // a key frame, and 8 s without
		time.Sleep(3 * time.Second)
		var took time.Duration
		var v Inspection
		seen := make(chan error)
		go func() {
			began := time.Now()
			var err error
			v, err = b.Inspect(t.Context(), "f")
			took = time.Since(began)
			seen <- err
		}()
		time.Sleep(5 * time.Second) // less than is left
		stop()
		stop = b.plays(t, data)
		err := <-seen
		stop()
		if err != nil || took < 5*time.Second || took > 7*time.Second || len(v.Programs) != 2 || v.Programs[0].Streams[0].Width != 320 {
			t.Errorf("%v after %v:\n%s", err, took, v.inspected())
		}

		g, in, f := relaytest.NewTS(1), b.in(t, "in"), &media.Format{Kind: media.TS}
		defer during(t, func() bool {
			in.Emit(f, g.Next())
			time.Sleep(g.Interval())
			return true
		})()
		time.Sleep(time.Second)
		began := time.Now()
		v, err = b.Inspect(t.Context(), "f")
		if took := time.Since(began); err != nil || took > inspectPatience+time.Second {
			t.Errorf("%v after %v", err, took)
		}
		want := `programme 1, map 4096, chosen true
256 27 H.264 0x0 25.33 0 0 true 
257 15 AAC 0x0 0.00 0 0 true 
258 6  0x0 0.00 0 0 false private data
496 134 SCTE 35 0x0 0.00 0 0 false splice information has no place in RTMP
`
		if got := v.inspected(); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		// A packet of seven is a marker.
		if marks := v.Programs[0].Streams[2].BitrateBps; math.Abs(float64(marks)-relaytest.Bitrate/7) > 2000 {
			t.Errorf("%d b/s of markers", marks)
		}
	})
}
