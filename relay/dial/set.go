// Package dial is the calling side of an endpoint, whatever protocol it speaks:
// one destination, or two of which the second takes part all the time or stands
// in while the first fails.
//
//	Set
//	  Run     one, both, backup (set.go, backup.go)
//	    leg   one destination: called once, or again and again (leg.go)
//	      Call   the protocol: connects, says so by open, talks until it ends
//	  View    what became of it
//
// One destination is called once, and the Engine's supervisor makes the next
// Run; two are called again and again here, since one goes on while the other
// fails.
package dial

import (
	"context"
	"net/netip"
	"sync"

	"sluice/relay/endpoint"
)

// What a second destination is for.
const (
	Backup = "backup" // it is called while the first fails
	Both   = "both"   // it is called as well
)

// A Session is a connection with a destination, as its protocol has it.
type Session interface {
	ID() string // of endpoint.NewSessionID
	Peer() netip.AddrPort
	// End ends the session soon. It neither waits nor calls the Set: that is
	// locked.
	End(cause error)
}

// A Call calls the ith destination, calls open once when it is connected, and
// talks until ctx is done or the connection ends. What it has started is over
// when it returns. The error is an *endpoint.Error or *endpoint.Ending; where
// ctx is done it is logged at most, and the cause of that (context.Cause) says
// whether there is time to end in order.
type Call[S Session] func(ctx context.Context, i int, open func(S)) error

// A Set is the destinations of one endpoint. It is good for one Run.
type Set[S Session] struct {
	// Retry says how two destinations are called again: DefaultRetry, unless
	// it is changed before Run.
	Retry Retry

	env  endpoint.Env
	mode string
	legs []*leg[S]
	call Call[S] // of the Run that is on

	mu sync.Mutex // guards the state of the legs
}

// New returns a Set of one or two destinations. The addresses are what is
// shown of them: host:port as configured. mode is Backup or Both.
func New[S Session](env endpoint.Env, mode string, addresses []string) *Set[S] {
	s := &Set[S]{Retry: DefaultRetry, env: env, mode: mode}
	for i, a := range addresses {
		s.legs = append(s.legs, &leg[S]{set: s, index: i, address: a, news: make(chan bool, 1)})
	}
	return s
}

// Run calls the destinations until ctx is done; where there is one, until its
// connection ends. The error is an *endpoint.Error, or nil where ctx is done.
func (s *Set[S]) Run(ctx context.Context, call Call[S]) error {
	s.call = call
	switch {
	case len(s.legs) == 1:
		if _, fault := s.legs[0].once(ctx); fault != nil {
			return fault
		}
	case s.mode == Both:
		s.both(ctx)
	default:
		s.backup(ctx)
	}
	return nil
}

// both calls both destinations, all the time.
func (s *Set[S]) both(ctx context.Context) {
	var legs sync.WaitGroup
	for _, l := range s.legs {
		legs.Go(func() { l.keep(ctx) })
	}
	legs.Wait()
}

// connected tells whether any leg is. s.mu is held.
func (s *Set[S]) connected() bool {
	for _, l := range s.legs {
		if l.connected {
			return true
		}
	}
	return false
}

// A View is a Set at one moment.
type View[S Session] struct {
	Phase        endpoint.Phase
	Reason       *endpoint.Reason
	Sessions     []S // with the destinations that are connected
	Destinations []endpoint.DestinationStatus
}

// View shows the Set: it is connected while one of its destinations is, and
// otherwise what is worst. The reason is that of one that fails, the other one
// connected or not.
func (s *Set[S]) View() (v View[S]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		st := l.status()
		v.Destinations = append(v.Destinations, st)
		switch {
		case l.connected:
			v.Sessions = append(v.Sessions, l.session)
		case l.failure != nil && (v.Reason == nil || st.Phase > v.Phase):
			v.Phase, v.Reason = st.Phase, st.Reason
		}
	}
	if s.connected() {
		v.Phase = endpoint.Connected
	}
	return v
}
