package srt

import (
	"errors"
	"net/netip"
	"time"

	"sluice/relay/endpoint"
)

// Why a session of SRT ends, beside what ends one of any protocol.
var (
	errStuck  = endpoint.NewEnding("peer_stuck", "the peer acknowledged nothing")
	errJumped = endpoint.NewEnding("peer_jumped", "the peer's packet numbers jumped")
)

// A session is one peer, connected.
type session struct {
	id    string
	conn  *conn
	loop  *loop
	since time.Time
}

func newSession(c *conn, l *loop) *session {
	return &session{id: endpoint.NewSessionID(), conn: c, loop: l, since: time.Now()}
}

func (s *session) ID() string           { return s.id }
func (s *session) Peer() netip.AddrPort { return s.conn.peer }
func (s *session) Gone() bool           { return s.conn.gone.Load() }

// Heard is for the loop, which lets callers in.
func (s *session) Heard() time.Time { return s.conn.when(s.conn.heard) }

// End ends the session soon: at once where there is a reason for that, and
// otherwise when what was taken has been delivered.
func (s *session) End(cause error) {
	s.loop.post(func(time.Time) {
		s.loop.guard(s.conn, func() {
			var reason *endpoint.Ending
			if errors.As(cause, &reason) || errors.Is(cause, endpoint.ErrSocketsLost) {
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

// figuresOf are those of several sessions.
func figuresOf(all []*session, acknowledged bool) (figures []figure) {
	for _, s := range all {
		figures = append(figures, s.figure(acknowledged))
	}
	return figures
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
