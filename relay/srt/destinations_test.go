package srt

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// quick are the pauses of a call that a test waits for.
var quick = dial.Retry{
	First: 50 * time.Millisecond, Most: 200 * time.Millisecond, Refused: 100 * time.Millisecond,
	Healthy: time.Minute, Proven: 700 * time.Millisecond,
}

// silenceMS is how long a peer may say nothing: longer than a busy machine
// holds up one that is well.
const silenceMS = 4000

// patientListener is a peer of these tests.
func patientListener() Config {
	c := listenerConfig()
	c.PeerIdleTimeoutMS = silenceMS
	return c
}

// callTwo runs an output that calls two ports of the loopback. change, which
// may be nil, changes the configuration.
func callTwo(t *testing.T, mode string, ports [2]int, from flow.Source, change func(*Config)) *sendingOutput {
	t.Helper()
	out := twoDestinations(t, mode, ports, change)
	out.stop = background(t, func(ctx context.Context) error { return out.Run(ctx, from) })
	return out
}

// twoDestinations makes such an output, whose pauses are quick.
func twoDestinations(t *testing.T, mode string, ports [2]int, change func(*Config)) *sendingOutput {
	t.Helper()
	e, log := env(t)
	cfg := callerConfig("127.0.0.1", ports[0])
	cfg.Destinations = append(cfg.Destinations, Destination{Host: "127.0.0.1", Port: ports[1]})
	cfg.DestinationMode, cfg.PeerIdleTimeoutMS = mode, silenceMS
	if change != nil {
		change(&cfg)
	}
	o := NewOutput(NewTransport(e.Log), cfg, anyone, e).(*callOutput)
	o.set.Retry = quick
	return &sendingOutput{Output: o, env: e, log: log}
}

// destination is what the output shows of one of its destinations.
func (out *sendingOutput) destination(i int) endpoint.DestinationStatus {
	return out.Status().Destinations[i]
}

func (out *sendingOutput) isConnected(i int) bool {
	return out.destination(i).Phase == endpoint.Connected
}

// rests tells whether the second destination is held back.
func (out *sendingOutput) rests() bool {
	d := out.destination(1)
	return d.Phase == endpoint.Connecting && d.Reason != nil && d.Reason.Code == endpoint.ReasonStandby
}

// fails tells whether a destination is not connected, for one of the reasons.
func (out *sendingOutput) fails(i int, codes ...string) bool {
	d := out.destination(i)
	for _, code := range codes {
		if d.Phase != endpoint.Connected && d.Reason != nil && d.Reason.Code == code {
			return true
		}
	}
	return false
}

// A hub is srt-live-transmit, which waits for one caller at a port.
type hub struct {
	*program
	got *relaytest.Verifier
}

func runHub(t *testing.T, port, bits int) hub {
	t.Helper()
	h := hub{got: relaytest.NewVerifier(1)}
	h.program = runProgram(t, nil, sink{h.got}, peers[0].name, peers[0].receive(url("127.0.0.1", port, peers[0].options("listener", bits)))...)
	listening(t, port)
	return h
}

func (h hub) received() uint64 { return h.got.Report().Received }

// vanished are the reasons of a destination whose program was killed.
var vanished = []string{"peer_silent", "no_listener", "no_answer"}

// TestBoth sends to two peers. One is killed and comes back: the other loses
// nothing.
func TestBoth(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	ports := [2]int{relaytest.FreePort(t), relaytest.FreePort(t)}
	first, second := runHub(t, ports[0], 0), runHub(t, ports[1], 0)
	out := callTwo(t, dial.Both, ports, live(t), nil)
	await(t, "both get the stream", func() bool { return first.received() > enough && second.received() > enough })
	if s := out.Status(); s.Phase != endpoint.Connected || s.Reason != nil || !out.isConnected(0) || !out.isConnected(1) || len(s.Links) != 2 {
		t.Errorf("%+v", s)
	}
	if n := out.env.Ledger.Connections.Load(); n != 1 {
		t.Errorf("the second counts as a reconnection: %d", n)
	}

	first.kill()
	await(t, "the killed one shows", func() bool { return out.fails(0, vanished...) })
	if s := out.Status(); s.Phase != endpoint.Connected || s.Reason == nil || s.Reason.Code != out.destination(0).Reason.Code || !out.isConnected(1) {
		t.Errorf("%+v", s)
	}
	again := runHub(t, ports[0], 0)
	await(t, "it is served again", func() bool { return again.received() > enough })
	if s := out.Status(); s.Reason != nil || out.env.Ledger.Connections.Load() != 2 {
		t.Errorf("reason %v, %d connections", s.Reason, out.env.Ledger.Connections.Load())
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
	for _, v := range []*relaytest.Verifier{first.got, second.got, again.got} {
		intact(t, v)
	}
	if r := second.got.Report(); again.got.Report().First < r.First+enough {
		t.Errorf("the one that came back begins at %d, not at the live edge", again.got.Report().First)
	}
}

// TestBackup has the second destination take over from the first one that is
// killed, until that is back.
func TestBackup(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "it judges how soon the second takes over")
	t.Parallel()
	ports := [2]int{relaytest.FreePort(t), relaytest.FreePort(t)}
	untouched := countAt(t, ports[1])
	first := runHub(t, ports[0], 0)
	out := callTwo(t, dial.Backup, ports, live(t), nil)
	await(t, "the first gets the stream", func() bool { return first.received() > enough })
	if s := out.Status(); s.Phase != endpoint.Connected || s.Reason != nil || !out.isConnected(0) || !out.rests() || len(s.Links) != 1 {
		t.Errorf("%+v", s)
	}
	if n := untouched(); n > 0 {
		t.Errorf("%d datagrams were sent to the second", n)
	}
	intact(t, first.got)

	second := runHub(t, ports[1], 0)
	first.kill()
	began := time.Now()
	await(t, "the second gets the stream", func() bool { return second.received() > 0 })
	took := time.Since(began)
	t.Logf("it took over after %v", took)
	// The silence that is allowed, a call, the latency; and a busy machine.
	if took > 2*silenceMS*time.Millisecond {
		t.Error("that is too long")
	}
	if s := out.Status(); s.Phase != endpoint.Connected || !out.isConnected(1) || !out.fails(0, vanished...) || s.Joined.Before(began) {
		t.Errorf("%+v", s)
	}

	await(t, "the second has enough of it", func() bool { return second.received() > enough })
	known := second.got.Report().Last
	again := runHub(t, ports[0], 0)
	await(t, "the first is connected", func() bool { return out.isConnected(0) })
	back := time.Now()
	await(t, "the second is let go", func() bool { return out.rests() })
	if took = time.Since(back); took < quick.Proven-100*time.Millisecond {
		t.Errorf("after %v: the first had not proven itself", took)
	}
	await(t, "the second is told", func() bool { return second.ended() })
	await(t, "the first gets the stream", func() bool { return again.received() > enough })
	if s := out.Status(); s.Phase != endpoint.Connected || s.Reason != nil || !out.rests() {
		t.Errorf("%+v", s)
	}
	intact(t, second.got)
	intact(t, again.got)
	a, b := again.got.Report(), second.got.Report()
	if a.First <= known {
		t.Errorf("the first begins anew at %d, not at the live edge: %d was known", a.First, known)
	}
	if a.First >= b.Last {
		t.Errorf("a gap at the change: the second has all to %d, the first from %d", b.Last, a.First)
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
	if n := out.env.Ledger.Connections.Load(); n != 3 {
		t.Errorf("%d connections: there were the first, the second, the first again", n)
	}
}

// countAt counts the datagrams that come to a port of the loopback. The
// function returns their number, and frees the port.
func countAt(t *testing.T, port int) (stop func() int) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 2000); ; n.Add(1) {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	stop = func() int {
		_ = c.Close()
		<-done
		return int(n.Load())
	}
	t.Cleanup(func() { stop() })
	return stop
}
