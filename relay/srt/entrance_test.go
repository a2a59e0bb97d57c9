package srt

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/relaytest"
)

// viewers returns the ids of an output's sessions, oldest first.
func viewers(out *sendingOutput) (ids []string) {
	for _, s := range out.Status().Sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

// watching runs a viewer of ours and waits until it gets the stream.
func watching(t *testing.T, port int) *receivingInput {
	t.Helper()
	in := runInput(t, callerConfig("127.0.0.1", port))
	await(t, "the viewer gets the stream", func() bool { return in.seen.Report().Received > 10 })
	return in
}

// turnedAway waits until a viewer of ours is no longer connected, and returns
// why.
func turnedAway(t *testing.T, in *receivingInput) string {
	t.Helper()
	await(t, "the viewer is disconnected", func() bool { return in.Status().Reason != nil })
	var e *endpoint.Error
	if !errors.As(in.stop(), &e) {
		return ""
	}
	return e.Reason.Code
}

func TestMaxViewers(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: 2}, live(t))
	port := out.port(t)
	first, second := watching(t, port), watching(t, port)
	if third := runInput(t, callerConfig("127.0.0.1", port)); turnedAway(t, third) != "overload" {
		t.Error("a third viewer is let in")
	}
	ids := viewers(out)

	// Fewer: the newest goes. None is left waiting for anything.
	out.Output.(endpoint.Gate).SetAccess(endpoint.Access{Max: 1})
	if code := turnedAway(t, second); code != "peer_closed" {
		t.Errorf("the newest viewer: %s", code)
	}
	await(t, "one viewer is left", func() bool { return len(viewers(out)) == 1 })
	if left := viewers(out)[0]; left != ids[0] {
		t.Errorf("%s is left of %v", left, ids)
	}
	n := first.seen.Report().Received
	await(t, "the other goes on", func() bool { return first.seen.Report().Received > n+50 })
	intact(t, first.seen)
	if n := out.env.Ledger.Refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
}

func TestAllow(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "its streams wait there for longer than a refusal may take")
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	viewer := watching(t, port)
	began := time.Now()
	out.Output.(endpoint.Gate).SetAccess(endpoint.Access{Max: 4, Allow: endpoint.AllowList{netip.MustParsePrefix("192.0.2.0/24")}})
	if code := turnedAway(t, viewer); code != "peer_closed" {
		t.Errorf("the viewer: %s", code)
	}
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	await(t, "the reason shows", func() bool { s := out.Status(); return s.Reason != nil && s.Reason.Code == "not_allowed" })
	if again := runInput(t, callerConfig("127.0.0.1", port)); turnedAway(t, again) != "forbidden" {
		t.Error("it is let in again")
	}
	out.Output.(endpoint.Gate).SetAccess(endpoint.Access{Max: 4, Allow: endpoint.AllowList{netip.MustParsePrefix("127.0.0.0/8")}})
	watching(t, port)
}

func TestKick(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	viewer, other := watching(t, port), watching(t, port)
	g := out.Output.(endpoint.Gate)
	ids := viewers(out)
	if g.Kick("nobody") || len(ids) != 2 || ids[0] == ids[1] {
		t.Fatalf("sessions %v", ids)
	}
	if !g.Kick(ids[0]) || g.Kick(ids[0]) {
		t.Error("a kick says whether there is such a session")
	}
	if code := turnedAway(t, viewer); code != "peer_closed" {
		t.Errorf("the viewer: %s", code)
	}
	await(t, "one viewer is left", func() bool { return len(viewers(out)) == 1 })
	n := other.seen.Report().Received
	await(t, "the other goes on", func() bool { return other.seen.Report().Received > n+50 })
	intact(t, other.seen)
	watching(t, port) // a kick is no ban
}

func TestOnePublisher(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	in := runInput(t, listenerConfig())
	port := in.port(t)
	from := live(t)
	first := runOutput(t, callerConfig("127.0.0.1", port), anyone, from)
	await(t, "the first publishes", func() bool { return in.seen.Report().Received > 10 })
	second := runOutput(t, callerConfig("127.0.0.1", port), anyone, from)
	await(t, "the second is refused", func() bool { return second.Status().Reason != nil })
	checkRefused(t, second.stop(), "conflict")
	n := in.seen.Report().Received
	await(t, "the first goes on", func() bool { return in.seen.Report().Received > n+50 })
	intact(t, in.seen)
	if s := in.Status(); len(s.Sessions) != 1 || !in.Input.(endpoint.Gate).Kick(s.Sessions[0].ID) {
		t.Errorf("%+v", s)
	}
	await(t, "the first is disconnected", func() bool { return first.Status().Phase != endpoint.Connected })
	await(t, "the place is free", func() bool { return in.Status().Phase == endpoint.Listening })
	runOutput(t, callerConfig("127.0.0.1", port), anyone, from)
	await(t, "another publishes", func() bool { return in.Status().Phase == endpoint.Connected })
}

// TestPortTaken holds a port in ways that a second socket could share.
func TestPortTaken(t *testing.T) {
	relaytest.TakesSeconds(t)
	reuse := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	for name, address := range map[string]string{"wildcard": ":0", "loopback": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			held, err := reuse.ListenPacket(t.Context(), "udp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			portTaken(t, held.LocalAddr().(*net.UDPAddr).Port)
		})
	}
	t.Run("another output", func(t *testing.T) {
		out := runOutput(t, listenerConfig(), anyone, live(t))
		portTaken(t, out.port(t))
		watching(t, out.port(t))
		if err := out.stop(); err != nil {
			t.Error(err)
		}
		// The port is free as soon as Run has returned.
		cfg := listenerConfig()
		cfg.Port = out.Status().Playback[0].Port
		runOutput(t, cfg, anyone, live(t)).port(t)
	})
}

func portTaken(t *testing.T, port int) {
	t.Helper()
	cfg := listenerConfig()
	cfg.Port = port
	e, _ := env(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, err := range []error{
		NewInput(NewTransport(e.Log), cfg, anyone, e).Run(ctx, flow.New(flow.DefaultLimits)),
		NewOutput(NewTransport(e.Log), cfg, anyone, e).Run(ctx, flow.New(flow.DefaultLimits)),
	} {
		var fault *endpoint.Error
		if !errors.As(err, &fault) || fault.Phase != endpoint.Unworkable || fault.Reason.Code != "port_taken" {
			t.Errorf("got %v", err)
		}
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	got := relaytest.NewVerifier(1)
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	runProgram(t, nil, sink{got}, "srt-live-transmit", "-q", "-a:no", url("::1", port, "mode=caller&latency=120"), "file://con")
	in := runInput(t, callerConfig("::1", port))
	await(t, "the stream arrives", func() bool {
		return got.Report().Received > enough && in.seen.Report().Received > enough
	})
	intact(t, got)
	intact(t, in.seen)
	for _, s := range out.Status().Sessions {
		if p := netip.MustParseAddrPort(s.Peer); p.Addr() != netip.IPv6Loopback() {
			t.Errorf("peer %v", p)
		}
	}
}

// TestQuickReturn lets a source leave in order and come back at once: it need
// not wait until what it sent before has been delivered.
func TestQuickReturn(t *testing.T) {
	cfg := listenerConfig()
	cfg.LatencyMS = 3000
	in := runInput(t, cfg)
	port := in.port(t)
	for range 3 {
		c := callFrom(t, port)
		c.loop.do(func(time.Time) { c.conn.end(gate.ErrKicked) })
		await(t, "its goodbye arrives", func() bool {
			return !slices.ContainsFunc(in.Input.(*listenInput).View().Sessions, func(s *session) bool { return !s.Gone() })
		})
	}
	if n := in.env.Ledger.Connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}
