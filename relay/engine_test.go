package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/relay/srt"
)

// A box is an Engine among fakes, whose time is that of a synctest bubble.
type box struct {
	*Engine
	ports relaytest.Ports
	lan   *relaytest.Uplink // the default
	wan   *relaytest.Uplink

	mu      sync.Mutex
	prepare func(Output, *relaytest.Output) // called with each output's fake before it runs
	inputs  map[string][]*relaytest.Input   // by id, in the order in which they were made
	outputs map[string][]*relaytest.Output  // likewise
	starts  []time.Time
}

func newBox(o Options) *box {
	b := &box{
		lan:    relaytest.NewUplink("lan0", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")),
		wan:    relaytest.NewUplink("wan0", netip.MustParseAddr("198.51.100.1")),
		inputs: map[string][]*relaytest.Input{}, outputs: map[string][]*relaytest.Output{},
	}
	o.Uplink = func(name string) endpoint.Uplink {
		if name == "wan0" {
			return b.wan
		}
		return b.lan
	}
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	o.MakeInput = func(c Input, env endpoint.Env) (endpoint.Input, error) {
		in := &relaytest.Input{Fake: relaytest.Fake{Ledger: env.Ledger}}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.inputs[c.ID] = append(b.inputs[c.ID], in)
		return in, nil
	}
	o.MakeOutput = func(c Output, env endpoint.Env) (endpoint.Output, error) {
		out := relaytest.NewOutput(env.Ledger)
		out.Ports = &b.ports
		if c.SRT != nil && c.SRT.Mode == srt.ModeListener {
			out.Port = c.SRT.Port
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.prepare != nil {
			b.prepare(c, out)
		}
		b.outputs[c.ID] = append(b.outputs[c.ID], out)
		b.starts = append(b.starts, time.Now())
		return out, nil
	}
	b.Engine = New(o)
	return b
}

// inBubble runs a test with a running box, in fake time.
func inBubble(t *testing.T, o Options, test func(t *testing.T, b *box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		defer func() { // also where the test gives up
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		test(t, b)
	})
}

// preparing sets what is done with each output's fake before it runs.
func (b *box) preparing(f func(Output, *relaytest.Output)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prepare = f
}

// made returns the fakes that were made for an output so far.
func (b *box) made(id string) []*relaytest.Output {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.outputs[id]
}

// out returns the fake that was made last for an output.
func (b *box) out(t *testing.T, id string) *relaytest.Output {
	t.Helper()
	synctest.Wait()
	m := b.made(id)
	if len(m) == 0 {
		t.Fatalf("output %s was never made", id)
	}
	return m[len(m)-1]
}

// in returns the fake that was made last for an input.
func (b *box) in(t *testing.T, id string) *relaytest.Input {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.inputs[id]
	if len(m) == 0 {
		t.Fatalf("input %s was never made", id)
	}
	return m[len(m)-1]
}

// report returns what is reported of an output of the only flow.
func (b *box) report(t *testing.T, id string) OutputReport {
	t.Helper()
	synctest.Wait()
	for _, o := range b.Report().Flows[0].Outputs {
		if o.ID == id {
			return o
		}
	}
	t.Fatalf("output %s is not reported", id)
	return OutputReport{}
}

func (b *box) wantState(t *testing.T, id string, want State) {
	t.Helper()
	if r := b.report(t, id); r.State != want {
		t.Errorf("%s is %s (%v), want %s", id, r.State, r.Reason, want)
	}
}

// play publishes a packet every 10 ms for as long as d.
func (b *box) play(t *testing.T, d time.Duration) {
	t.Helper()
	in, format := b.in(t, "in"), &media.Format{Kind: media.TS}
	for range d / (10 * time.Millisecond) {
		in.Emit(format, []byte("some media"))
		time.Sleep(10 * time.Millisecond)
	}
}

func listener(id string, port int) Output {
	return Output{
		ID: id, Name: id, Protocol: SRT, Enabled: true, MaxViewers: 4,
		SRT: &srt.Config{Mode: srt.ModeListener, Port: port, LatencyMS: 120},
	}
}

func caller(id, host string) Output {
	return Output{
		ID: id, Name: id, Protocol: SRT, Enabled: true, MaxViewers: 4,
		SRT: &srt.Config{Mode: srt.ModeCaller, Destinations: []srt.Destination{{Host: host, Port: 7000}}, LatencyMS: 120},
	}
}

func source(id string) Input {
	return Input{ID: id, Protocol: SRT, Enabled: true, SRT: &srt.Config{Mode: srt.ModeListener, Port: 9000}}
}

// one is a configuration with one flow, that has the input "in".
func one(outputs ...Output) Config {
	return Config{Flows: []Flow{{ID: "f", Name: "f", Enabled: true, Inputs: []Input{source("in")}, Outputs: outputs}}}
}

func TestUnchangedOutputLosesNothing(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		watched := listener("watched", 9100)
		b.Apply(one(watched))
		b.in(t, "in")
		b.out(t, "watched")

		const packets = 3000
		played := make(chan struct{})
		go func() {
			defer close(played)
			in, format := b.in(t, "in"), &media.Format{Kind: media.TS}
			for i := range packets {
				in.Emit(format, fmt.Appendf(nil, "%d", i))
				time.Sleep(time.Millisecond)
			}
		}()
		for round := range 3 {
			var others []Output
			for i := range 10 {
				others = append(others, listener(fmt.Sprint("other", i), 9200+i))
				b.Apply(one(append(others, watched)...))
				time.Sleep(20 * time.Millisecond)
			}
			for i := range others {
				others[i].SRT = &srt.Config{Mode: srt.ModeListener, Port: 9300 + 10*round + i}
				b.Apply(one(append([]Output{watched}, others...)...))
				time.Sleep(20 * time.Millisecond)
			}
			for len(others) > 0 {
				others = others[1:]
				b.Apply(one(append(others, watched)...))
				time.Sleep(20 * time.Millisecond)
			}
		}
		<-played
		synctest.Wait()
		if n := len(b.made("watched")); n != 1 {
			t.Errorf("the watched output was made %d times", n)
		}
		if n := len(b.made("other3")); n != 6 {
			t.Errorf("another was made %d times, want added and edited in three rounds", n)
		}
		got, lost := b.out(t, "watched").Got()
		if len(got) != packets || lost != 0 {
			t.Fatalf("%d of %d packets, %d lost", len(got), packets, lost)
		}
		for i, p := range got {
			if string(p) != fmt.Sprint(i) {
				t.Fatalf("packet %d is %s", i, p)
			}
		}
	})
}

func TestOutputsSwapPorts(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("a", 1), listener("b", 2), listener("c", 3)))
		synctest.Wait()
		b.Apply(one(listener("a", 2), listener("b", 3), listener("c", 1)))
		for id, port := range map[string]int{"a": 2, "b": 3, "c": 1} {
			if o := b.out(t, id); !o.Running() || o.Port != port {
				t.Errorf("%s: running %v on port %d", id, o.Running(), o.Port)
			}
		}
		if b.ports.Clashes != 0 {
			t.Errorf("%d ports were wanted before they were free", b.ports.Clashes)
		}
	})
}

func TestChangesInPlace(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		o := listener("a", 1)
		b.Apply(one(o))
		first := b.out(t, "a")
		if got := first.Access(); got.Max != 4 || got.Allow != nil {
			t.Errorf("access is %v at first", got)
		}
		o.Name, o.Description, o.MaxViewers = "new", "words", 7
		o.Allow = endpoint.AllowList{netip.MustParsePrefix("10.0.0.0/8")}
		b.Apply(one(o))
		if b.out(t, "a") != first {
			t.Fatal("the output was replaced")
		}
		if got := first.Access(); got.Max != 7 || len(got.Allow) != 1 {
			t.Errorf("access is %v, want what was applied", got)
		}
		// What is made later has the access of today.
		first.Fail(errors.New("lost"))
		time.Sleep(2 * time.Second)
		if second := b.out(t, "a"); second == first || second.Access().Max != 7 {
			t.Errorf("the next attempt has access %v", second.Access())
		}
	})
}

func TestDisableAndEnable(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		o := listener("a", 1)
		b.Apply(one(o))
		first := b.out(t, "a")
		o.Enabled = false
		b.Apply(one(o))
		if first.Running() {
			t.Error("runs although it is disabled")
		}
		b.wantState(t, "a", Disabled)
		o.Enabled = true
		c := one(o)
		c.Flows[0].Enabled = false
		b.Apply(c)
		b.wantState(t, "a", Disabled)
		if n := len(b.made("a")); n != 1 {
			t.Errorf("made %d times although its flow is disabled", n)
		}
		b.Apply(one(o))
		if !b.out(t, "a").Running() {
			t.Error("does not run although it is enabled")
		}
	})
}

func TestHandoverWaitsForTheNewConnection(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		connecting := func(_ Output, o *relaytest.Output) {
			o.SetStatus(func(s *endpoint.OutputStatus) { s.Phase = endpoint.Connecting })
		}
		b.Apply(one(caller("a", "old.example")))
		old := b.out(t, "a")
		time.Sleep(time.Second)
		b.preparing(connecting)
		b.Apply(one(caller("a", "new.example")))
		next := b.out(t, "a")
		time.Sleep(3 * time.Second)
		if !old.Running() || !next.Running() {
			t.Fatalf("old runs: %v, new runs: %v, want both", old.Running(), next.Running())
		}
		next.SetStatus(func(s *endpoint.OutputStatus) { s.Phase = endpoint.Connected })
		time.Sleep(time.Second)
		if old.Running() || !next.Running() {
			t.Fatalf("old runs: %v, new runs: %v, want the new one alone", old.Running(), next.Running())
		}

		// A successor that does not connect has its time, not for ever.
		b.Apply(one(caller("a", "third.example")))
		time.Sleep(9 * time.Second)
		if !next.Running() {
			t.Error("the predecessor was stopped before its time")
		}
		time.Sleep(2 * time.Second)
		if next.Running() {
			t.Error("the predecessor was never stopped")
		}

		// What is not connected itself is not worth waiting for.
		third := b.out(t, "a")
		b.Apply(one(caller("a", "fourth.example")))
		if third.Running() {
			t.Error("an unconnected output was kept")
		}

		// Removing an item ends both of its endpoints.
		fourth := b.out(t, "a")
		fourth.SetStatus(func(s *endpoint.OutputStatus) { s.Phase = endpoint.Connected })
		time.Sleep(time.Second)
		b.Apply(one(caller("a", "fifth.example")))
		fifth := b.out(t, "a")
		b.Apply(one())
		if fourth.Running() || fifth.Running() {
			t.Error("a removed output runs on")
		}
	})
}

func TestPanicHurtsNobodyElse(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("bad", 1), listener("good", 2)))
		bad, good := b.out(t, "bad"), b.out(t, "good")
		bad.Panic()
		synctest.Wait()
		b.observe(time.Now())
		if r := b.report(t, "bad"); r.State != Connecting || r.Reason == nil || r.Reason.Code != "internal_fault" {
			t.Errorf("after its panic it is %s, %v", r.State, r.Reason)
		}
		b.play(t, 2*time.Second)
		if got, lost := good.Got(); len(got) != 200 || lost != 0 || len(b.made("good")) != 1 {
			t.Errorf("the other got %d packets and lost %d, made %d times", len(got), lost, len(b.made("good")))
		}
		if len(b.made("bad")) != 2 || !b.out(t, "bad").Running() {
			t.Errorf("made %d times, want it back", len(b.made("bad")))
		}
	})
}

func TestAnEndpointThatHangsDelaysOthersForABoundedTime(t *testing.T) {
	inBubble(t, Options{StopTimeout: time.Second}, func(t *testing.T, b *box) {
		hang := make(chan struct{})
		b.preparing(func(c Output, o *relaytest.Output) {
			if c.ID == "hangs" {
				o.Hang = hang
			}
		})
		b.Apply(one(listener("hangs", 1), listener("a", 2)))
		synctest.Wait()
		began := time.Now()
		b.Apply(one(listener("a", 3)))
		if took := time.Since(began); took != time.Second {
			t.Errorf("Apply took %v", took)
		}
		if o := b.out(t, "a"); !o.Running() || o.Port != 3 {
			t.Error("the other output was not replaced")
		}
		close(hang) // Run joins it
	})
}

func TestApplyBeforeAndAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(Options{})
		b.Apply(one(listener("a", 1)))
		b.wantState(t, "a", Connecting)
		if len(b.made("a")) != 0 {
			t.Error("started before Run")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		first := b.out(t, "a")
		cancel()
		<-ended
		if first.Running() {
			t.Error("runs after Run has returned")
		}
		b.Apply(one(listener("a", 2)))
		synctest.Wait()
		if len(b.made("a")) != 1 {
			t.Error("started after Run has returned")
		}
	})
}

func TestOutputsOutliveTheInput(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("a", 1)))
		b.play(t, time.Second)
		first := b.in(t, "in")
		first.Fail(errors.New("source went away"))
		time.Sleep(2 * time.Second)
		if b.in(t, "in") == first {
			t.Fatal("the input was not run again")
		}
		b.play(t, time.Second)
		c := one(listener("a", 1))
		c.Flows[0].Inputs[0].SRT.Port = 9001
		b.Apply(c)
		b.play(t, time.Second)
		if got, lost := b.out(t, "a").Got(); len(got) != 300 || lost != 0 || len(b.made("a")) != 1 {
			t.Errorf("%d packets, %d lost, made %d times", len(got), lost, len(b.made("a")))
		}
	})
}

func TestRestartFlow(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("runs", 1), listener("pauses", 2)))
		runs, in := b.out(t, "runs"), b.in(t, "in")
		b.out(t, "pauses").Fail(endpoint.Fail(endpoint.Refused, nil, "bad_secret", "no"))
		synctest.Wait()
		if err := b.RestartFlow("f"); err != nil {
			t.Fatal(err)
		}
		if b.out(t, "runs") == runs || runs.Running() || b.in(t, "in") == in {
			t.Error("what ran was not run again")
		}
		if !b.out(t, "pauses").Running() {
			t.Error("what paused pauses still")
		}
		if err := b.RestartFlow("nix"); !errors.Is(err, ErrNotFound) {
			t.Errorf("of an unknown flow: %v", err)
		}
	})
}

func TestKick(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		disabled := listener("off", 2)
		disabled.Enabled = false
		b.Apply(one(listener("a", 1), disabled))
		b.out(t, "a").SetStatus(func(s *endpoint.OutputStatus) { s.Sessions = []endpoint.Session{{ID: "s1"}} })
		if err := b.Kick("f", "a", "s1"); err != nil {
			t.Error(err)
		}
		if got := b.out(t, "a").Kicked(); len(got) != 1 || got[0] != "s1" {
			t.Errorf("kicked %v", got)
		}
		for _, k := range [][3]string{{"f", "a", "s2"}, {"f", "b", "s1"}, {"g", "a", "s1"}, {"f", "off", "s1"}} {
			if err := b.Kick(k[0], k[1], k[2]); !errors.Is(err, ErrNotFound) {
				t.Errorf("%v: %v", k, err)
			}
		}
	})
}

func TestLedgerSurvivesReplacement(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		dial := caller("a", "x.example")
		b.Apply(one(dial, listener("l", 1)))
		b.play(t, time.Second)
		dial.SRT = &srt.Config{Mode: srt.ModeCaller, Destinations: dial.SRT.Destinations, LatencyMS: 500}
		b.Apply(one(dial, listener("l", 2)))
		b.play(t, time.Second)
		b.observe(time.Now())
		r := b.report(t, "a")
		if len(b.made("a")) != 2 || r.Counters.Packets != 200 || r.Counters.Bytes != 2000 {
			t.Errorf("made %d times, %d packets, %d bytes", len(b.made("a")), r.Counters.Packets, r.Counters.Bytes)
		}
		if r.Counters.Reconnections != 1 {
			t.Errorf("%d reconnections, want 1", r.Counters.Reconnections)
		}
		if r := b.report(t, "l"); r.Counters.Reconnections != 0 {
			t.Errorf("a listener reconnected %d times", r.Counters.Reconnections)
		}
	})
}

func TestSecondInputStandsBy(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		c := one()
		f := &c.Flows[0]
		f.Inputs = append(f.Inputs, source("spare"))
		b.Apply(c)
		b.play(t, time.Second)
		want := func(i int, s State, active bool, reason string) {
			t.Helper()
			synctest.Wait()
			in := b.Report().Flows[0].Inputs[i]
			if in.State != s || in.Active != active || (reason != "") != (in.Reason != nil) || in.Reason != nil && in.Reason.Code != reason {
				t.Errorf("%s is %s, active %v, %v", in.ID, in.State, in.Active, in.Reason)
			}
		}
		want(0, Receiving, true, "")
		want(1, Standby, false, "failover_unavailable")
		if len(b.inputs["spare"]) != 0 {
			t.Error("the spare input is run")
		}
		c = one()
		f = &c.Flows[0]
		f.Inputs = append(f.Inputs, source("spare"))
		f.Failover = &Failover{Mode: "switch", Primary: "spare"}
		b.Apply(c)
		if in := b.in(t, "spare"); !in.Running() {
			t.Error("the primary input is not run")
		}
		want(0, Standby, false, "failover_unavailable")
	})
}

func TestReportFollowsTheMedia(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("a", 1)))
		b.out(t, "a").SetStatus(func(s *endpoint.OutputStatus) {
			s.Sessions = []endpoint.Session{{ID: "s", Since: time.Now()}}
		})
		time.Sleep(time.Second)
		b.wantState(t, "a", NoSource)
		b.play(t, 3*time.Second)
		r := b.report(t, "a")
		if r.State != Connected || time.Since(r.Since) < 2500*time.Millisecond {
			t.Errorf("%s since %v", r.State, time.Since(r.Since))
		}
		if r.BitrateBps < 7500 || r.BitrateBps > 8500 { // 10 bytes every 10 ms
			t.Errorf("%d bit/s, want 8000", r.BitrateBps)
		}
		b.out(t, "a").SetStatus(func(s *endpoint.OutputStatus) { s.Sessions[0].Bytes += 1000 })
		time.Sleep(time.Second)
		r = b.report(t, "a")
		if got := r.Status.Sessions[0].BitrateBps; got < 3000 || got > 5000 { // 1000 bytes in 2 s
			t.Errorf("the session has %d bit/s, want 4000", got)
		}
		time.Sleep(3 * time.Second)
		r = b.report(t, "a")
		if r.State != NoSource || r.BitrateBps != 0 {
			t.Errorf("%s, %d bit/s after 4 s without media", r.State, r.BitrateBps)
		}
		if got := strings.Join(r.PlaybackURLs, " "); got != "srt://192.0.2.1:1 srt://[2001:db8::1]:1" {
			t.Errorf("playback at %s", got)
		}
	})
}

func TestRemovedFlowEndsItsReaders(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one())
		c := b.streams[0].flow.Open()
		b.Apply(Config{})
		if _, _, err := c.Next(t.Context(), make([]media.Packet, 1)); err != io.EOF {
			t.Errorf("a reader of a removed flow gets %v", err)
		}
		if n := len(b.Report().Flows); n != 0 {
			t.Errorf("%d flows are reported", n)
		}
	})
}
