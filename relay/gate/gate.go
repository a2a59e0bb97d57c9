// Package gate is where a listening endpoint lets peers in, whatever protocol
// they speak: who may connect, how many, and the sessions of those who did.
//
//	peer -> Judge -> what the protocol has to settle with it -> Enter -> session -> Leave
//	          |                        |                          |
//	          +------------------------+--------------------------+--> Refused
//
// A Gate makes no connection and starts nothing: the protocol brings it peers
// and sessions. It is good for one Run of its endpoint.
package gate

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/relay/endpoint"
)

// A Session is one peer of a listening endpoint, as its protocol has it.
type Session interface {
	comparable
	ID() string // of endpoint.NewSessionID
	Peer() netip.AddrPort
	// Heard is when the peer was last heard. Judge and Enter alone ask it.
	Heard() time.Time
	// Gone tells that the peer has said goodbye: the session ends of itself,
	// and takes no place any more.
	Gone() bool
	// End ends the session soon, which is when Leave is called. It neither
	// waits nor calls the Gate: that is locked.
	End(cause error)
}

// Why the Gate ends sessions.
var (
	ErrKicked     = endpoint.NewEnding("kicked", "disconnected by an operator")
	ErrNotAllowed = endpoint.NewEnding("not_allowed", "no longer allowed to connect")
	ErrTooMany    = endpoint.NewEnding("too_many", "the number of sessions was lowered")
	ErrReplaced   = endpoint.NewEnding("peer_replaced", "the peer fell silent and connected anew")
	ErrTakenOver  = endpoint.NewEnding("taken_over", "another source took its place")
)

// A Verdict is why a peer is not let in: what follows "was refused: ".
type Verdict string

const (
	Welcome    Verdict = "" // it is let in
	Closed     Verdict = "this end is closing"
	NotAllowed Verdict = "its address is not allowed"
	Occupied   Verdict = "another source is connected"
	Crowded    Verdict = "the number of viewers is reached"
)

// A Gate is the gate of one listening endpoint, and carries out endpoint.Gate
// for it.
type Gate[S Session] struct {
	ledger   *endpoint.Ledger
	one      bool // an input: there is never more than one source
	takeover bool
	living   sync.WaitGroup // sessions
	log      log

	mu       sync.Mutex
	access   endpoint.Access
	port     int // bound; 0 while not listening
	closed   bool
	sessions []*entry[S] // oldest first
	reason   *endpoint.Reason
}

// An entry is a session that was let in.
type entry[S Session] struct {
	session S
	over    bool          // the Gate has ended it
	logged  bool          // its beginning was, so that its end is as well
	left    chan struct{} // closed by Leave
}

// OfSource returns the gate of an input: it takes one source at a time, however
// many access says. With takeover a second one replaces the first, instead of
// being refused; until that has left, both are sessions (see Alone).
func OfSource[S Session](access endpoint.Access, env endpoint.Env, takeover bool) *Gate[S] {
	access.Max = 1
	return &Gate[S]{ledger: env.Ledger, log: log{to: env.Log}, access: access, one: true, takeover: takeover}
}

// OfViewers returns the gate of an output.
func OfViewers[S Session](access endpoint.Access, env endpoint.Env) *Gate[S] {
	return &Gate[S]{ledger: env.Ledger, log: log{to: env.Log}, access: access}
}

// Open notes the port on which the endpoint now listens.
func (g *Gate[S]) Open(port int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.port = port
	g.log.to.Info("listening", "port", port)
}

// Close lets nobody in any more, ends the sessions, and returns when the last
// has left. The endpoint goes on answering until then, so that no caller is
// left waiting.
func (g *Gate[S]) Close(cause error) {
	g.mu.Lock()
	g.closed = true
	for _, e := range g.sessions {
		e.session.End(cause)
	}
	g.mu.Unlock()
	g.living.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.port = 0
}

// Judge tells whether a peer would be let in.
func (g *Gate[S]) Judge(peer netip.AddrPort, now time.Time) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, v := g.judge(peer, now)
	return v
}

// judge also returns who has to make way, if anyone has. g.mu is held.
func (g *Gate[S]) judge(peer netip.AddrPort, now time.Time) (*yielding[S], Verdict) {
	switch {
	case g.closed:
		return nil, Closed
	case !g.access.Allow.Contains(peer.Addr()):
		return nil, NotAllowed
	case g.present() < g.access.Max:
		return nil, Welcome
	}
	if y := g.yields(peer.Addr(), now); y != nil {
		return y, Welcome
	}
	if g.one {
		return nil, Occupied
	}
	return nil, Crowded
}

// present is how many sessions take a place. g.mu is held.
func (g *Gate[S]) present() (n int) {
	for _, e := range g.sessions {
		if e.present() {
			n++
		}
	}
	return n
}

// present tells whether the session is not about to end. The Gate is locked.
func (e *entry[S]) present() bool { return !e.over && !e.session.Gone() }

// quiet is how long a peer has said nothing when it is believed to be gone if
// it connects anew: peers send something every second.
const quiet = 2500 * time.Millisecond

// A yielding session makes way for a newcomer, once that is let in.
type yielding[S Session] struct {
	*entry[S]
	cause error
}

// yields returns a session that makes way: one from the newcomer's host that
// has been quiet, as a source that lost its power need not wait until its old
// connection is given up; or whichever there is, where a source may be
// replaced. g.mu is held.
func (g *Gate[S]) yields(host netip.Addr, now time.Time) *yielding[S] {
	for _, e := range g.sessions {
		if e.present() && e.session.Peer().Addr() == host && now.Sub(e.session.Heard()) > quiet {
			return &yielding[S]{e, ErrReplaced}
		}
	}
	for _, e := range g.sessions {
		if g.takeover && e.present() {
			return &yielding[S]{e, ErrTakenOver}
		}
	}
	return nil
}

// Enter takes in the session of a peer, if that is still welcome. Leave is to
// be called when it has ended. now is when the peer asked.
func (g *Gate[S]) Enter(s S, now time.Time) Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, v := g.judge(s.Peer(), now)
	if v != Welcome {
		return v
	}
	for _, e := range g.sessions {
		if e.session.Gone() { // this one takes its place
			e.session.End(endpoint.ErrPeerClosed)
		}
	}
	if old != nil {
		old.end(old.cause)
	}
	g.living.Add(1)
	g.reason = nil
	g.ledger.Connections.Add(1)
	g.sessions = append(g.sessions, &entry[S]{
		session: s, logged: g.log.connected(s.Peer(), s.ID()), left: make(chan struct{}),
	})
	return Welcome
}

// Alone returns when every source has left that was there before s: they have
// been ended, and a flow has one writer at a time. It is for protocols whose
// sessions have a goroutine each.
func (g *Gate[S]) Alone(s S) {
	g.mu.Lock()
	before := slices.Clone(g.sessions[:g.index(s)])
	g.mu.Unlock()
	for _, e := range before {
		<-e.left
	}
}

// index finds a session that has not left. g.mu is held.
func (g *Gate[S]) index(s S) int {
	return slices.IndexFunc(g.sessions, func(e *entry[S]) bool { return e.session == s })
}

// end ends a session, whose place is free from now on. The Gate is locked.
func (e *entry[S]) end(cause error) {
	e.over = true
	e.session.End(cause)
}

// Leave takes a session that has ended off the list.
func (g *Gate[S]) Leave(s S, cause error) {
	defer g.living.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.index(s)
	close(g.sessions[i].left)
	if g.sessions[i].logged {
		g.log.to.Info("disconnected", "peer", s.Peer(), "session", s.ID(), "reason", cause)
	}
	g.sessions = slices.Delete(g.sessions, i, i+1)
	var fault *endpoint.Error
	if why := endpoint.Ended(s.Peer(), cause); why != nil {
		g.reason = why
	} else if errors.As(cause, &fault) {
		g.reason = &fault.Reason
	}
}

// Refused books a peer that was turned away: by a Verdict, or for a reason that
// the protocol has, of which there are few.
func (g *Gate[S]) Refused(peer netip.AddrPort, why Verdict) {
	g.ledger.Refused.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reason = endpoint.Because("peer_refused", "%s was refused: %s", peer, why)
	g.log.refused(peer, why)
}

// SetAccess disconnects those who are no longer allowed and, newest first,
// those beyond the number of sessions.
func (g *Gate[S]) SetAccess(a endpoint.Access) {
	if g.one {
		a.Max = 1
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.access = a
	for _, e := range g.sessions {
		if !e.over && !a.Allow.Contains(e.session.Peer().Addr()) {
			e.end(ErrNotAllowed)
		}
	}
	excess := g.present() - a.Max
	for _, e := range slices.Backward(g.sessions) {
		if excess > 0 && e.present() {
			e.end(ErrTooMany)
			excess--
		}
	}
}

// Kick ends a session, and reports whether there was one of that id.
func (g *Gate[S]) Kick(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.sessions {
		if e.session.ID() == id && !e.over {
			e.end(ErrKicked)
			return true
		}
	}
	return false
}

// A View is a Gate at one moment.
type View[S Session] struct {
	Phase    endpoint.Phase
	Reason   *endpoint.Reason // while nobody is connected: how the last one ended, or was refused
	Port     int              // 0 while not listening
	Sessions []S              // oldest first
}

// View shows the Gate.
func (g *Gate[S]) View() View[S] {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := View[S]{Phase: endpoint.Connected, Port: g.port}
	switch {
	case g.port == 0:
		v.Phase = endpoint.Connecting
	case len(g.sessions) == 0:
		v.Phase, v.Reason = endpoint.Listening, g.reason
	}
	for _, e := range g.sessions {
		v.Sessions = append(v.Sessions, e.session)
	}
	return v
}
