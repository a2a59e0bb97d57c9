package rtmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// only allows one address.
func only(address string, most int) endpoint.Access {
	return endpoint.Access{Allow: endpoint.AllowList{netip.PrefixFrom(netip.MustParseAddr(address), 32)}, Max: most}
}

func (r inputRun) gate() endpoint.Gate  { return r.Input.(endpoint.Gate) }
func (r outputRun) gate() endpoint.Gate { return r.Output.(endpoint.Gate) }

// refusedBy checks that a call came to nothing, and that the other end says so.
func refusedBy(t *testing.T, name string, err error, words string) {
	t.Helper()
	if phase, reason := endpoint.Explain(err); err == nil || phase != endpoint.Refused || !strings.Contains(reason.Message, words) {
		t.Errorf("%s: %v, want %s", name, err, words)
	}
}

func TestWhereToPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var inputs []inputRun
	for _, key := range []string{"key", "deep/key", "asked?token=1"} {
		cfg := r.publishHere()
		cfg.StreamKey = endpoint.NewSecret(key)
		inputs = append(inputs, r.input(cfg))
	}
	for _, c := range []struct {
		name     string
		app, key string
		ok       bool
	}{
		{"as configured", "in", "key", true},
		{"with a query", "in", "key?user=x", true},
		{"with an empty query", "in", "key?", true},
		{"with a query behind the application", "in?user=x", "key", true},
		{"with slashes around the application", "/in/", "key", true},
		{"a key with a slash", "in", "deep/key", true},
		{"a key with a slash, cut there", "in/deep", "key", true},
		{"a key with its query", "in", "asked?token=1", true},
		{"a key without its query", "in", "asked", false},
		{"a key with another query", "in", "asked?token=2", false},
		{"a key with more than its query", "in", "asked?token=1&x=2", false},
		{"a wrong key", "in", "kex", false},
		{"the beginning of a key", "in", "ke", false},
		{"more than a key", "in", "keys", false},
		{"a key of another case", "in", "KEY", false},
		{"no key", "in", "", false},
		{"a query alone", "in", "?", false},
		{"a wrong application", "live", "key", false},
		{"no application", "", "key", false},
		{"no application, and all in the key", "", "in/key", false},
	} {
		for _, in := range inputs {
			in.await(endpoint.Listening)
		}
		s := r.callFrom("127.0.0.1", c.app)
		err := s.publishes(c.key)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		} else {
			refusedBy(t, c.name, err, "NetStream.Publish.BadName")
		}
		_ = s.link.tcp.Close()
	}
	turned := func() int { return strings.Count(r.log.String(), "turned away") }
	eventually(t, "it is logged", func() bool { return turned() > 0 })
	if n := turned(); n != 1 {
		t.Errorf("%d lines say that somebody was turned away", n)
	}
}

func TestWhatToPlay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.output(r.playHere())
	out.await(endpoint.Listening)
	for _, c := range []struct {
		name, app, key string
		ok             bool
	}{
		{"as configured", "live", "stage", true},
		{"with a query", "live", "stage?x=1", true},
		{"a wrong name", "live", "stages", false},
		{"no name", "live", "", false},
		{"a wrong application", "in", "stage", false},
	} {
		w := r.callFrom("127.0.0.1", c.app)
		err := w.plays(c.key)
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.ok {
			refusedBy(t, c.name, err, "NetStream.Play.StreamNotFound")
			w.hungUp()
		}
	}
	if p := out.Status().Playback; len(p) != 1 || p[0] != (endpoint.Playback{Scheme: "rtmp", Port: r.port, Path: "/live/stage"}) {
		t.Errorf("playback %+v", p)
	}
	r.input(r.publishHere()).await(endpoint.Listening) // so that the server stays
	out.stop()
	refusedBy(t, "what was stopped", r.callFrom("127.0.0.1", "live").plays("stage"), "NetStream.Play.StreamNotFound")
}

// TestOrder: who asks out of order is let go, and who asks for what there is
// not gets an answer.
func TestOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.input(r.publishHere()).await(endpoint.Listening)
	c := &caller{t, &client{conn: newConn(newLink(dialFrom(t, "127.0.0.1", r.port)))}}
	if err := c.introduce(); err != nil {
		t.Fatal(err)
	}
	_ = c.say(call(0, "createStream", 1, nil))
	c.hungUp()
	c = r.callFrom("127.0.0.1", "in")
	_ = c.say(call(1, "publish", 5, nil, "key", "live")) // without a stream
	c.hungUp()
	c = r.callFrom("127.0.0.1", "in")
	if answer, _, err := c.ask("", 0, "dance", nil); err != nil || answer.name != "_error" {
		t.Errorf("%+v, %v", answer, err)
	}
	for _, name := range []string{"releaseStream", "getStreamLength", "_checkbw", "createStream"} {
		if answer, _, err := c.ask("", 0, name, nil, "key"); err != nil || answer.name != "_result" {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
	}
	for range mostQuestions {
		_ = c.say(call(0, "dance", 0, nil))
	}
	c.hungUp()
}

func TestSecondPublisher(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := r.input(r.publishHere())
	in.await(endpoint.Listening)
	first := r.publisher()
	in.await(endpoint.Connected)
	first.pictures(10)
	second := r.callFrom("127.0.0.2", "in")
	refusedBy(t, "a second one", second.publishes("key"), "another source is connected")
	first.pictures(10)
	eventually(t, "the first goes on", func() bool { return r.flow.Next() == 20 })
	if n := in.ledger.Refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	_ = first.say(call(0, "FCUnpublish", 0, nil, "key"))
	third := r.publisher() // while the first has not left yet
	third.pictures(10)
	eventually(t, "the third is taken", func() bool { return r.flow.Next() == 30 })
	first.hungUp()
	in.stop()
	third.hungUp()
	balanced(t, in.ledger)
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cfg := r.publishHere()
	cfg.Takeover = true
	in := r.input(cfg)
	in.await(endpoint.Listening)
	first := r.publisher()
	first.pictures(10)
	eventually(t, "the first is taken", func() bool { return r.flow.Next() == 10 })
	second := r.publisherFrom("127.0.0.2")
	first.hungUp()
	second.pictures(10)
	eventually(t, "the second is taken", func() bool { return r.flow.Next() == 20 })
	eventually(t, "there is one session", func() bool {
		s := in.Status().Sessions
		return len(s) == 1 && strings.HasPrefix(s[0].Peer, "127.0.0.2:")
	})
	if !strings.Contains(r.log.String(), "another source took its place") {
		t.Error("the log does not say why the first has left")
	}
	in.stop()
	balanced(t, in.ledger)
}

func TestAccess(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)

	in.gate().SetAccess(only("127.0.0.2", 1))
	refusedBy(t, "a publisher from another address", r.callFrom("127.0.0.1", "in").publishes("key"), "its address is not allowed")
	p := r.publisherFrom("127.0.0.2")
	in.await(endpoint.Connected)
	in.gate().SetAccess(only("127.0.0.3", 1))
	p.hungUp()
	in.await(endpoint.Listening)
	if st := in.Status(); st.Reason == nil || st.Reason.Code != "not_allowed" {
		t.Errorf("status: %v", st.Reason)
	}

	out.gate().SetAccess(endpoint.Access{Max: 2})
	one, two := r.player(), r.player()
	refusedBy(t, "one viewer too many", r.callFrom("127.0.0.1", "live").plays("stage"), "the number of viewers is reached")
	out.gate().SetAccess(endpoint.Access{Max: 1})
	_ = two.over()
	eventually(t, "one is left", func() bool { return len(out.Status().Sessions) == 1 })
	if out.gate().Kick("nobody") {
		t.Error("a session is kicked that there is not")
	}
	id := out.Status().Sessions[0].ID
	if !out.gate().Kick(id) || out.gate().Kick(id) {
		t.Error("a session is not kicked, or twice")
	}
	_ = one.over()
	out.await(endpoint.Listening)
	if st := out.Status(); st.Reason == nil || st.Reason.Code != "kicked" {
		t.Errorf("status: %v", st.Reason)
	}
	out.gate().SetAccess(only("127.0.0.2", 5))
	refusedBy(t, "a viewer from another address", r.callFrom("127.0.0.1", "live").plays("stage"), "its address is not allowed")
	if n := out.ledger.Refused.Load(); n != 2 {
		t.Errorf("%d viewers refused", n)
	}
}

// servers is how many servers there are.
func (r *rig) servers() int {
	r.transport.mu.Lock()
	defer r.transport.mu.Unlock()
	return len(r.transport.servers)
}

func TestSharedServer(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)
	if n := r.servers(); n != 1 {
		t.Fatalf("%d servers", n)
	}
	p, w := r.publisher(), r.player()
	p.pictures(10)
	w.sees(9)
	in.stop()
	p.hungUp()
	refusedBy(t, "what is no longer there", r.callFrom("127.0.0.1", "in").publishes("key"), "NetStream.Publish.BadName")
	r.player().awaits("it plays what was last", func() bool { return true })
	again := r.input(r.publishHere())
	again.await(endpoint.Listening)
	p = r.publisher()
	p.n = 25 // a key frame
	p.pictures(1)
	w.sees(25)
	again.stop()
	out.stop()
	if err := w.over(); err == nil {
		t.Error("the viewer is not let go")
	}
	if got := strings.Join(w.statuses, " "); !strings.HasSuffix(got, "NetStream.Play.UnpublishNotify") {
		t.Errorf("the viewer is told %q", got)
	}
	if n := r.servers(); n != 0 {
		t.Errorf("%d servers are left", n)
	}
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", r.port))
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = ln.Close()
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", r.port))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, e := range []*running{r.input(r.publishHere()).running, r.output(r.playHere()).running} {
		var fault *endpoint.Error
		if err := e.wait(); !errors.As(err, &fault) || fault.Phase != endpoint.Unworkable || fault.Reason.Code != "port_taken" ||
			!strings.Contains(err.Error(), fmt.Sprintf("port %d is already in use on lo", r.port)) {
			t.Errorf("it ends with %v", err)
		}
	}
	_ = ln.Close()
	r.input(r.publishHere()).await(endpoint.Listening)
}

func TestTLSWithoutCertificate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in, out := r.publishHere(), r.playHere()
	in.TLS, out.TLS = true, true
	for _, e := range []*running{r.input(in).running, r.output(out).running} {
		var fault *endpoint.Error
		if err := e.wait(); !errors.As(err, &fault) || fault.Phase != endpoint.Unworkable || fault.Reason.Code != "certificate" {
			t.Errorf("it ends with %v", err)
		}
	}
	if n := r.servers(); n != 0 {
		t.Errorf("%d servers are left", n)
	}
}

// TestRenewedUplink: what is made for an uplink's new sockets waits until the
// old ones are gone, and has the port then.
func TestRenewedUplink(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)
	p := r.publisher()
	r.up.Renew()
	next := r.input(r.publishHere())
	in.cancel(endpoint.ErrSocketsLost)
	if err := in.wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	p.hungUp()
	if next.Status().Phase != endpoint.Connecting {
		t.Error("it listens while another has the port")
	}
	player := r.player() // of the old one still
	out.cancel(endpoint.ErrSocketsLost)
	if err := out.wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	_ = player.over()
	next.await(endpoint.Listening)
	r.transport.mu.Lock()
	for _, s := range r.transport.servers {
		if s.generation != r.up.Generation() {
			t.Error("it listens on sockets of before")
		}
	}
	r.transport.mu.Unlock()
	r.publisher().pictures(10)
	eventually(t, "the next one is published to", func() bool { return r.flow.Next() == 10 })

	// And who gives up waiting leaves nothing behind.
	r.up.Renew()
	waiting := r.input(r.publishHere())
	waiting.stop()
	next.stop()
	eventually(t, "no server is left", func() bool { return r.servers() == 0 })
}

// TestPublisherReturns: its players stay, and for them time goes on.
func TestPublisherReturns(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)
	w := r.player()
	next := uint32(0)
	for i, from := range []uint32{0, 5_000_000, 1<<32 - 1000, 10} {
		p := r.callFrom("127.0.0.1", "in")
		if err := p.publishes("key"); err != nil {
			t.Fatal(err)
		}
		b := &broadcaster{caller: p, n: next, time: from, gop: 25, size: 500}
		b.begins()
		b.pictures(50)
		next += 50
		w.sees(next - 1)
		if i%2 == 0 {
			_ = b.link.tcp.Close()
		} else {
			_ = b.say(call(0, "deleteStream", 0, nil, b.stream))
			b.hungUp()
		}
		in.await(endpoint.Listening)
	}
	w.intact()
	if n := out.ledger.Connections.Load(); n != 1 {
		t.Errorf("the player has connected %d times", n)
	}
	if w.meta < 4 || w.headers < 8 {
		t.Errorf("it got metadata %d times and %d headers", w.meta, w.headers)
	}
	out.stop()
	in.stop()
	balanced(t, out.ledger)
	balanced(t, in.ledger)
	if n := in.ledger.Connections.Load(); n != 4 {
		t.Errorf("%d publishers", n)
	}
}

// TestJoining: a player begins at the newest key frame, with what stands before
// the stream, and without waiting for more of it.
func TestJoining(t *testing.T) {
	t.Parallel()
	r, _, _ := serving(t)
	p := r.publisher()
	p.pictures(40) // key frames 0 and 25
	eventually(t, "it is there", func() bool { return r.flow.Next() == 40 })
	w := r.player()
	w.sees(39)
	w.intact()
	if w.got != 15 || w.headers != 2 || w.meta != 2 || strings.Join(w.statuses, " ") != "" && !strings.Contains(strings.Join(w.statuses, " "), "Play.Start") {
		t.Errorf("%d pictures, %d headers, %d data, %v", w.got, w.headers, w.meta, w.statuses)
	}
}

// overrun sends so much that a player which reads nothing is passed by.
func (s *broadcaster) overrun(good *watcher) {
	s.t.Helper()
	for range 60 {
		s.pictures(5)
		good.sees(s.n - 1)
	}
}

// TestSlowPlayer: who does not read loses what it has no room for, goes on with
// a key frame, and is let go in the end; another one loses nothing.
func TestSlowPlayer(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "the good player is too slow there as well")
	t.Parallel()
	r := newRig(t)
	r.flow.SetLimits(flow.Limits{Retain: 50 * time.Millisecond, MaxBytes: 3 << 20, Entry: true})
	in, out := r.input(r.publishHere()), r.output(r.playHere())
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	good := r.player()
	p := r.publisher()
	p.size = 50_000
	p.pictures(1)
	good.sees(0)
	slow := r.joining("127.0.0.2")
	_ = slow.link.tcp.SetReadBuffer(64 << 10)
	for i := range mostOverruns {
		p.overrun(good)
		for slow.read() && slow.gaps <= i {
		}
	}
	for slow.read() {
	}
	if slow.gaps != mostOverruns-1 || slow.mid != 0 || slow.lost == 0 || slow.back != 0 {
		t.Errorf("%d gaps, %d lost, %d times no key frame after one: %v", slow.gaps, slow.lost, slow.mid, slow.err)
	}
	if n := out.ledger.Dropped()["overrun"]; n < uint64(slow.lost) {
		t.Errorf("%d are counted, %d are missing", n, slow.lost)
	}
	eventually(t, "the log says why", func() bool { return strings.Contains(r.log.String(), "too slow for the stream") })
	good.intact()
	out.stop()
	in.stop()
	balanced(t, out.ledger)
	balanced(t, in.ledger)
}

// TestStuckPlayer: who takes nothing for ten seconds is let go.
func TestStuckPlayer(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	r, _, out := serving(t)
	good := r.player()
	p := r.publisher()
	p.size = 50_000
	p.pictures(1)
	good.sees(0)
	stuck := r.joining("127.0.0.2")
	_ = stuck.link.tcp.SetReadBuffer(64 << 10)
	p.overrun(good)
	fan := out.Output.(*listenOutput).fan
	fan.mu.Lock()
	s := fan.served[1]
	fan.mu.Unlock()
	eventually(t, "it is let go", func() bool {
		s.mu.Lock()
		if len(s.rest) > 0 { // as if it had taken nothing for so long
			s.progress = s.progress.Add(-writeTime)
		}
		s.mu.Unlock()
		return len(out.Status().Sessions) == 1
	})
	if !strings.Contains(r.log.String(), "took nothing of what was sent for 10 s") {
		t.Error("the log does not say why")
	}
	p.overrun(good)
	good.intact()
	out.stop()
	balanced(t, out.ledger)
}

// TestTCPGivesUp: a player that takes nothing is stuck, also where TCP notices
// it first, and not silent.
func TestTCPGivesUp(t *testing.T) {
	t.Parallel()
	needsTCPInfo(t)
	r, _, out := serving(t)
	stuck := r.joining("127.0.0.2")
	_ = stuck.link.tcp.SetReadBuffer(64 << 10)
	fan := out.Output.(*listenOutput).fan
	fan.mu.Lock()
	fan.served[0].conn.link.option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1000)
	fan.mu.Unlock()
	p := r.publisher()
	p.size = 50_000
	p.pictures(300)
	out.await(endpoint.Listening)
	if st := out.Status(); st.Reason == nil || st.Reason.Code != "peer_stuck" {
		t.Errorf("status: %v", st.Reason)
	}
	out.stop()
	balanced(t, out.ledger)
}

// TestStopWithStuckPlayer: an output ends soon, whoever does not read.
func TestStopWithStuckPlayer(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	r, _, out := serving(t)
	good := r.player()
	p := r.publisher()
	p.size = 50_000
	p.pictures(1)
	good.sees(0)
	_ = r.joining("127.0.0.2").link.tcp.SetReadBuffer(64 << 10)
	p.overrun(good)
	began := time.Now()
	out.stop()
	if took := time.Since(began); took > writeTime/2 {
		t.Errorf("it ends after %v", took)
	}
	balanced(t, out.ledger)
}

// TestSessionsInFigures: bytes are counted, and those that the peer's host has.
func TestSessionsInFigures(t *testing.T) {
	needsTCPInfo(t)
	t.Parallel()
	r, in, out := serving(t)
	p, w := r.publisher(), r.player()
	p.pictures(100)
	w.sees(99)
	const bytes = 100 * 500
	eventually(t, "all is acknowledged", func() bool {
		st := out.Status()
		return len(st.Sessions) == 1 && st.Sessions[0].BytesAcked == bytes && out.ledger.BytesAcked.Load() == bytes
	})
	st := out.Status()
	if s := st.Sessions[0]; s.Bytes != bytes || s.RTT == 0 || st.Acked.IsZero() || st.Sent.IsZero() || !st.Acknowledges || s.Since.IsZero() {
		t.Errorf("output: %+v", st)
	}
	eventually(t, "all is received", func() bool {
		s := in.Status().Sessions
		return len(s) == 1 && s[0].Bytes == bytes
	})
	if st := in.Status(); st.Peer == "" || st.Received.IsZero() {
		t.Errorf("input: %+v", st)
	}
}

// TestStopsAtOnce: ends that are not in order wait for nobody.
func TestStopsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.output(r.playHere())
	out.await(endpoint.Listening)
	w := r.player()
	eventually(t, "it plays", func() bool { return len(out.Status().Sessions) == 1 })
	out.cancel(endpoint.ErrSocketsLost)
	if err := out.wait(); err != nil {
		t.Error(err)
	}
	_ = w.over()
	if strings.Contains(strings.Join(w.statuses, " "), "UnpublishNotify") {
		t.Error("there was time for a goodbye")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewInput(r.transport, r.publishHere(), anyone, r.env()).Run(ctx, r.flow); err != nil {
		t.Errorf("what is stopped before it begins ends with %v", err)
	}
	if n := r.servers(); n != 0 {
		t.Errorf("%d servers are left", n)
	}
}
