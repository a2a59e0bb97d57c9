package gate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay/endpoint"
)

// TestLinesAreLimited: who may connect may do so all the time, but not fill the
// log.
func TestLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := env()
		g := OfSource[*peer](endpoint.Access{}, e, false)
		comeAndGo := func() {
			p := from(here)
			enter(t, g, p)
			g.Leave(p, endpoint.ErrPeerClosed)
		}
		const n = 2 * mostConnected
		for range n {
			comeAndGo()
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2*mostConnected+1 {
			t.Errorf("%d lines", lines)
		}
		if connections := e.Ledger.Connections.Load(); connections != n {
			t.Errorf("%d connections", connections)
		}
		time.Sleep(every)
		log.Reset()
		comeAndGo()
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines a minute later", lines)
		}
	})
}

// TestRefusalsAreLimited: one line a minute for each kind.
func TestRefusalsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := env()
		g := OfSource[*peer](endpoint.Access{}, e, false)
		refuse := func() (lines int) {
			log.Reset()
			for range 100 {
				g.Refused(from(here).Peer(), Occupied)
				g.Refused(from(here).Peer(), NotAllowed)
			}
			return strings.Count(log.String(), "\n")
		}
		if n := refuse(); n != 2 {
			t.Errorf("%d lines", n)
		}
		if n := refuse(); n != 0 {
			t.Errorf("%d lines at once again", n)
		}
		time.Sleep(every)
		if n := refuse(); n != 2 {
			t.Errorf("%d lines a minute later", n)
		}
		if n := e.Ledger.Refused.Load(); n != 600 {
			t.Errorf("%d refused", n)
		}
	})
}
