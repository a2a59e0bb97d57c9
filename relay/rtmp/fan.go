package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

const (
	// retryEvery is how often a peer is tried again that took not all of what
	// was sent: the kernel's buffer for it holds much more than it can take in
	// that time.
	retryEvery = 10 * time.Millisecond
	// mostTurn is what one peer is sent at a time, so that one that catches up
	// holds nobody up.
	mostTurn = 512 << 10 // bytes
)

// A fan sends a flow to all peers of an output:
//
//	flow -> feed of each peer -> its chunks -> its socket
//
// One goroutine writes to all of them, and waits for none: what a peer does not
// take now it is offered again, while the others go on. Peers are read from by
// their own goroutines, which call serve.
type fan struct {
	from flow.Source // since start
	log  *slog.Logger
	wake chan struct{} // something is to be done; capacity 1

	mu      sync.Mutex
	served  []*served // oldest first
	scratch []media.Packet
}

func newFan(log *slog.Logger) *fan {
	return &fan{log: log, wake: make(chan struct{}, 1), scratch: make([]media.Packet, mostPackets)}
}

// A served peer is one that a fan sends to.
type served struct {
	conn    *conn
	session *session

	mu       sync.Mutex // held while the peer is written to
	feed     *feed
	left     bool // it is not the fan's any more
	err      error
	load     load      // that is being sent
	rest     [][]byte  // of it: what the peer has not taken yet
	progress time.Time // when it last took something
}

// start has the fan send a flow until what it returns is called, which waits for
// that. All peers have left then.
func (f *fan) start(from flow.Source) (stop func()) {
	edge := from.Open()
	f.from = from
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer edge.Close()
		f.run(ctx, edge)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// run sends to whoever is served until ctx is done.
func (f *fan) run(ctx context.Context, edge *flow.Cursor) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		news := edge.News() // before the look, so that nothing is missed
		var again <-chan time.Time
		if f.turn(time.Now()) {
			retry.Reset(retryEvery)
			again = retry.C
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-f.wake:
		case <-again:
		}
	}
}

// nudge has the fan look at its peers.
func (f *fan) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// turn sends to each peer what there is for it, and reports whether one of them
// has to be tried again.
func (f *fan) turn(now time.Time) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.served {
		if f.survive(p, func() bool { return p.step(now, f.scratch) }) {
			again = true
		}
	}
	return again
}

// survive lets a panic end one peer alone.
func (f *fan) survive(p *served, step func() bool) bool {
	defer func() {
		if v := recover(); v != nil {
			f.log.Error("session panicked", "session", p.session.id, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			p.mu.Lock()
			defer p.mu.Unlock()
			p.fail(errFault)
		}
	}()
	return step()
}

// serve sends to a peer until its session ends, and reads what it says
// meanwhile. told is told of commands, and says whether they end it. goodbye
// is sent where it ends in order. It returns why it ended.
func (f *fan) serve(c *conn, s *session, to *feed, told func(command) (over bool), goodbye ...message) error {
	to.cursor.Rewind()
	p := &served{conn: c, session: s, feed: to, progress: time.Now()}
	c.hold(f.nudge)
	f.mu.Lock()
	f.served = append(f.served, p)
	f.mu.Unlock()
	f.nudge()

	err := survive(f.log, func() error { return listenFor(c, told) })
	s.gone.Store(true)
	f.mu.Lock()
	f.served = slices.DeleteFunc(f.served, func(other *served) bool { return other == p })
	f.mu.Unlock()
	unsent := p.leave()
	if p.err != nil && !errors.Is(err, unix.ETIMEDOUT) { // of which writing hears EPIPE
		err = p.err
	}
	if errors.Is(err, unix.ETIMEDOUT) && c.link.answers() {
		err = errStuck
	}
	why := s.over(broken(err))
	if p.err == nil && orderly(why) {
		c.part(unsent, goodbye...)
	}
	return why
}

// step sends to a peer what it takes, and reports whether it has to be tried
// again.
func (p *served) step(now time.Time, scratch []media.Packet) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left || p.err != nil {
		return false
	}
	for turn := 0; turn < mostTurn; {
		if len(p.rest) == 0 && !p.fill(scratch, now) {
			return false
		}
		n, err := p.conn.link.offer(p.rest)
		turn += n
		p.rest = consume(p.rest, n)
		switch {
		case err != nil:
			p.fail(err)
			return false
		case len(p.rest) == 0:
			p.delivered(now)
			continue
		case n > 0:
			p.progress = now
		case now.Sub(p.progress) > writeTime:
			p.fail(errStuck)
			return false
		}
		return true
	}
	return true
}

// fill takes what is to be sent next, and reports whether there is anything.
func (p *served) fill(scratch []media.Packet, now time.Time) bool {
	p.load = load{chunks: p.load.chunks[:0]}
	if b := p.conn.waiting(); len(b) > 0 {
		p.load.chunks = append(p.load.chunks, b)
	}
	if err := p.feed.next(&p.load, scratch, now); err != nil {
		p.lose(endpoint.DropClosed)
		p.fail(err)
		return false
	}
	p.rest = p.load.chunks
	if len(p.rest) > 0 {
		p.progress = now
		if p.conn.link.tls != nil {
			p.rest = p.conn.link.seal(p.rest)
		}
	}
	return len(p.rest) > 0
}

// delivered books that the kernel has taken the load.
func (p *served) delivered(now time.Time) {
	p.feed.ledger.Sent.Add(p.load.packets)
	p.feed.ledger.Bytes.Add(p.load.bytes)
	if p.load.packets > 0 {
		p.session.gave(p.load.bytes, p.feed.lack, now)
	}
	p.load.packets = 0
	clear(p.load.chunks)
}

// lose books that the load will not be delivered.
func (p *served) lose(why endpoint.Drop) {
	p.feed.ledger.Drop(why, p.load.packets)
	p.load.packets = 0
}

// fail ends the session of a peer that cannot be sent to. Its goroutine sees
// that by what it reads.
func (p *served) fail(err error) {
	p.err = err
	p.conn.link.abort()
}

// leave takes the peer from the fan, and returns what has to be sent for the
// message that is being sent to be whole.
func (p *served) leave() (unsent [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	why := endpoint.DropClosed
	if p.err != nil {
		why = endpoint.DropWrite
	}
	p.lose(why)
	return append(p.rest, p.conn.release())
}

// consume takes n bytes off the front.
func consume(b [][]byte, n int) [][]byte {
	for n > 0 {
		if n < len(b[0]) {
			b[0] = b[0][n:]
			return b
		}
		n -= len(b[0])
		b = b[1:]
	}
	return b
}

// listenFor reads what a peer says that is sent to.
func listenFor(c *conn, told func(command) (over bool)) error {
	for {
		q, ok, err := c.command()
		if err != nil {
			return err
		}
		if ok && told(q) {
			return endpoint.ErrPeerClosed
		}
	}
}
