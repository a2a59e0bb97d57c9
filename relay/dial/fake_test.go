package dial

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// A peer is a destination that a test has connect, refuse and leave.
type peer struct {
	address netip.AddrPort
	linger  time.Duration // of an end in order

	mu      sync.Mutex
	refuses error // the next calls; nil: they are connected
	calls   int
	session *session
}

// A session is a connection with it.
type session struct {
	id   string
	peer netip.AddrPort
	lost chan error // the peer's end
	end  chan error // ours, where there is no time for more
}

func (s *session) ID() string           { return s.id }
func (s *session) Peer() netip.AddrPort { return s.peer }

// End has no time to wait where the sockets are lost; otherwise it is under way.
func (s *session) End(cause error) {
	if errors.Is(cause, endpoint.ErrSocketsLost) {
		s.end <- cause
	}
}

// handshake is how long a call takes.
const handshake = 10 * time.Millisecond

func (p *peer) called() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	return p.refuses
}

func (p *peer) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// refuse has the peer refuse to be called, and ends its connection.
func (p *peer) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = err
	if p.session != nil {
		p.session.lost <- endpoint.ErrPeerClosed
		p.session = nil
	}
}

// accept has the peer take calls again.
func (p *peer) accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = nil
}

// talk is a connection, from its beginning to its end.
func (p *peer) talk(ctx context.Context, open func(*session)) error {
	s := &session{id: endpoint.NewSessionID(), peer: p.address, lost: make(chan error, 1), end: make(chan error, 1)}
	p.mu.Lock()
	p.session = s
	p.mu.Unlock()
	open(s)
	var cause error
	select {
	case err := <-s.lost:
		return err
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	if errors.Is(cause, endpoint.ErrSocketsLost) {
		return cause
	}
	select {
	case <-time.After(p.linger):
	case cause = <-s.end:
	}
	return cause
}

var (
	errNobody  = endpoint.Fail(endpoint.Connecting, nil, "no_listener", "nobody listens")
	errRefused = endpoint.Fail(endpoint.Refused, nil, "bad_secret", "the key is wrong")
)

// A buffer is a log.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A world is a Set and the peers that it calls.
type world struct {
	*Set[*session]
	t     *testing.T
	peers []*peer
	up    *relaytest.Uplink
	log   *buffer

	cancel context.CancelCauseFunc
	done   chan error // of Run
}

var addresses = []string{"one.test:1935", "two.test:1935"}

// in has a test play in a bubble, with so many destinations.
func in(t *testing.T, mode string, destinations int, play func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, up: relaytest.NewUplink("wan0"), log: &buffer{}, done: make(chan error, 1)}
		for i := range destinations {
			w.peers = append(w.peers, &peer{address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 1935)})
		}
		w.Set = New[*session](endpoint.Env{
			Uplink: w.up, Ledger: &endpoint.Ledger{}, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		}, mode, addresses[:destinations])
		play(w)
	})
}

// run runs the Set; it is connected as far as it can be.
func (w *world) run() {
	ctx, cancel := context.WithCancelCause(w.t.Context())
	w.cancel = cancel
	go func() {
		w.done <- w.Run(ctx, func(ctx context.Context, i int, open func(*session)) error {
			err := w.peers[i].called()
			select {
			case <-time.After(handshake):
			case <-ctx.Done():
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			return w.peers[i].talk(ctx, open)
		})
	}()
	w.pass(2 * handshake)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// within waits until a condition holds, and returns how long that took.
func (w *world) within(limit time.Duration, what string, cond func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for ; !cond(); w.pass(time.Millisecond) {
		if time.Since(began) > limit {
			w.t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
	return time.Since(began)
}

// stop ends the Run, and returns how long that took.
func (w *world) stop(cause error) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.cancel(cause)
	if err := <-w.done; err != nil {
		w.t.Errorf("it ends with %v", err)
	}
	return time.Since(began)
}

func (w *world) connected(i int) bool { return w.View().Destinations[i].Phase == endpoint.Connected }

// fails returns the code of why a destination is not connected, or "".
func (w *world) fails(i int) string {
	if d := w.View().Destinations[i]; d.Phase != endpoint.Connected && d.Reason != nil {
		return d.Reason.Code
	}
	return ""
}

func (w *world) rests() bool { return w.fails(1) == endpoint.ReasonStandby }

// shows checks the View as a whole.
func (w *world) shows(when string, phase endpoint.Phase, code string, sessions int) {
	w.t.Helper()
	v := w.View()
	if v.Reason == nil {
		v.Reason = &endpoint.Reason{}
	}
	if v.Phase != phase || v.Reason.Code != code || len(v.Sessions) != sessions {
		w.t.Errorf("%s: phase %d, %+v, %d connected", when, v.Phase, *v.Reason, len(v.Sessions))
	}
}
