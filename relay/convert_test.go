package relay

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/relay/rtmp"
	"sluice/relay/srt"
)

// transport makes a transport stream of two seconds, cut into datagrams.
func transport(t *testing.T, options ...string) (datagrams [][]byte) {
	t.Helper()
	args := []string{
		"-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000",
		"-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-c:a", "aac",
	}
	cmd := exec.Command("ffmpeg", append(append(args, options...), "-f", "mpegts", "pipe:1")...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg (make test installs it): %v\n%s", err, errors.Bytes())
	}
	for len(b) > 0 {
		n := min(7*188, len(b))
		datagrams = append(datagrams, b[:n:n])
		b = b[n:]
	}
	return datagrams
}

// converting is a flow from SRT with outputs by RTMP, and one by SRT.
func converting(rtmpOutputs int) Config {
	f := Flow{ID: "f", Name: "f", Enabled: true, Inputs: []Input{{
		ID: "in", Protocol: SRT, Enabled: true, SRT: &srt.Config{Mode: srt.ModeListener, Port: 9000},
	}}}
	for i := range rtmpOutputs {
		id := fmt.Sprintf("rtmp-%d", i)
		f.Outputs = append(f.Outputs, Output{
			ID: id, Name: id, Protocol: RTMPPull, Enabled: true, MaxViewers: 4, RTMP: &rtmp.OutputConfig{Port: 1935, App: "live", StreamKey: id},
		})
	}
	f.Outputs = append(f.Outputs, Output{
		ID: "srt", Name: "srt", Protocol: SRT, Enabled: true, MaxViewers: 4, SRT: &srt.Config{Mode: srt.ModeListener, Port: 9100},
	})
	return Config{Flows: []Flow{f}}
}

// runs starts a box of fakes, in real time.
func runs(t *testing.T) *box {
	b := newBox(Options{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

func (b *box) source(t *testing.T) *relaytest.Input {
	t.Helper()
	var in *relaytest.Input
	await(t, "the input runs", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if all := b.inputs["in"]; len(all) > 0 {
			in = all[len(all)-1]
		}
		return in != nil && in.Running()
	})
	return in
}

// users is how many outputs hold each stage of the flow.
func (b *box) users() (n []int) {
	b.Engine.mu.Lock()
	defer b.Engine.mu.Unlock()
	for _, s := range b.streams[0].stages {
		s.mu.Lock()
		n = append(n, s.users)
		s.mu.Unlock()
	}
	return n
}

// got is what the newest fake of an output got so far.
func (b *box) got(id string) (payloads [][]byte) {
	if all := b.made(id); len(all) > 0 {
		payloads, _ = all[len(all)-1].Got()
	}
	return payloads
}

// It is not run beside others: it looks at all goroutines.
func TestOneConversionForAllOutputs(t *testing.T) {
	datagrams := transport(t)
	b := runs(t)
	c := converting(10)
	b.Apply(c)
	in := b.source(t)
	await(t, "all outputs hold one stage, and look at what comes", func() bool {
		for _, o := range c.Flows[0].Outputs {
			if all := b.made(o.ID); len(all) == 0 || all[0].Ledger.Connections.Load() == 0 {
				return false
			}
		}
		return fmt.Sprint(b.users()) == "[10]"
	})
	format := &media.Format{Kind: media.TS}
	for _, d := range datagrams {
		in.Emit(format, d)
	}
	await(t, "each output gets the frames", func() bool {
		for i := range 10 {
			if len(b.got(fmt.Sprintf("rtmp-%d", i))) < 100 { // 50 and 94 of them
				return false
			}
		}
		return true
	})
	if &b.got("rtmp-0")[0][0] != &b.got("rtmp-9")[0][0] {
		t.Error("the outputs do not share what was made once")
	}
	await(t, "the output of MPEG-TS gets the datagrams", func() bool { return len(b.got("srt")) >= len(datagrams) })
	if passed := b.got("srt"); len(passed) != len(datagrams) || !bytes.Equal(bytes.Join(passed, nil), bytes.Join(datagrams, nil)) {
		t.Error("what needs no conversion was changed")
	}
	// It runs for as long as one output needs it, and no longer.
	c = converting(1)
	b.Apply(c)
	if got := fmt.Sprint(b.users()); got != "[1]" {
		t.Errorf("stages are held by %s outputs, want 1", got)
	}
	c = converting(0)
	b.Apply(c)
	if got := fmt.Sprint(b.users()); got != "[0]" {
		t.Errorf("stages are held by %s outputs, want none", got)
	}
	await(t, "nothing converts for nobody", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "relay.(*stage).run")
	})
}

// What a source sends and RTMP cannot carry is said where it is missed.
func TestWhatConversionLeavesOut(t *testing.T) {
	t.Parallel()
	opaque := make([][]byte, 200)
	for i := range opaque {
		opaque[i] = bytes.Repeat([]byte{byte(i)}, 100)
	}
	for _, c := range []struct {
		name  string
		kind  media.Kind
		send  [][]byte
		state State
		why   string
	}{
		{"sound", media.TS, transport(t, "-c:a", "s302m", "-strict", "-2", "-ac", "2"), Connected, "codec SMPTE 302M cannot be carried by RTMP_PULL and is left out: SMPTE 302M audio has no place in RTMP"},
		{"not transport packets", media.Datagram, opaque, Invalid, "the source sends datagrams that are not MPEG-TS: RTMP_PULL cannot carry them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := runs(t)
			b.Apply(converting(1))
			in := b.source(t)
			format := &media.Format{Kind: c.kind}
			await(t, "the output says "+c.why, func() bool {
				for _, d := range c.send {
					in.Emit(format, d)
				}
				o := b.Report().Flows[0].Outputs[0]
				counted := c.kind == media.Datagram || o.Conversion != nil && o.Conversion.Frames > 0 && o.Conversion.Dropped["codec"] > 0
				return o.State == c.state && o.Reason != nil && strings.Contains(o.Reason.Message, c.why) && counted
			})
		})
	}
}

// A panic in a conversion is no end of it.
func TestConversionSurvives(t *testing.T) {
	t.Parallel()
	s := newStage(flow.New(flow.DefaultLimits), conversionKey{want: media.FLV}, flow.DefaultLimits, newBox(Options{}).options.Log)
	s.to = nil // to publish there is the fault
	s.hold()
	defer s.release()
	await(t, "it runs", func() bool { return s.at.Load() != nil })
	first := s.at.Load()
	s.from.Publish([]media.Packet{{Format: &media.Format{Kind: media.FLV, Clock: &media.Clock{}}, Arrival: time.Now(), Data: []byte{1}}})
	await(t, "another one has begun", func() bool { return s.at.Load() != first })
}
