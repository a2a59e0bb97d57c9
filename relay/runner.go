package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// An end is an endpoint for one attempt, as the supervisor sees it.
type end interface {
	run(ctx context.Context) error
	phase() endpoint.Phase
	gate() (endpoint.Gate, bool)
}

type inputEnd struct {
	endpoint.Input
	to *flow.Flow
}

func (e inputEnd) run(ctx context.Context) error { return e.Run(ctx, e.to) }
func (e inputEnd) phase() endpoint.Phase         { return e.Status().Phase }
func (e inputEnd) gate() (endpoint.Gate, bool)   { g, ok := e.Input.(endpoint.Gate); return g, ok }

type outputEnd struct {
	endpoint.Output
	from flow.Source
	via  *stage // that from is; nil: from is the flow
}

func (e outputEnd) run(ctx context.Context) error {
	if e.via != nil {
		e.via.hold()
		defer e.via.release()
	}
	return e.Run(ctx, e.from)
}

func (e outputEnd) phase() endpoint.Phase       { return e.Status().Phase }
func (e outputEnd) gate() (endpoint.Gate, bool) { g, ok := e.Output.(endpoint.Gate); return g, ok }

// A runner keeps one item running: it waits for the uplink, makes an endpoint,
// runs it, and after a failure makes and runs the next. A configuration that
// cannot change in place takes a new runner.
type runner struct {
	make    func() (end, error)
	uplinks func() []endpoint.Uplink // those of its sockets, found anew each time
	// apart tells that the endpoint makes the sockets of each uplink anew by
	// itself, so that those of the others stay.
	apart  bool
	retry  Retry
	starts *bucket
	log    *slog.Logger

	cancel context.CancelFunc // ends run; nil before start
	done   chan struct{}      // closed by run
	wake   chan struct{}      // cut the pause short; capacity 1, sent by look and restart

	gating sync.Mutex // orders SetAccess calls
	access endpoint.Access

	mu       sync.Mutex
	end      end                     // of this attempt or the last one; nil before the first
	running  bool                    // end.run has not returned
	abort    context.CancelCauseFunc // ends this attempt; nil between attempts
	aborted  bool                    // this attempt is to be followed by the next at once
	binding  []bound                 // what this attempt's sockets are made on
	usable   bool                    // an uplink was ready when last looked at
	good     time.Time               // since when it is connected or listening; zero while it is not
	peer     time.Time               // since when it is connected; zero while it is not
	failure  *failure                // of the last attempt, until one works
	failures int                     // in a row
}

// A failure is how an attempt ended.
type failure struct {
	phase  endpoint.Phase
	reason *endpoint.Reason
}

// bound is an uplink as it was when sockets were made on it.
type bound struct {
	name       string
	generation uint64
}

func (r *runner) bind(uplinks []endpoint.Uplink) []bound {
	b := make([]bound, len(uplinks))
	for i, u := range uplinks {
		b[i].name = u.Name()
		if !r.apart {
			b[i].generation = u.Generation()
		}
	}
	return b
}

// unready returns nil if any of the uplinks can be used, otherwise why the
// first cannot.
func unready(uplinks []endpoint.Uplink) *endpoint.Reason {
	var first *endpoint.Reason
	for _, u := range uplinks {
		why := u.Ready()
		if why == nil {
			return nil
		}
		if first == nil {
			first = why
		}
	}
	return first
}

// run keeps the item running until ctx is done.
func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	var faults endpoint.Repeated
	for r.awaitUplink(ctx) == nil && r.starts.wait(ctx) == nil {
		err := r.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		pause, again := r.settle(err)
		if again {
			continue
		}
		tell(r.log, &faults, err, pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
			r.forgive()
		}
		timer.Stop()
	}
}

// awaitUplink returns when an uplink is ready, or ctx.Err().
func (r *runner) awaitUplink(ctx context.Context) error {
	for ctx.Err() == nil {
		r.mu.Lock()
		r.usable = unready(r.uplinks()) == nil
		usable := r.usable
		r.mu.Unlock()
		if usable {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
			r.forgive()
		}
	}
	return ctx.Err()
}

// attempt makes an endpoint and runs it until it fails, or is aborted.
func (r *runner) attempt(ctx context.Context) error {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	select {
	case <-r.wake: // meant for a pause that is over
	default:
	}
	r.mu.Lock()
	r.abort, r.aborted, r.binding = abort, false, r.bind(r.uplinks())
	r.mu.Unlock()

	return survive(func() error {
		e, err := r.make()
		if err != nil {
			return err
		}
		r.begin(e)
		return e.run(ctx)
	})
}

// begin shows an endpoint to those who ask for its status or its gate.
func (r *runner) begin(e end) {
	r.gating.Lock()
	defer r.gating.Unlock()
	if g, ok := e.gate(); ok {
		g.SetAccess(r.access)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end, r.running = e, true
}

// settle books the end of an attempt and returns how long to pause, or that
// the next one comes at once.
func (r *runner) settle(err error) (pause time.Duration, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.abort = false, nil
	if !r.good.IsZero() && time.Since(r.good) >= r.retry.Healthy {
		r.failures = 0
	}
	r.good, r.peer = time.Time{}, time.Time{}
	if p := (*panicked)(nil); errors.As(err, &p) {
		r.end = nil // whatever it holds, it cannot be trusted any more
	}
	if r.aborted {
		r.end, r.failure, r.failures = nil, nil, 0
		return 0, true
	}
	r.failures++
	f := &failure{phase: endpoint.Connecting, reason: endpoint.Because("ended", "it ended without saying why")}
	if err != nil {
		f.phase, f.reason = endpoint.Explain(err)
	}
	r.failure = f
	return r.retry.pause(r.failures, f.phase, random()), false
}

// forgive forgets the failures in a row.
func (r *runner) forgive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = 0
}

// look compares the uplinks with what they were, and notes whether the
// endpoint works. The Engine calls it at every tick.
func (r *runner) look(now time.Time) {
	uplinks := r.uplinks()
	usable, binding := unready(uplinks) == nil, r.bind(uplinks)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.abort != nil && !slices.Equal(binding, r.binding) {
		r.again(endpoint.ErrSocketsLost)
	}
	if usable && !r.usable {
		r.rouse()
	}
	r.usable = usable
	if !r.running {
		return
	}
	p := r.end.phase()
	mark(&r.peer, now, p == endpoint.Connected)
	mark(&r.good, now, p == endpoint.Connected || p == endpoint.Listening)
	if !r.good.IsZero() {
		r.failure = nil
	}
}

// mark keeps since when something is so: zero while it is not.
func mark(since *time.Time, now time.Time, so bool) {
	switch {
	case !so:
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
}

// restart has the next attempt made at once.
func (r *runner) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.abort != nil {
		r.again(nil)
	}
	r.rouse()
}

// again ends this attempt in favour of the next, for that cause. r.mu is held.
func (r *runner) again(cause error) {
	r.aborted = true
	r.abort(cause)
}

// rouse ends a pause.
func (r *runner) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// setAccess changes who may connect, now and in attempts to come.
func (r *runner) setAccess(a endpoint.Access) {
	r.gating.Lock()
	defer r.gating.Unlock()
	r.access = a
	if g, ok := r.openGate(); ok {
		g.SetAccess(a)
	}
}

// kick ends a session and tells whether there was one of that id.
func (r *runner) kick(session string) bool {
	g, ok := r.openGate()
	return ok && g.Kick(session)
}

// openGate returns the gate of the endpoint that runs.
func (r *runner) openGate() (endpoint.Gate, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running {
		return nil, false
	}
	return r.end.gate()
}

// glance is a runner at one moment. end is nil, or that of the last attempt
// where it does not run.
type glance struct {
	end     end
	running bool
	peer    time.Time
	failure *failure
}

func (r *runner) glance() glance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return glance{r.end, r.running, r.peer, r.failure}
}

// panicked is a panic of an endpoint, as the error of its attempt.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "panic" }

// survive turns a panic of f into an error, so that it hurts no other item.
func survive(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = endpoint.Fail(endpoint.Connecting, &panicked{v, debug.Stack()}, "internal_fault", "it stopped by a fault of this software and is run again")
		}
	}()
	return f()
}

// tell logs why an endpoint ended, unless the same was logged a moment ago.
func tell(log *slog.Logger, faults *endpoint.Repeated, err error, pause time.Duration) {
	text := "it ended without saying why"
	if err != nil {
		text = err.Error()
	}
	if p := (*panicked)(nil); errors.As(err, &p) {
		log.Error("endpoint panicked", "value", fmt.Sprint(p.value), "stack", string(p.stack))
		return
	}
	if n, yes := faults.Worth(text); yes {
		log.Warn("endpoint failed", "error", text, "retry_in", pause.Round(time.Millisecond), "repeated", n)
	}
}

// works tells whether the endpoint is connected or listening.
func (r *runner) works() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.good.IsZero()
}
