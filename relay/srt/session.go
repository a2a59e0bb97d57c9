package srt

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"sluice/relay/endpoint"
)

// Why a session ends, other than with the Run that it belongs to.
var (
	errClosed     = errors.New("the peer closed the connection")
	errSilent     = errors.New("the peer fell silent")
	errStuck      = errors.New("the peer acknowledged nothing")
	errJumped     = errors.New("the peer's packet numbers jumped")
	errReplaced   = errors.New("the peer fell silent and connected anew")
	errKicked     = errors.New("disconnected by an operator")
	errNotAllowed = errors.New("no longer allowed to connect")
	errTooMany    = errors.New("the number of sessions was lowered")
)

// endings gives each cause its code.
var endings = map[error]string{
	errClosed: "peer_closed", errSilent: "peer_silent", errStuck: "peer_stuck", errJumped: "peer_jumped", errReplaced: "peer_replaced",
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
	loop  *loop
	since time.Time
	over  bool // end was called; guarded by the gate
	// logged tells whether its beginning was, so that its end is as well.
	logged bool
}

// idLength is the length of a session's id: 65 random bits.
const idLength = 13

func newSession(c *conn, l *loop) *session {
	return &session{id: rand.Text()[:idLength], conn: c, loop: l, since: time.Now()}
}

// end ends the session soon: at once where there is a reason for that, and
// otherwise when what was taken has been delivered.
func (s *session) end(cause error) {
	s.loop.post(func(time.Time) {
		s.loop.guard(s.conn, func() {
			if _, abrupt := endings[cause]; abrupt || errors.Is(cause, endpoint.ErrSocketsLost) {
				s.conn.end(cause)
			} else {
				s.conn.finish(cause)
			}
		})
	})
}

// A figure is what a session shows of itself.
type figure struct {
	endpoint.Session
	link                  endpoint.Link
	sent, acked, received time.Time
}

func (s *session) figure(acknowledged bool) figure {
	f := figure{Session: endpoint.Session{ID: s.id, Peer: s.conn.peer.String(), Since: s.since}}
	f.link.Peer = f.Peer
	shown := s.conn.shown.Load()
	if shown == nil { // it has just begun
		return f
	}
	f.link = shown.link
	f.sent, f.acked, f.received = shown.sent, shown.acked, shown.received
	f.Bytes, f.Lost, f.Latency = shown.bytes, shown.lost, shown.latency
	f.RTT = time.Duration(shown.link.MsRTT * float64(time.Millisecond))
	if acknowledged {
		f.BytesAcked = shown.bytes
	}
	return f
}
