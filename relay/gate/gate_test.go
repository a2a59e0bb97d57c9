package gate

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
)

const (
	here      = "192.0.2.1"
	there     = "192.0.2.2"
	elsewhere = "198.51.100.1"
)

var local = endpoint.AllowList{netip.MustParsePrefix("192.0.2.0/24")}

// ofSource and ofViewers return gates that are open.
func ofSource(t *testing.T, takeover bool) *Gate[*peer] {
	t.Helper()
	e, _ := env()
	g := OfSource[*peer](endpoint.Access{Max: 9, Allow: local}, e, takeover)
	g.Open(1935)
	return g
}

func ofViewers(t *testing.T, most int) *Gate[*peer] {
	t.Helper()
	e, _ := env()
	g := OfViewers[*peer](endpoint.Access{Max: most, Allow: local}, e)
	g.Open(1935)
	return g
}

func TestJudge(t *testing.T) {
	now := time.Now()
	closed := ofViewers(t, 2)
	closed.Close(context.Canceled)
	left := from(there)
	left.leave()
	quietFor := func(d time.Duration) *peer {
		p := from(here)
		p.heard = now.Add(-d)
		return p
	}
	for name, c := range map[string]struct {
		gate   *Gate[*peer]
		inside []*peer
		host   string
		want   Verdict
	}{
		"a source":                       {ofSource(t, false), nil, here, Welcome},
		"a second source":                {ofSource(t, false), []*peer{from(there)}, here, Occupied},
		"a source after one that left":   {ofSource(t, false), []*peer{left}, here, Welcome},
		"a second viewer":                {ofViewers(t, 2), []*peer{from(there)}, here, Welcome},
		"a third viewer":                 {ofViewers(t, 2), []*peer{from(there), from(there)}, here, Crowded},
		"not allowed":                    {ofViewers(t, 2), nil, elsewhere, NotAllowed},
		"not allowed where it is full":   {ofViewers(t, 1), []*peer{from(there)}, elsewhere, NotAllowed},
		"closed":                         {closed, nil, here, Closed},
		"not allowed where it is closed": {closed, nil, elsewhere, Closed},
		"its host fell silent":           {ofSource(t, false), []*peer{quietFor(quiet + 1)}, here, Welcome},
		"its host was heard":             {ofSource(t, false), []*peer{quietFor(quiet)}, here, Occupied},
		"another host fell silent":       {ofSource(t, false), []*peer{quietFor(quiet + 1)}, there, Occupied},
		"one viewer fell silent":         {ofViewers(t, 2), []*peer{from(here), quietFor(time.Hour)}, here, Welcome},
		"a takeover":                     {ofSource(t, true), []*peer{from(there)}, here, Welcome},
		"a takeover not allowed":         {ofSource(t, true), []*peer{from(there)}, elsewhere, NotAllowed},
	} {
		enter(t, c.gate, c.inside...)
		p := from(c.host)
		if v := c.gate.Judge(p.Peer(), now); v != c.want {
			t.Errorf("%s: %q, not %q", name, v, c.want)
		}
		for _, other := range c.inside {
			if other.why() != nil {
				t.Errorf("%s: judged alone, it ended another: %v", name, other.why())
			}
		}
		if v := c.gate.Enter(p, now); v != c.want {
			t.Errorf("%s: %q when it enters", name, v)
		}
	}
}

// TestPlaceOfOneThatLeft: who has said goodbye takes no place, and does not hold
// up the next one.
func TestPlaceOfOneThatLeft(t *testing.T) {
	g := ofSource(t, false)
	old, next := from(there), from(here)
	enter(t, g, old)
	old.leave()
	enter(t, g, next)
	if !errors.Is(old.why(), endpoint.ErrPeerClosed) {
		t.Errorf("the old one ends for %v", old.why())
	}
	inside(t, g, old, next) // until it has ended
	g.Leave(old, old.why())
	inside(t, g, next)
}

// TestReplaced: a peer that lost its power comes back to its place.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ofViewers(t, 2)
		other, old := from(there), from(here)
		enter(t, g, other, old)
		time.Sleep(quiet + 1)
		next := from(here)
		enter(t, g, next)
		if old.why() != ErrReplaced || other.why() != nil {
			t.Errorf("ended for %v, the other for %v", old.why(), other.why())
		}
		if v := g.Judge(from(here).Peer(), time.Now()); v != Crowded {
			t.Errorf("one peer comes back twice: %q", v)
		}
		g.Leave(old, old.why())
		inside(t, g, other, next)
	})
}

// TestNoPlaceOfOneThatLeft: who has said goodbye, and has been quiet since, has
// no place to give away.
func TestNoPlaceOfOneThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ofViewers(t, 1)
		old, other := from(here), from(there)
		enter(t, g, old)
		old.leave()
		enter(t, g, other)
		time.Sleep(quiet + 1)
		if v := g.Judge(from(here).Peer(), time.Now()); v != Crowded {
			t.Errorf("%q", v)
		}
	})
}

// TestTakeover: the newest source wins at once, without a word of the old one.
func TestTakeover(t *testing.T) {
	g := ofSource(t, true)
	first, second, third := from(there), from(here), from(there)
	enter(t, g, first, second)
	if first.why() != ErrTakenOver || second.why() != nil {
		t.Errorf("the first ends for %v, the second for %v", first.why(), second.why())
	}
	enter(t, g, third) // while the first has not left
	if second.why() != ErrTakenOver || third.why() != nil {
		t.Errorf("the second ends for %v, the third for %v", second.why(), third.why())
	}
	if v := g.Enter(from(elsewhere), time.Now()); v != NotAllowed || third.why() != nil {
		t.Errorf("%q, the third ends for %v", v, third.why())
	}
	inside(t, g, first, second, third)
	g.Leave(first, ErrTakenOver)
	g.Leave(second, ErrTakenOver)
	inside(t, g, third)
	if n := g.ledger.Connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
	third.leave()
	fourth, fifth := from(here), from(here)
	enter(t, g, fourth, fifth)
	if third.why() == nil || fourth.why() != ErrTakenOver || fifth.why() != nil {
		t.Errorf("the one that left ends for %v, the fourth for %v, the fifth for %v", third.why(), fourth.why(), fifth.why())
	}
}

// TestAlone: a source that takes over writes when the others have left.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ofSource(t, true)
		all := []*peer{from(here), from(there), from(here)}
		enter(t, g, all...)
		alone := make([]bool, len(all))
		for i, p := range all {
			go func() {
				g.Alone(p)
				alone[i] = true
			}()
		}
		for i, p := range all {
			synctest.Wait()
			for j := range all {
				if alone[j] != (j <= i) {
					t.Errorf("%d have left: %v", i, alone)
				}
			}
			g.Leave(p, p.why())
		}
	})
}

// TestSetAccess: those who are no longer allowed go, and of those that are too
// many the newest. Who is leaving is none of them.
func TestSetAccess(t *testing.T) {
	g := ofViewers(t, 9)
	all := []*peer{from(here), from(there), from(here), from(here), from(here)}
	enter(t, g, all...)
	all[4].leave() // of itself
	ended := func(want ...error) {
		t.Helper()
		for i, p := range all {
			if p.why() != want[i] {
				t.Errorf("the viewer %d ends for %v, not %v", i, p.why(), want[i])
			}
		}
	}
	g.SetAccess(endpoint.Access{Max: 4})
	ended(nil, nil, nil, nil, nil)
	onlyHere := endpoint.AllowList{netip.MustParsePrefix(here + "/32")}
	g.SetAccess(endpoint.Access{Max: 2, Allow: onlyHere})
	ended(nil, ErrNotAllowed, nil, ErrTooMany, nil)
	g.SetAccess(endpoint.Access{Max: 2, Allow: onlyHere}) // before they have left
	ended(nil, ErrNotAllowed, nil, ErrTooMany, nil)
	if v := g.Judge(from(here).Peer(), time.Now()); v != Crowded {
		t.Errorf("%q", v)
	}
}

// TestOneSource: an input takes one source, whatever is configured.
func TestOneSource(t *testing.T) {
	g := ofSource(t, false)
	only := from(here)
	enter(t, g, only)
	g.SetAccess(endpoint.Access{Max: 0, Allow: local})
	if only.why() != nil {
		t.Errorf("it ends for %v", only.why())
	}
	g.SetAccess(endpoint.Access{Max: 5, Allow: local})
	if v := g.Judge(from(there).Peer(), time.Now()); v != Occupied {
		t.Errorf("a second one: %q", v)
	}
}

func TestKick(t *testing.T) {
	g := ofViewers(t, 2)
	a, b := from(here), from(here)
	enter(t, g, a, b)
	if g.Kick("nobody") || !g.Kick(a.id) || g.Kick(a.id) {
		t.Error("a kick says whether there is such a session")
	}
	if a.why() != ErrKicked || b.why() != nil {
		t.Errorf("ended for %v, the other for %v", a.why(), b.why())
	}
	enter(t, g, from(here)) // its place is free, and a kick is no ban
}

// TestClose: sessions end with their Run, and nobody gets in meanwhile.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := ofViewers(t, 3)
		a, b := from(here), from(there)
		enter(t, g, a, b)
		closed := false
		go func() {
			g.Close(endpoint.ErrSocketsLost)
			closed = true
		}()
		synctest.Wait()
		if a.why() != endpoint.ErrSocketsLost || b.why() != endpoint.ErrSocketsLost {
			t.Errorf("ended for %v, %v", a.why(), b.why())
		}
		late := from(here)
		if v := g.Enter(late, time.Now()); v != Closed {
			t.Errorf("%q", v)
		}
		g.Leave(a, a.why())
		synctest.Wait()
		if v := g.View(); closed || v.Port != 1935 || v.Phase != endpoint.Connected {
			t.Errorf("closed before the last has left: %+v", v)
		}
		g.Leave(b, b.why())
		synctest.Wait()
		if v := g.View(); !closed || v.Port != 0 || v.Phase != endpoint.Connecting || v.Reason != nil {
			t.Errorf("not closed: %+v", v)
		}
		if n := g.ledger.Connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestView follows what an operator reads.
func TestView(t *testing.T) {
	e, _ := env()
	g := OfSource[*peer](endpoint.Access{}, e, false)
	shows := func(when string, phase endpoint.Phase, code, message string) {
		t.Helper()
		v := g.View()
		if v.Reason == nil {
			v.Reason = &endpoint.Reason{}
		}
		if v.Phase != phase || v.Reason.Code != code || v.Reason.Message != message {
			t.Errorf("%s: phase %d, %+v", when, v.Phase, *v.Reason)
		}
	}
	shows("before", endpoint.Connecting, "", "")
	g.Open(1935)
	shows("open", endpoint.Listening, "", "")
	g.Refused(from(there).Peer(), "wrong stream key")
	shows("after a refusal", endpoint.Listening, "peer_refused", "192.0.2.2:5000 was refused: wrong stream key")
	p := from(here)
	enter(t, g, p)
	shows("with a source", endpoint.Connected, "", "")
	g.Refused(from(there).Peer(), Occupied)
	shows("with a source, after a refusal", endpoint.Connected, "", "")
	g.Leave(p, endpoint.ErrPeerClosed)
	shows("when it has left", endpoint.Listening, "peer_closed", "192.0.2.1:5000: the peer closed the connection")
	enter(t, g, p)
	g.Leave(p, endpoint.Fail(endpoint.Refused, nil, "wrong_format", "its video is unknown"))
	shows("after a fault", endpoint.Listening, "wrong_format", "its video is unknown")
	enter(t, g, p)
	g.Leave(p, context.Canceled)
	shows("when the Run has ended it", endpoint.Listening, "", "")
	if c, r := e.Ledger.Connections.Load(), e.Ledger.Refused.Load(); c != 3 || r != 2 {
		t.Errorf("%d connections, %d refused", c, r)
	}
}

// TestEnds tells how each session that a Gate ends shows.
func TestEnds(t *testing.T) {
	for cause, code := range map[error]string{
		ErrKicked: "kicked", ErrNotAllowed: "not_allowed", ErrTooMany: "too_many", ErrReplaced: "peer_replaced", ErrTakenOver: "taken_over",
	} {
		if why := endpoint.Ended(from(here).Peer(), cause); why == nil || why.Code != code || why.Message != "192.0.2.1:5000: "+cause.Error() {
			t.Errorf("%v: %+v", cause, why)
		}
	}
}

// TestCrowd has many peers come at the same time: there are never more than are
// allowed.
func TestCrowd(t *testing.T) {
	const most = 3
	g := ofViewers(t, most)
	var crowd sync.WaitGroup
	for range 50 {
		crowd.Go(func() {
			for range 50 {
				p := from(here)
				if g.Judge(p.Peer(), time.Now()) != Welcome || g.Enter(p, time.Now()) != Welcome {
					continue
				}
				if n := len(g.View().Sessions); n > most {
					t.Errorf("%d are inside", n)
				}
				g.Leave(p, endpoint.ErrPeerClosed)
			}
		})
	}
	crowd.Wait()
	inside(t, g)
}
