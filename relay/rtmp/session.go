package rtmp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/relay/endpoint"
)

// Why a session ends, beside what every protocol knows.
var (
	errPeerStuck   = endpoint.NewEnding("peer_stuck", "the peer took nothing of what was sent for 10 s")
	errPeerSlow    = endpoint.NewEnding("peer_slow", "the peer is too slow for the stream")
	errUnpublished = endpoint.NewEnding("unpublished", "the peer ended the stream")
)

// A session is one peer, connected: it publishes or plays here, or is published
// to or played from.
type session struct {
	id    string
	conn  *conn
	since time.Time

	mu       sync.Mutex
	cause    error // of End; nil before
	marks    []mark
	received time.Time // when media last came
	sent     time.Time
	acked    time.Time
	bytes    uint64           // of media
	lack     *endpoint.Reason // what of the stream the peer does not get
	asked    time.Time
	figures  figure
	gone     atomic.Bool
}

// A mark says how many bytes of media the peer has once it has so much of what
// was written.
type mark struct{ wrote, bytes uint64 }

func newSession(c *conn) *session {
	return &session{id: endpoint.NewSessionID(), conn: c, since: time.Now()}
}

func (s *session) ID() string           { return s.id }
func (s *session) Peer() netip.AddrPort { return s.conn.peer }
func (s *session) Heard() time.Time     { return time.Unix(0, s.conn.heard.Load()) }
func (s *session) Gone() bool           { return s.gone.Load() }

// End ends the session soon: at once where there is a reason for that, and
// otherwise when what is being written is. The first cause counts.
func (s *session) End(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return
	}
	s.cause = cause
	if orderly(cause) {
		s.conn.link.hush()
	} else {
		s.conn.link.abort()
	}
}

// begin takes away the limits under which the peer came this far, unless the
// session has ended already.
func (s *session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.conn.link.until(time.Time{})
	}
}

// orderly tells whether there is time to say goodbye.
func orderly(cause error) bool { return errors.Is(cause, context.Canceled) }

// over returns why the session has ended: by End, or else by the error of its
// connection.
func (s *session) over(err error) error {
	s.gone.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return err
}

// took notes that media came.
func (s *session) took(bytes uint64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += bytes
	s.received = at
}

// mostMarks bounds what is kept of what the peer does not have yet: what is
// beyond is confirmed together.
const mostMarks = 4096

// gave notes that media was written, and what of the stream was left out.
func (s *session) gave(bytes uint64, lack *endpoint.Reason, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += bytes
	s.sent, s.lack = at, lack
	m := mark{s.conn.link.wrote(), s.bytes}
	if n := len(s.marks); n >= mostMarks {
		s.marks[n-1] = m
		return
	}
	s.marks = append(s.marks, m)
}

// A figure is what a session shows of itself.
type figure struct {
	endpoint.Session
	sent, acked, received time.Time
	lack                  *endpoint.Reason
}

// askEvery is how often TCP is asked at most.
const askEvery = 500 * time.Millisecond

// figure shows the session, and counts into the ledger what the peer has
// received since it was asked last.
func (s *session) figure(ledger *endpoint.Ledger) figure {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f := &s.figures
	if now.Sub(s.asked) >= askEvery {
		s.asked = now
		s.ask(now, ledger)
	}
	f.ID, f.Peer, f.Since = s.id, s.conn.peer.String(), s.since
	f.Bytes, f.sent, f.acked, f.received = s.bytes, s.sent, s.acked, s.received
	f.lack = s.lack
	return *f
}

// ask asks TCP what of the media the peer's host has. s.mu is held.
func (s *session) ask(now time.Time, ledger *endpoint.Ledger) {
	delivered, rtt := s.conn.link.delivered()
	s.figures.RTT = rtt
	n, bytes := 0, s.figures.BytesAcked
	for n < len(s.marks) && s.marks[n].wrote <= delivered {
		bytes = s.marks[n].bytes
		n++
	}
	s.marks = append(s.marks[:0], s.marks[n:]...)
	if n > 0 {
		ledger.BytesAcked.Add(bytes - s.figures.BytesAcked)
		s.figures.BytesAcked, s.acked = bytes, now
	}
}
