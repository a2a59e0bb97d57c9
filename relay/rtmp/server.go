package rtmp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/gate"
)

// Options are what a Transport is made of. What is zero has a default.
type Options struct {
	Log *slog.Logger
	// Certificate is what servers with TLS present. Without it there are none.
	Certificate func() (*tls.Certificate, error)
	// Roots are trusted to sign the certificates of servers that are called:
	// nil means the system's.
	Roots *x509.CertPool
}

// A Transport carries the RTMP connections of a box. Everything that listens on
// the same uplink and port shares a server, which lives while one needs it. The
// methods may be called from any goroutine.
type Transport struct {
	options Options

	mu      sync.Mutex // not held across I/O
	servers map[place]*server
}

// A place is where a server listens.
type place struct {
	uplink string
	port   int
	tls    bool
}

// NewTransport returns a Transport without connections.
func NewTransport(o Options) *Transport {
	return &Transport{options: o, servers: make(map[place]*server)}
}

// serve returns the server of a place, which release gives back. The error is
// an *endpoint.Error, or that of ctx.
func (t *Transport) serve(ctx context.Context, up endpoint.Uplink, port int, secure bool) (*server, error) {
	at := place{up.Name(), port, secure}
	for {
		t.mu.Lock()
		s, generation := t.servers[at], up.Generation()
		switch {
		case s == nil:
			s = newServer(t, at, generation)
			t.servers[at] = s
			t.mu.Unlock()
			s.open(ctx, up)
			return s.ready(ctx)
		case !s.closing && s.generation == generation:
			s.uses++
			t.mu.Unlock()
			return s.ready(ctx)
		}
		t.mu.Unlock()
		select { // the one before still has the port
		case <-s.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// release ends one use of a server. The last one closes it.
func (t *Transport) release(s *server) {
	t.mu.Lock()
	s.uses--
	last := s.uses == 0
	s.closing = s.closing || last
	t.mu.Unlock()
	if !last {
		return
	}
	s.close()
	t.mu.Lock()
	delete(t.servers, s.at)
	t.mu.Unlock()
	close(s.done)
}

// keep listens for an endpoint until ctx is done or the port fails. register
// lets the server know of it, until what it returns is called.
func (t *Transport) keep(ctx context.Context, up endpoint.Uplink, port int, secure bool, g *gate.Gate[*session], register func(*server) (over func())) error {
	s, err := t.serve(ctx, up, port, secure)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer t.release(s)
	over := register(s)
	g.Open(port)
	cause := endpoint.ErrPeerSilent
	select {
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-s.failed:
		err = endpoint.Fail(endpoint.Connecting, nil, "listen_failed", "TCP port %d no longer accepts connections", port)
	}
	over()
	g.Close(cause)
	return err
}

// What strangers may cost: connections that have not published or played yet.
const (
	mostStrangers = 64               // in one server
	mostOfSite    = 16               // from one host
	strangerTime  = 10 * time.Second // until they do
)

// A server is a listening port and what there is to publish to and to play.
type server struct {
	t          *Transport
	at         place
	generation uint64
	uses       int           // guarded by t.mu
	closing    bool          // guarded by t.mu
	opened     chan struct{} // closed once there is a listener, or err
	err        error
	done       chan struct{} // closed when the port is free again
	failed     chan struct{} // closed when the port no longer accepts
	ln         net.Listener
	tls        *tls.Config // nil: none
	cancel     context.CancelFunc
	running    sync.WaitGroup
	log        *slog.Logger

	mu        sync.Mutex
	inputs    []*listenInput
	outputs   map[string]*listenOutput // by app/key
	strangers []*conn                  // oldest first
	turned    endpoint.Repeated
}

func newServer(t *Transport, at place, generation uint64) *server {
	return &server{
		t: t, at: at, generation: generation, uses: 1, log: t.options.Log.With("uplink", at.uplink, "port", at.port),
		opened: make(chan struct{}), done: make(chan struct{}), failed: make(chan struct{}),
		outputs: make(map[string]*listenOutput),
	}
}

// ready waits for the listener.
func (s *server) ready(ctx context.Context) (*server, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		s.t.release(s)
		return nil, ctx.Err()
	}
	if s.err != nil {
		s.t.release(s)
		return nil, s.err
	}
	return s, nil
}

// open listens.
func (s *server) open(ctx context.Context, up endpoint.Uplink) {
	defer close(s.opened)
	if s.at.tls {
		if s.tls, s.err = s.t.serverTLS(); s.err != nil {
			return
		}
	}
	if s.ln, s.err = listen(ctx, up, s.at.port); s.err != nil {
		return
	}
	var run context.Context
	run, s.cancel = context.WithCancel(context.Background())
	s.running.Go(func() { s.accept(run) })
}

func (t *Transport) serverTLS() (*tls.Config, error) {
	if t.options.Certificate == nil {
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "certificate", "there is no certificate for TLS: set tls to false")
	}
	// Asked for each connection, so that a renewed one is used.
	if _, err := t.options.Certificate(); err != nil {
		return nil, endpoint.Fail(endpoint.Unworkable, err, "certificate", "the certificate for TLS cannot be used")
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.options.Certificate() },
	}, nil
}

// listen opens a port on all addresses of the uplink.
func listen(ctx context.Context, up endpoint.Uplink, port int) (net.Listener, error) {
	ln, err := up.ListenConfig().Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, endpoint.Fail(endpoint.Unworkable, nil, "port_taken",
			"port %d is already in use on %s: choose another, or stop the program that has it", port, up.Name())
	case errors.Is(err, unix.EACCES):
		return nil, endpoint.Fail(endpoint.Unworkable, err, "port_forbidden",
			"port %d cannot be opened by this program: choose one from 1024 on", port)
	case err != nil:
		return nil, endpoint.Fail(endpoint.Connecting, err, "socket_failed", "no TCP socket on %s", up.Name())
	}
	return ln, nil
}

// close ends what is left and frees the port.
func (s *server) close() {
	if s.ln == nil {
		return
	}
	s.cancel()
	s.ln.Close()
	s.mu.Lock()
	for _, c := range s.strangers {
		c.link.abort()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// survive turns a panic into an error, so that it ends one connection alone.
func survive(log *slog.Logger, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("connection panicked", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errFault
		}
	}()
	return f()
}

// accept takes connections until the server is closed.
func (s *server) accept(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := s.ln.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			s.turnAway(netip.AddrPort{}, "the box has no file or memory left for another connection")
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		case errors.Is(err, unix.ECONNABORTED):
			continue
		default:
			s.log.Error("the port no longer accepts connections", "error", err)
			close(s.failed)
			return
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			c.Close()
			continue
		}
		conn := newConn(newLink(tcp))
		s.admit(conn)
		if ctx.Err() != nil { // close has not seen it, maybe
			conn.link.abort()
		}
		s.running.Go(func() { s.handle(ctx, conn) })
	}
}

// handle serves one connection until it ends.
func (s *server) handle(ctx context.Context, c *conn) {
	defer c.link.close()
	err := survive(s.log, func() error { return s.receive(ctx, c) })
	if s.known(c) && err != nil && ctx.Err() == nil {
		s.turnAway(c.peer, complaint(err))
	}
}

// admit lets a stranger in. Where there are too many, one has to leave: whoever
// means it is through in a moment.
func (s *server) admit(c *conn) {
	s.mu.Lock()
	s.strangers = append(s.strangers, c)
	leaving := s.crowding(siteOf(c))
	if leaving != nil {
		s.strangers = slices.DeleteFunc(s.strangers, func(other *conn) bool { return other == leaving })
	}
	s.mu.Unlock()
	if leaving != nil {
		leaving.link.abort()
		s.turnAway(leaving.peer, "too many connections that neither publish nor play")
	}
}

// crowding returns who has to leave in favour of a newcomer from a site: the
// oldest from there if it has too many, or else the oldest of a site with the
// most if all together are too many. s.mu is held.
func (s *server) crowding(newcomer netip.Prefix) *conn {
	of := make(map[netip.Prefix]int)
	most := 0
	for _, c := range s.strangers {
		site := siteOf(c)
		of[site]++
		most = max(most, of[site])
	}
	leaves := func(c *conn) bool { return of[siteOf(c)] == most }
	switch {
	case of[newcomer] > mostOfSite:
		leaves = func(c *conn) bool { return siteOf(c) == newcomer }
	case len(s.strangers) <= mostStrangers:
		return nil
	}
	return s.strangers[slices.IndexFunc(s.strangers, leaves)]
}

// siteOf returns where a connection comes from: a host, or of IPv6 a network,
// as one host may have all addresses of that.
func siteOf(c *conn) netip.Prefix {
	a := c.peer.Addr()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	site, _ := a.Prefix(bits)
	return site
}

// known takes a connection off the strangers, and tells whether it was one.
func (s *server) known(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.strangers)
	s.strangers = slices.DeleteFunc(s.strangers, func(other *conn) bool { return other == c })
	return len(s.strangers) < before
}

// turnAway books a connection that came to nothing.
func (s *server) turnAway(peer netip.AddrPort, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, yes := s.turned.Worth(why); yes {
		s.log.Warn("connection turned away", "peer", peer, "reason", why, "repeated", n)
	}
}

// A name is that of a stream within a server: app/key. What a publisher has to
// know of it is compared in constant time.
type name [sha256.Size]byte

func nameOf(s string) name { return sha256.Sum256([]byte(s)) }

// join makes the name of a stream. Programs split it in different places, or
// not at all.
func join(app, key string) string { return strings.TrimSuffix(strings.Trim(app, "/")+"/"+key, "/") }

// input returns where a publisher of that name belongs, nil if nowhere. A query
// behind the key is looked at only where the configured key has one. All inputs
// are compared, so that the time tells nothing.
func (s *server) input(of string) (found *listenInput) {
	bare, _, _ := strings.Cut(of, "?")
	whole, cut := nameOf(of), nameOf(bare)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.inputs {
		if subtle.ConstantTimeCompare(in.name[:], whole[:])|subtle.ConstantTimeCompare(in.name[:], cut[:]) == 1 {
			found = in
		}
	}
	return found
}

// output returns what is played by a name, nil if there is nothing.
func (s *server) output(of string) *listenOutput {
	bare, _, _ := strings.Cut(of, "?")
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.outputs[of]; o != nil {
		return o
	}
	return s.outputs[bare]
}

func (s *server) register(in *listenInput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inputs = append(s.inputs, in)
}

func (s *server) unregister(in *listenInput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inputs = slices.DeleteFunc(s.inputs, func(other *listenInput) bool { return other == in })
}

func (s *server) offer(o *listenOutput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outputs[o.name] = o
}

func (s *server) withdraw(o *listenOutput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outputs[o.name] == o {
		delete(s.outputs, o.name)
	}
}
