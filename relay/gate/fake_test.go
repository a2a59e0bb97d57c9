package gate

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// A peer is a Session that does nothing but remember.
type peer struct {
	id    string
	from  netip.AddrPort
	heard time.Time

	mu    sync.Mutex
	gone  bool
	ended []error // why it was ended
}

// from returns a peer of a host that is heard now.
func from(host string) *peer {
	id := endpoint.NewSessionID()
	return &peer{id: id, from: netip.AddrPortFrom(netip.MustParseAddr(host), 5000), heard: time.Now()}
}

func (p *peer) ID() string           { return p.id }
func (p *peer) Peer() netip.AddrPort { return p.from }
func (p *peer) Heard() time.Time     { return p.heard }

func (p *peer) Gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// leave says goodbye.
func (p *peer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

func (p *peer) End(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, cause)
}

// why is why it was ended, nil if it was not: all of it, if that was more than
// once.
func (p *peer) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ended) == 1 {
		return p.ended[0]
	}
	return errors.Join(p.ended...)
}

// env is what a Gate is given, and its log.
func env() (endpoint.Env, *bytes.Buffer) {
	var log bytes.Buffer
	return endpoint.Env{Ledger: &endpoint.Ledger{}, Log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

// enter lets peers in, and fails the test where they are not.
func enter(t *testing.T, g *Gate[*peer], all ...*peer) {
	t.Helper()
	for _, p := range all {
		if v := g.Enter(p, time.Now()); v != Welcome {
			t.Fatalf("%v is refused: %s", p.from, v)
		}
	}
}

// inside checks who is connected.
func inside(t *testing.T, g *Gate[*peer], want ...*peer) {
	t.Helper()
	if got := g.View().Sessions; fmt.Sprint(names(got)) != fmt.Sprint(names(want)) {
		t.Errorf("inside are %v, not %v", names(got), names(want))
	}
}

func names(all []*peer) (s []string) {
	for _, p := range all {
		s = append(s, p.id+" "+p.from.String())
	}
	return s
}
