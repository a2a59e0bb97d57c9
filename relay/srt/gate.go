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
	cfg Config
	env endpoint.Env
	// full answers a caller for whom there is no place.
	full verdict

	mu       sync.Mutex
	access   endpoint.Access
	port     int        // bound; 0 while not listening
	closed   bool       // nobody is let in any more
	sessions []*session // oldest first
	reason   *endpoint.Reason
	logged   map[string]time.Time // refusals, by verdict
}

// A verdict refuses a caller.
type verdict struct {
	code refusal
	why  string // what follows "was refused: "
}

var accepted verdict

func newGate(cfg Config, access endpoint.Access, env endpoint.Env, full verdict) gate {
	return gate{cfg: cfg, env: env, access: access, full: full, logged: make(map[string]time.Time)}
}

// serve listens until ctx is done, with one goroutine in talk for each
// session. talk returns, its connection closed, the cause of the session's end.
func (g *gate) serve(ctx context.Context, talk func(context.Context, *session) error) error {
	ln, err := listen(g.env.Uplink, g.cfg.Port, g.cfg.settings(g.env.DSCP))
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.port, g.closed = ln.port, false
	g.mu.Unlock()
	g.env.Log.Info("listening", "port", ln.port)

	var talks, accepting sync.WaitGroup
	failure := make(chan error, 1)
	accepting.Go(func() {
		for {
			r, err := ln.accept()
			if err != nil {
				failure <- err
				return
			}
			g.admit(ctx, r, func(ctx context.Context, s *session) {
				talks.Go(func() { g.leave(s, talk(ctx, s)) })
			})
		}
	})
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failure:
		err = endpoint.Fail(endpoint.Connecting, err, "listen_failed", "UDP port %d no longer receives", ln.port)
	}
	// Callers are refused while the sessions end, so that none is left waiting.
	g.mu.Lock()
	g.closed = true
	if err != nil {
		for _, s := range g.sessions {
			s.end(errSilent)
		}
	}
	g.mu.Unlock()
	talks.Wait()
	ln.close()
	accepting.Wait()
	g.mu.Lock()
	g.port = 0
	g.mu.Unlock()
	return err
}

// admit answers one caller.
func (g *gate) admit(ctx context.Context, r *request, start func(context.Context, *session)) {
	if v := g.judge(r); v != accepted {
		r.refuse(v.code)
		g.refused(r, v)
		return
	}
	c, err := r.accept()
	if err != nil {
		g.env.Log.Warn("accepting failed", "peer", r.peer, "error", err)
		return
	}
	s, ctx := newSession(ctx, c)
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		s.end(errClosed)
		c.close()
		return
	}
	defer g.mu.Unlock()
	if !g.access.Allow.Contains(r.peer.Addr()) { // changed this moment
		s.over = true
		s.end(errNotAllowed)
	}
	for _, old := range g.sessions {
		if old.conn.goodbye.Load() { // this one takes its place
			old.end(errClosed)
		}
	}
	g.sessions = append(g.sessions, s)
	g.reason = nil
	g.env.Ledger.Connections.Add(1)
	g.env.Log.Info("connected", "peer", r.peer, "session", s.id)
	start(ctx, s)
}

// judge tells whether a caller is let in.
func (g *gate) judge(r *request) verdict {
	g.mu.Lock()
	closed, access, living := g.closed, g.access, g.living()
	g.mu.Unlock()
	encrypt := g.cfg.Passphrase.IsSet()
	switch length := r.keyLength(); {
	case closed:
		return verdict{refuseClosing, "this end is closing"}
	case !access.Allow.Contains(r.peer.Addr()):
		return verdict{refuseForbidden, "its address is not allowed"}
	case !r.modern():
		return verdict{refuseVersion, "it speaks a version of SRT older than 1.3"}
	case encrypt && !r.encrypted():
		return verdict{refuseUnsecure, "no passphrase"}
	case !encrypt && r.encrypted():
		return verdict{refuseUnsecure, "it has a passphrase and none is set here"}
	case encrypt && length != 0 && length != g.cfg.KeyLength:
		return verdict{refuseUnacceptable, "wrong key length"}
	case encrypt && !r.unlock(g.cfg.Passphrase):
		return verdict{refuseBadSecret, "wrong passphrase"}
	case g.cfg.StreamID != "" && r.streamID() != g.cfg.StreamID:
		return verdict{refuseNotFound, "wrong stream id"}
	case living >= access.Max:
		return g.full
	}
	return accepted
}

// living is how many sessions are not about to end. g.mu is held.
func (g *gate) living() (n int) {
	for _, s := range g.sessions {
		if !s.over && !s.conn.goodbye.Load() {
			n++
		}
	}
	return n
}

// refusalInterval is how often a refusal of one kind is logged at most: callers
// come again every few seconds.
const refusalInterval = time.Minute

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
	s.end(cause)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions = slices.DeleteFunc(g.sessions, func(other *session) bool { return other == s })
	var fault *endpoint.Error
	if why := ending(s.conn.peer, cause); why != nil {
		g.reason = why
	} else if errors.As(cause, &fault) {
		g.reason = &fault.Reason
	}
	g.env.Log.Info("disconnected", "peer", s.conn.peer, "session", s.id, "reason", cause)
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
	excess := g.living() - a.Max
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
		v.sessions = append(v.sessions, s.figure(acknowledged))
	}
	return v
}
