package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
	"sluice/relay/rtp"
)

func TestPauses(t *testing.T) {
	r := DefaultRetry
	for _, c := range []struct {
		n      int
		why    endpoint.Phase
		random float64
		want   time.Duration
	}{
		{1, endpoint.Connecting, 0, 0},
		{1, endpoint.Connecting, 0.5, 500 * time.Millisecond},
		{1, endpoint.Connecting, 1, time.Second},
		{3, endpoint.Connecting, 1, 4 * time.Second},
		{6, endpoint.Connecting, 1, 30 * time.Second},
		{1 << 30, endpoint.Connecting, 1, 30 * time.Second},
		{1, endpoint.Refused, 0, 10 * time.Second},
		{9, endpoint.Refused, 1, 30 * time.Second},
		{1, endpoint.Unworkable, 0.5, 20 * time.Second},
	} {
		if got := r.pause(c.n, c.why, c.random); got != c.want {
			t.Errorf("failure %d of phase %d, random %v: %v, want %v", c.n, c.why, c.random, got, c.want)
		}
	}
}

// failing lets every attempt of every output fail at once.
func failing(err error) func(Output, *relaytest.Output) {
	return func(_ Output, o *relaytest.Output) { o.Fail(err) }
}

func TestFailuresBackOff(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.preparing(failing(errors.New("no route")))
		b.Apply(one(caller("a", "x.example")))
		time.Sleep(10 * time.Minute)
		// At most 30 s and half of it on average make 40; never fewer than 20.
		if n := len(b.made("a")); n < 20 || n > 80 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		b.wantState(t, "a", Connecting)
		if r := b.report(t, "a"); r.Reason == nil || r.Reason.Message != "no route" {
			t.Errorf("the reason is %v", r.Reason)
		}
	})
}

func TestRefusedIsTriedSlowly(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.preparing(failing(endpoint.Fail(endpoint.Refused, nil, "bad_secret", "the passphrase is wrong")))
		b.Apply(one(caller("a", "x.example")))
		for range 50 {
			time.Sleep(time.Second)
			b.wantState(t, "a", Rejected)
		}
		if n := len(b.made("a")); n < 2 || n > 6 {
			t.Errorf("%d attempts in 50 s", n)
		}
		b.preparing(nil)
		time.Sleep(31 * time.Second)
		b.play(t, time.Second)
		b.wantState(t, "a", Connected)
	})
}

func TestTakenPortComesBack(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.Apply(one(listener("holds", 1), listener("wants", 1)))
		time.Sleep(time.Second)
		taken, other := "wants", "holds"
		if !b.made("holds")[0].Running() {
			taken, other = other, taken
		}
		b.wantState(t, taken, Invalid)
		if r := b.report(t, taken); r.Reason == nil || r.Reason.Code != "port_in_use" {
			t.Errorf("the reason is %v", r.Reason)
		}
		o := one(listener(taken, 1), listener(other, 2))
		b.Apply(o)
		time.Sleep(31 * time.Second)
		b.wantState(t, taken, NoSource)
	})
}

func TestReturningUplinkIsNotMetByAStorm(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.wan.Down()
		var c Config
		const flows, each = 10, 30
		for i := range flows {
			f := one().Flows[0]
			f.ID = fmt.Sprint("f", i)
			for k := range each {
				o := caller(fmt.Sprint("o", i, "-", k), "x.example")
				o.Uplink = "wan0"
				f.Outputs = append(f.Outputs, o)
			}
			c.Flows = append(c.Flows, f)
		}
		b.Apply(c)
		time.Sleep(time.Minute)
		if n := len(b.starts); n != 0 {
			t.Fatalf("%d outputs were started on an uplink that is down", n)
		}
		b.wan.Up()
		for range 20 {
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(b.starts); n != flows*each {
			t.Fatalf("%d outputs were started within 20 s, want all %d", n, flows*each)
		}
		for i := range b.starts {
			n := 0
			for _, s := range b.starts[i:] {
				if s.Sub(b.starts[i]) < time.Second {
					n++
				}
			}
			if n > DefaultRetry.StartBurst+int(DefaultRetry.StartsPerSecond) {
				t.Fatalf("%d starts within a second", n)
			}
		}
	})
}

// failures returns how often the first output failed in a row.
func failures(b *box) int {
	synctest.Wait()
	r := b.streams[0].outputs[0].runner
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

func TestHealthForgivesFailures(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.preparing(failing(errors.New("no route")))
		b.Apply(one(caller("a", "x.example")))
		time.Sleep(5 * time.Minute)
		before := failures(b)
		if before < 5 {
			t.Fatalf("%d failures in a row", before)
		}
		b.preparing(nil)
		time.Sleep(31 * time.Second) // it runs by now, but not for a minute
		b.out(t, "a").Fail(errors.New("lost"))
		if n := failures(b); n != before+1 {
			t.Errorf("%d failures in a row after half a minute, want %d", n, before+1)
		}
		time.Sleep(95 * time.Second)
		b.out(t, "a").Fail(errors.New("lost"))
		if n := failures(b); n != 1 {
			t.Errorf("%d failures in a row after a healthy minute, want 1", n)
		}
	})
}

func TestDiallingForAMinuteIsNotHealthy(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		b.preparing(func(_ Output, o *relaytest.Output) {
			o.SetStatus(func(s *endpoint.OutputStatus) { s.Phase = endpoint.Connecting })
		})
		b.Apply(one(caller("a", "x.example")))
		for range 3 {
			o := b.out(t, "a")
			time.Sleep(2 * time.Minute)
			o.Fail(errors.New("no answer"))
			time.Sleep(31 * time.Second)
		}
		if n := failures(b); n != 3 {
			t.Errorf("%d failures in a row, want 3", n)
		}
	})
}

func TestUplinkDownKeepsWhatRuns(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		onWAN := caller("a", "x.example")
		onWAN.Uplink = "wan0"
		b.Apply(one(onWAN, listener("b", 1)))
		b.play(t, time.Second)
		first := b.out(t, "a")
		b.wan.Down()
		b.play(t, time.Second)
		b.wantState(t, "a", UplinkDown)
		b.wantState(t, "b", Connected)
		if r := b.report(t, "a"); r.Reason == nil || r.Reason.Code != "no_carrier" {
			t.Errorf("the reason is %v", r.Reason)
		}
		b.wan.Up()
		b.play(t, time.Second)
		b.wantState(t, "a", Connected)
		if b.out(t, "a") != first || !first.Running() {
			t.Error("it was run again although its sockets were good")
		}
		if got, lost := first.Got(); len(got) != 300 || lost != 0 {
			t.Errorf("%d packets, %d lost", len(got), lost)
		}
	})
}

func TestFailureOnAnUplinkThatIsDownWaitsForIt(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		onWAN := caller("a", "x.example")
		onWAN.Uplink = "wan0"
		b.preparing(failing(errors.New("no route")))
		b.Apply(one(onWAN))
		time.Sleep(time.Hour) // long pauses by now
		b.wan.Down()
		time.Sleep(time.Minute)
		n := len(b.made("a"))
		time.Sleep(time.Hour)
		if len(b.made("a")) != n {
			t.Error("it was run although its uplink is down")
		}
		b.preparing(nil)
		b.wan.Up()
		time.Sleep(500 * time.Millisecond)
		if len(b.made("a")) != n+1 || !b.out(t, "a").Running() {
			t.Error("it was not run as soon as its uplink was ready")
		}
	})
}

func TestUplinkReadyCutsThePauseShort(t *testing.T) {
	inBubble(t, Options{Retry: Retry{First: time.Hour, Max: time.Hour, SlowMin: time.Hour, SlowMax: time.Hour, Healthy: time.Minute, StartsPerSecond: 25, StartBurst: 50}}, func(t *testing.T, b *box) {
		onWAN := caller("a", "x.example")
		onWAN.Uplink = "wan0"
		b.preparing(failing(endpoint.Fail(endpoint.Refused, nil, "no", "no")))
		b.Apply(one(onWAN))
		time.Sleep(time.Minute)
		b.wan.Down()
		time.Sleep(time.Second)
		b.preparing(nil)
		b.wan.Up()
		time.Sleep(time.Second)
		if len(b.made("a")) != 2 || !b.out(t, "a").Running() {
			t.Error("it pauses although its uplink came back")
		}
	})
}

func TestNewGenerationRebuilds(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		onWAN := caller("a", "x.example")
		onWAN.Uplink = "wan0"
		b.Apply(one(onWAN, listener("b", 1)))
		first, other := b.out(t, "a"), b.out(t, "b")
		time.Sleep(time.Second)
		b.wan.Renew()
		time.Sleep(time.Second)
		if b.out(t, "a") == first || first.Running() || !b.out(t, "a").Running() {
			t.Error("it was not rebuilt within a second")
		}
		if b.out(t, "b") != other {
			t.Error("an output of another uplink was rebuilt")
		}
	})
}

// The legs of an RTP output see to their own sockets: the others are to stay.
func TestNewGenerationLeavesRTPToItsLegs(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		o := Output{
			ID: "a", Name: "a", Enabled: true, Protocol: RTP, MaxViewers: 1, Uplink: "wan0",
			RTP: &rtp.OutputConfig{Destinations: []rtp.Destination{{Host: "192.0.2.1", Port: 5004}, {Host: "192.0.2.1", Port: 5004, Uplink: "lan0"}}},
		}
		b.Apply(one(o))
		first := b.out(t, "a")
		time.Sleep(time.Second)
		b.wan.Renew()
		time.Sleep(time.Second)
		if b.out(t, "a") != first || !first.Running() {
			t.Error("the whole output was rebuilt")
		}
	})
}

func TestOutputDestinationsHaveTheirOwnUplinks(t *testing.T) {
	o := listener("a", 1)
	o.Uplink = "lan0"
	if got := fmt.Sprint(outputUplinks(o)); got != "[lan0]" {
		t.Errorf("of a listener: %s", got)
	}
	down, up := relaytest.NewUplink("wan0"), relaytest.NewUplink("wan1")
	down.Down()
	if why := unready([]endpoint.Uplink{down, up}); why != nil {
		t.Errorf("one of two is ready, but: %v", why)
	}
	if why := unready([]endpoint.Uplink{down}); why == nil {
		t.Error("the only one is down, but it is ready")
	}
}

func TestFactoryFailureIsAFailure(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *box) {
		make := b.options.MakeOutput
		b.options.MakeOutput = func(c Output, env endpoint.Env) (endpoint.Output, error) {
			switch c.ID {
			case "none":
				return nil, endpoint.Fail(endpoint.Unworkable, nil, "unsupported", "not in this build")
			case "panics":
				panic("made wrong")
			}
			return make(c, env)
		}
		b.Apply(one(listener("none", 1), listener("panics", 2), listener("good", 3)))
		time.Sleep(500 * time.Millisecond)
		b.wantState(t, "none", Invalid)
		if urls := b.report(t, "none").PlaybackURLs; len(urls) > 0 {
			t.Errorf("what cannot be played is played at %v", urls)
		}
		b.wantState(t, "panics", Connecting)
		b.wantState(t, "good", NoSource)
	})
}

func TestBucketServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(10, 2)
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		began := time.Now()
		for i := range 12 {
			synctest.Wait()
			all.Go(func() {
				if err := b.wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
		}
		all.Wait()
		if took := time.Since(began); took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("12 tokens took %v, want 1 s", took)
		}
		for i, n := range order[2:] {
			if n != i+2 {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

func TestBucketTakesBackWhatIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _ = b.wait(ctx) })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		began := time.Now()
		if err := b.wait(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("waited %v, %v", time.Since(began), err)
		}
	})
}
