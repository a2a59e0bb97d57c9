package srt

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// Why a session ends, other than with the Run that it belongs to.
var (
	errClosed     = errors.New("the peer closed the connection")
	errSilent     = errors.New("the peer fell silent")
	errStuck      = errors.New("the peer acknowledged nothing")
	errKicked     = errors.New("disconnected by an operator")
	errNotAllowed = errors.New("no longer allowed to connect")
	errTooMany    = errors.New("the number of sessions was lowered")
)

// endings gives each cause its code.
var endings = map[error]string{
	errClosed: "peer_closed", errSilent: "peer_silent", errStuck: "peer_stuck",
	errKicked: "kicked", errNotAllowed: "not_allowed", errTooMany: "too_many",
}

// ending says in a sentence why a session ended, nil if it ended with its Run.
func ending(peer netip.AddrPort, cause error) *endpoint.Reason {
	code, ok := endings[cause]
	if !ok {
		return nil
	}
	return endpoint.Because(code, "%s: %v", peer, cause)
}

// A session is one peer, connected.
type session struct {
	id    string
	conn  *conn
	since time.Time
	end   context.CancelCauseFunc // ends the session
	over  bool                    // end was called; guarded by the gate

	mu       sync.Mutex
	bytes    uint64 // payload delivered, or received
	lost     uint64 // packets
	sent     time.Time
	acked    time.Time
	received time.Time
	rtt      time.Duration
	latency  time.Duration
}

// idLength is the length of a session's id: 65 random bits.
const idLength = 13

// newSession returns a session and the context that ends with it.
func newSession(ctx context.Context, c *conn) (*session, context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	return &session{id: rand.Text()[:idLength], conn: c, since: time.Now(), end: end}, ctx
}

// cause says why a read failed.
func (s *session) cause() error {
	if s.conn.goodbye.Load() {
		return errClosed
	}
	return errSilent
}

// update changes the session's figures.
func (s *session) update(f func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// A figure is what a session shows of itself.
type figure struct {
	endpoint.Session
	sent, acked, received time.Time
}

func (s *session) figure(acknowledged bool) figure {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := figure{
		Session: endpoint.Session{
			ID: s.id, Peer: s.conn.peer.String(), Since: s.since, Bytes: s.bytes, Lost: s.lost, RTT: s.rtt, Latency: s.latency,
		},
		sent: s.sent, acked: s.acked, received: s.received,
	}
	if acknowledged {
		f.BytesAcked = s.bytes
	}
	return f
}
