package srt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// A gate is where a listening endpoint lets peers in: one listener, who may
// connect, and the sessions of those who did.
type gate struct {
	transport *Transport
	cfg       Config
	env       endpoint.Env
	// full answers a caller for whom there is no place.
	full verdict

	make   func(*conn, *request) (half, error) // what a session is for; of the Run that is on
	living sync.WaitGroup                      // sessions

	mu       sync.Mutex
	access   endpoint.Access
	port     int        // bound; 0 while not listening
	closed   bool       // nobody is let in any more
	sessions []*session // oldest first
	reason   *endpoint.Reason
	logged   map[string]time.Time // refusals, by verdict
	lines    struct {             // about connections
		begun time.Time
		n     int
	}
}

// A verdict refuses a caller.
type verdict struct {
	code refusal
	why  string // what follows "was refused: "
}

var accepted verdict

func newGate(t *Transport, cfg Config, access endpoint.Access, env endpoint.Env, full verdict) gate {
	return gate{transport: t, cfg: cfg, env: env, access: access, full: full, logged: make(map[string]time.Time)}
}

// serve listens until ctx is done. What belongs to one key shares a loop.
// newHalf makes what a session is for.
func (g *gate) serve(ctx context.Context, key any, newHalf func(*conn, *request) (half, error)) error {
	g.make = newHalf
	ln, err := g.transport.listen(ctx, key, g.env, g.cfg.Port, g.cfg.settings(g.env.DSCP), g)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.port = ln.port
	g.mu.Unlock()
	g.env.Log.Info("listening", "port", ln.port)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ln.failure:
		err = endpoint.Fail(endpoint.Connecting, err, "listen_failed", "UDP port %d no longer receives", ln.port)
	}
	// Callers are refused while the sessions end, so that none is left waiting.
	g.mu.Lock()
	g.closed = true
	for _, s := range g.sessions {
		if err != nil {
			s.end(errSilent)
		} else {
			s.end(context.Cause(ctx))
		}
	}
	g.mu.Unlock()
	g.living.Wait()
	ln.close()
	g.mu.Lock()
	g.port = 0
	g.mu.Unlock()
	return err
}

// admit lets a caller in.
func (g *gate) admit(l *loop, c *conn, r *request) (half, verdict) {
	h, err := g.make(c, r)
	if err != nil {
		_, why := endpoint.Explain(err)
		return nil, verdict{refuseUnacceptable, why.Message}
	}
	s := newSession(c, l)
	c.ended = func(cause error) { g.leave(s, cause) }
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed { // this moment
		h.close(0)
		return nil, verdict{refuseClosing, "this end is closing"}
	}
	for _, old := range g.sessions {
		if old.conn.gone.Load() { // this one takes its place
			old.end(errClosed)
		}
	}
	if g.present() >= g.access.Max {
		if old := g.quietOne(r); old != nil {
			old.over = true
			old.end(errReplaced)
		}
	}
	g.living.Add(1)
	g.sessions = append(g.sessions, s)
	g.reason = nil
	g.env.Ledger.Connections.Add(1)
	if s.logged = g.logs(); s.logged {
		g.env.Log.Info("connected", "peer", r.peer, "session", s.id)
	}
	return h, accepted
}

// judge tells whether a caller is let in.
func (g *gate) judge(r *request) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return verdict{refuseClosing, "this end is closing"}
	case !g.access.Allow.Contains(r.peer.Addr()):
		return verdict{refuseForbidden, "its address is not allowed"}
	case g.cfg.StreamID != "" && r.StreamId != g.cfg.StreamID:
		return verdict{refuseNotFound, "wrong stream id"}
	case g.present() >= g.access.Max && g.quietOne(r) == nil:
		return g.full
	}
	return accepted
}

// present is how many sessions are not about to end. g.mu is held.
func (g *gate) present() (n int) {
	for _, s := range g.sessions {
		if !s.over && !s.conn.gone.Load() {
			n++
		}
	}
	return n
}

// quiet is how long a peer has said nothing when it is believed to be gone if
// it connects anew: peers send something every second.
const quiet = 2500 * time.Millisecond

// quietOne returns a session from the caller's host that has been quiet. It
// ends in the caller's favour, once that is let in: a source that lost its
// power need not wait until its old connection is given up. It is called by the
// loop. g.mu is held.
func (g *gate) quietOne(r *request) *session {
	for _, s := range g.sessions {
		if !s.over && s.conn.peer.Addr() == r.peer.Addr() && r.arrival.Sub(s.conn.when(s.conn.heard)) > quiet {
			return s
		}
	}
	return nil
}

// What is logged of connections in a minute, at most: who may connect may do so
// over and over.
const (
	loggedEvery = time.Minute
	mostLogged  = 300 // connections
)

// logs tells whether another connection is logged. g.mu is held.
func (g *gate) logs() bool {
	if now := time.Now(); now.Sub(g.lines.begun) >= loggedEvery {
		g.lines.begun, g.lines.n = now, 0
	}
	g.lines.n++
	if g.lines.n == mostLogged+1 {
		g.env.Log.Warn("connections come and go so often that the next ones are not logged", "in_last_seconds", int(time.Since(g.lines.begun).Seconds()))
	}
	return g.lines.n <= mostLogged
}

// refusalInterval is how often a refusal of one kind is logged at most: callers
// come again every few seconds.
const refusalInterval = time.Minute

// refused books a caller that was turned away.
func (g *gate) refused(r *request, v verdict) {
	g.env.Ledger.Refused.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reason = endpoint.Because("peer_refused", "%s was refused: %s", r.peer, v.why)
	if now := time.Now(); now.Sub(g.logged[v.why]) >= refusalInterval {
		g.logged[v.why] = now
		g.env.Log.Warn("caller refused", "peer", r.peer, "reason", v.why)
	}
}

// leave takes a session that has ended off the list.
func (g *gate) leave(s *session, cause error) {
	defer g.living.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions = slices.DeleteFunc(g.sessions, func(other *session) bool { return other == s })
	var fault *endpoint.Error
	if why := ending(s.conn.peer, cause); why != nil {
		g.reason = why
	} else if errors.As(cause, &fault) {
		g.reason = &fault.Reason
	}
	if s.logged {
		g.env.Log.Info("disconnected", "peer", s.conn.peer, "session", s.id, "reason", cause)
	}
}

// SetAccess disconnects those who are no longer allowed and, newest first,
// those beyond the number of sessions.
func (g *gate) SetAccess(a endpoint.Access) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.access = a
	for _, s := range g.sessions {
		if !s.over && !a.Allow.Contains(s.conn.peer.Addr()) {
			s.over = true
			s.end(errNotAllowed)
		}
	}
	excess := g.present() - a.Max
	for _, s := range slices.Backward(g.sessions) {
		if excess > 0 && !s.over {
			s.over = true
			s.end(errTooMany)
			excess--
		}
	}
}

// Kick ends a session.
func (g *gate) Kick(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sessions {
		if s.id == id && !s.over {
			s.over = true
			s.end(errKicked)
			return true
		}
	}
	return false
}

// view is a gate at one moment.
type view struct {
	phase    endpoint.Phase
	reason   *endpoint.Reason
	port     int
	sessions []figure // oldest first
}

func (g *gate) view(acknowledged bool) view {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := view{phase: endpoint.Connected, port: g.port}
	switch {
	case g.port == 0:
		v.phase, v.port = endpoint.Connecting, g.cfg.Port
	case len(g.sessions) == 0:
		v.phase, v.reason = endpoint.Listening, g.reason
	}
	for _, s := range g.sessions {
		f := s.figure(acknowledged)
		f.link.Session = s.id
		v.sessions = append(v.sessions, f)
	}
	return v
}
