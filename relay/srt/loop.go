package srt

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// The times of a loop.
const (
	// tick is the window in which datagrams are gathered: what arrives in it
	// is handled together, and what it brings about leaves together. Times on
	// the wire are those of the packets, not of the window.
	tick = 10 * time.Millisecond
	// shortTick is that of the shortest latencies: a lost packet must be asked
	// for and sent again within it.
	shortTick = time.Millisecond
	// tickShare of a connection's latency is what the window may take of it.
	tickShare = 12
	// glances is how many times in a window a loop looks after connections whose
	// path loses packets: what is lost has that much less time.
	glances = 4
	// paceEvery is how long a peer has to itself between two bursts.
	paceEvery = time.Millisecond
	// faultsEvery is how often a panic is logged at most: its stack is long, and
	// a peer that can bring one about can do so again.
	faultsEvery = 10 * time.Second
)

// The sizes of a loop.
const (
	readBatch    = 64       // datagrams in a system call
	mostReads    = 64       // system calls for a socket in a tick
	writeBatch   = 512      // datagrams in a system call
	socketBuffer = 8 << 20  // asked for, bytes: half a second at 100 Mbit/s
	arenaBlock   = 64 << 10 // bytes
)

// A loop serves many connections with one goroutine and one timer:
//
//	each tick: read all sockets -> connections that receive -> those that send -> write all
//	between:   peers for whom there was more than a burst; while packets are
//	           lost, what has to do with those
//
// Everything that belongs to a loop is touched by its goroutine alone; others
// post functions to it.
type loop struct {
	log  *slog.Logger
	wake chan struct{} // capacity 1
	done chan struct{} // closed when run returns
	work sync.WaitGroup

	mu     sync.Mutex
	posted []func(now time.Time)

	stopping          bool
	sockets           []*socket
	inbound, outbound []*conn
	busy              []*conn // for whom there is more to send
	window            time.Duration
	lossy             bool      // a connection is
	faultAt           time.Time // when one was logged
	faults            int       // since then
	waiting           int       // packets that were put
	reader            *udp.Reader
	writer            *udp.Writer
	arena             arena
}

func newLoop(log *slog.Logger) *loop {
	return &loop{
		log: log, wake: make(chan struct{}, 1), done: make(chan struct{}), window: tick,
		reader: udp.NewReader(nil, readBatch, maxDatagram+headerSize), writer: udp.NewWriter(nil, writeBatch),
	}
}

// post has the loop call f soon.
func (l *loop) post(f func(now time.Time)) {
	l.mu.Lock()
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// do has the loop call f, and waits for it.
func (l *loop) do(f func(now time.Time)) {
	done := make(chan struct{})
	l.post(func(now time.Time) {
		defer close(done)
		f(now)
	})
	<-done
}

// stop ends the loop, whose sockets are closed already.
func (l *loop) stop() {
	l.post(func(time.Time) { l.stopping = true })
	<-l.done
	l.work.Wait()
}

func (l *loop) run() {
	defer close(l.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		now := time.Now()
		l.runPosted(now)
		if l.stopping {
			return
		}
		if !now.Before(due) {
			l.tick(now)
			if due = due.Add(l.window); due.Before(now) {
				due = now.Add(l.window)
			}
		} else {
			if l.lossy {
				l.glance(now)
			}
			l.pump(now)
		}
		l.flush()
		wait := time.Until(due)
		if l.lossy {
			wait = min(wait, l.window/glances)
		}
		if len(l.busy) > 0 {
			wait = min(wait, paceEvery)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.wake:
		}
	}
}

func (l *loop) runPosted(now time.Time) {
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		l.call(f, now)
	}
}

// call calls a function that was posted.
func (l *loop) call(f func(now time.Time), now time.Time) {
	defer l.caughtElsewhere()
	f(now)
}

// tick does everything once. Those that receive come first, so that what they
// publish leaves in the same tick.
func (l *loop) tick(now time.Time) {
	for _, s := range l.sockets {
		s.read(now)
		s.tick(now)
	}
	for _, c := range l.inbound {
		l.tickConn(c, now)
	}
	for _, c := range l.outbound {
		l.tickConn(c, now)
	}
	l.busy = append(l.busy[:0], l.outbound...)
	l.pump(now)
	over := func(c *conn) bool { return c.over }
	l.inbound, l.outbound = slices.DeleteFunc(l.inbound, over), slices.DeleteFunc(l.outbound, over)
	for _, s := range l.sockets {
		s.sweep()
	}
	l.fit()
}

// glance does what cannot wait for connections that lose packets.
func (l *loop) glance(now time.Time) {
	for _, s := range l.sockets {
		s.read(now)
	}
	for _, all := range [...][]*conn{l.inbound, l.outbound} {
		for _, c := range all {
			if c.loses() {
				l.tickConn(c, now)
				l.pumpConn(c, now, true)
			}
		}
	}
}

// pump sends to those that are busy, and keeps those for whom there is more.
func (l *loop) pump(now time.Time) {
	l.busy = slices.DeleteFunc(l.busy, func(c *conn) bool {
		more := l.pumpConn(c, now, false)
		if l.waiting >= writeBatch {
			l.flush()
		}
		return !more
	})
}

// fit makes the window suit the shortest latency, and the losses.
func (l *loop) fit() {
	l.window, l.lossy = tick, false
	if len(l.inbound)+len(l.outbound) == 0 {
		l.window = 2 * tick // callers can wait
	}
	for _, all := range [...][]*conn{l.inbound, l.outbound} {
		for _, c := range all {
			l.window = min(l.window, max(shortTick, max(c.terms.receive, c.terms.send)/tickShare))
			l.lossy = l.lossy || c.loses()
		}
	}
}

// add takes a connection in.
func (l *loop) add(c *conn, s *socket) {
	s.conns[c.id] = c
	if _, ok := c.half.(*sender); ok {
		l.outbound = append(l.outbound, c)
	} else {
		l.inbound = append(l.inbound, c)
	}
	c.show(0)
}

// flush writes what was put, and takes its memory back.
func (l *loop) flush() {
	if l.waiting == 0 {
		return
	}
	for _, s := range l.sockets {
		s.write()
	}
	l.waiting = 0
	l.arena.reset()
}

func (l *loop) takeConn(c *conn, h header, body []byte, arrival, now time.Time) {
	defer l.caught(c)
	c.take(h, body, arrival, now)
}

func (l *loop) tickConn(c *conn, now time.Time) {
	defer l.caught(c)
	c.tick(now)
}

func (l *loop) pumpConn(c *conn, now time.Time, again bool) bool {
	defer l.caught(c)
	return c.pump(now, again)
}

// guard calls f on behalf of a connection.
func (l *loop) guard(c *conn, f func()) {
	defer l.caught(c)
	f()
}

// caught ends a connection that panicked, so that it hurts no other.
func (l *loop) caught(c *conn) {
	if v := recover(); v != nil {
		l.fault(v, "peer", c.peer)
		c.abort(endpoint.Fail(endpoint.Connecting, nil, "internal_fault", "the connection stopped by a fault of this software"))
	}
}

// caughtElsewhere goes on after a panic where there is no connection yet: one
// handshake is not to end the others' streams.
func (l *loop) caughtElsewhere() {
	if v := recover(); v != nil {
		l.fault(v)
	}
}

// fault logs a panic. It is called while that is being recovered from.
func (l *loop) fault(v any, about ...any) {
	l.faults++
	now := time.Now()
	if now.Sub(l.faultAt) < faultsEvery {
		return
	}
	l.log.Error("SRT: a fault of this software", append(about, "panics", l.faults, "value", fmt.Sprint(v), "stack", string(debug.Stack()))...)
	l.faultAt, l.faults = now, 0
}

// An arena is memory that is given out piece by piece and taken back all at
// once.
type arena struct {
	blocks [][]byte
	block  int // in use
	used   int // of it
}

// alloc returns n bytes, at most arenaBlock.
func (a *arena) alloc(n int) []byte {
	if a.block < len(a.blocks) && a.used+n > arenaBlock {
		a.block, a.used = a.block+1, 0
	}
	if a.block == len(a.blocks) {
		a.blocks = append(a.blocks, make([]byte, arenaBlock))
	}
	b := a.blocks[a.block][a.used : a.used+n : a.used+n]
	a.used += n
	return b
}

func (a *arena) reset() { a.block, a.used = 0, 0 }
