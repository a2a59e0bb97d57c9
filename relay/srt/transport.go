package srt

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// A Transport carries the SRT connections of a box:
//
//	Transport -> loop (one goroutine) -> socket (a UDP port) -> conn -> sender | receiver
//
// What belongs to one flow is served by one loop. There are as many loops as
// processors, at most; one runs only while somebody needs it. The methods may
// be called from any goroutine.
type Transport struct {
	log *slog.Logger

	mu    sync.Mutex   // not held while a loop is waited for
	uses  map[any]*use // by what belongs together
	calls map[place][]*socket
}

// A use is a loop and how many endpoints need it for one key.
type use struct {
	loop *loop
	n    int
}

// A place is what the calls that share a socket have in common.
type place struct {
	loop       *loop
	uplink     string
	generation uint64
	local      netip.Addr
	dscp       int
}

// NewTransport returns a Transport without connections.
func NewTransport(log *slog.Logger) *Transport {
	return &Transport{log: log, uses: make(map[any]*use), calls: make(map[place][]*socket)}
}

// acquire returns the loop of a key, until release.
func (t *Transport) acquire(key any) *loop {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.uses[key]
	if u == nil {
		u = &use{loop: t.choose()}
		t.uses[key] = u
	}
	u.n++
	return u.loop
}

// choose returns the loop with the fewest keys, or a new one. t.mu is held.
func (t *Transport) choose() *loop {
	load := make(map[*loop]int)
	for _, u := range t.uses {
		load[u.loop]++
	}
	if len(load) < runtime.GOMAXPROCS(0) {
		l := newLoop(t.log)
		go l.run()
		return l
	}
	var least *loop
	for l, n := range load {
		if least == nil || n < load[least] {
			least = l
		}
	}
	return least
}

// release ends the need of a loop. The last one stops it.
func (t *Transport) release(key any) {
	t.mu.Lock()
	u := t.uses[key]
	if u.n--; u.n > 0 {
		t.mu.Unlock()
		return
	}
	delete(t.uses, key)
	needed := false
	for _, other := range t.uses {
		needed = needed || other.loop == u.loop
	}
	t.mu.Unlock()
	if !needed {
		u.loop.stop()
	}
}

// settings are what both sides of a connection are made with.
type settings struct {
	latency    time.Duration
	idle       time.Duration // silence after which the peer is given up
	passphrase endpoint.Secret
	keyLength  int // bytes
	streamID   string
	dscp       int
}

func (c Config) settings(dscp int) settings {
	return settings{
		latency: time.Duration(c.LatencyMS) * time.Millisecond, idle: time.Duration(c.PeerIdleTimeoutMS) * time.Millisecond,
		passphrase: c.Passphrase, keyLength: c.KeyLength, streamID: c.StreamID, dscp: dscp,
	}
}

func socketOptions(dscp int, log *slog.Logger) udp.Options {
	return udp.Options{DSCP: dscp, Receive: socketBuffer, Send: socketBuffer, Log: log, Polled: true}
}

// callSocket returns a socket of the loop from which a peer can be called,
// until leave. Calls share one, but no two to the same address: not every peer
// looks at more than that.
func (t *Transport) callSocket(ctx context.Context, l *loop, up endpoint.Uplink, to netip.AddrPort, dscp int, log *slog.Logger) (*socket, error) {
	local, err := udp.Source(ctx, up, to)
	if err != nil {
		return nil, err
	}
	at := place{l, up.Name(), up.Generation(), local, dscp}
	if s := t.share(at, to); s != nil {
		return s, nil
	}
	conn, err := udp.Open(ctx, up, local, socketOptions(dscp, log))
	if err != nil {
		return nil, err
	}
	s := newSocket(l, conn)
	s.place, s.called = at, []netip.AddrPort{to}
	l.post(func(time.Time) { s.open() }) // before what is posted for a call
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[at] = append(t.calls[at], s)
	return s, nil
}

// share returns a socket that there is for calls, nil where there is none.
func (t *Transport) share(at place, to netip.AddrPort) *socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.calls[at] {
		if !slices.Contains(s.called, to) {
			s.called = append(s.called, to)
			return s
		}
	}
	return nil
}

// leave ends a call's use of its socket. The last one closes it.
func (t *Transport) leave(s *socket, to netip.AddrPort) {
	if t.unshare(s, to) {
		s.l.do(func(time.Time) { s.close() })
	}
}

// unshare reports whether nobody uses the socket any more, nor will.
func (t *Transport) unshare(s *socket, to netip.AddrPort) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.called = slices.DeleteFunc(s.called, func(a netip.AddrPort) bool { return a == to })
	if len(s.called) > 0 {
		return false
	}
	t.calls[s.place] = slices.DeleteFunc(t.calls[s.place], func(other *socket) bool { return other == s })
	if len(t.calls[s.place]) == 0 {
		delete(t.calls, s.place)
	}
	return true
}
