package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/rtmp"
	"sluice/relay/srt"
)

// ErrNotFound is returned for a flow, output or session that there is not.
var ErrNotFound = errors.New("not found")

// Options are what an Engine is made of. Uplink and Log must be set; what else
// is zero has a default.
type Options struct {
	// Uplink finds a NIC role by its name; the empty name is the default
	// uplink. It never returns nil: an unknown role is an uplink that is never
	// ready. It is called often, from any goroutine.
	Uplink func(name string) endpoint.Uplink
	Log    *slog.Logger
	// Certificate is what listening sockets with TLS present. It is asked for
	// each connection. Without it there are none.
	Certificate func() (*tls.Certificate, error)
	// MakeInput and MakeOutput make an endpoint for one attempt: an endpoint
	// is Run once. Default: by protocol.
	MakeInput  func(Input, endpoint.Env) (endpoint.Input, error)
	MakeOutput func(Output, endpoint.Env) (endpoint.Output, error)
	// Retry is how failed endpoints are run again. Default: DefaultRetry.
	Retry Retry
	// StopTimeout bounds how long Apply waits for what it stops. Default 5 s.
	StopTimeout time.Duration
	// Handover bounds how long a replaced output goes on while its successor
	// is not connected. Default 10 s.
	Handover time.Duration
}

// An Engine relays every configured flow. Make it with New; its methods may be
// called from any goroutine.
//
//	Apply -> plan (what changed) -> stop -> start
//	            runner (one for each item that runs): Run, back-off, Run ...
//	tick  -> observe every item -> state, since, bitrates -> Report
type Engine struct {
	options Options
	starts  *bucket

	applying sync.Mutex // serialises what edits the tree; held while stops are awaited
	running  bool       // between the begin and end of Run; guarded by applying
	config   Config     // as last applied; guarded by applying
	runners  sync.WaitGroup

	mu      sync.Mutex // guards the tree; never held across I/O
	streams []*stream  // in the order of the configuration

	report atomic.Pointer[Report]
}

// New returns an Engine without any flow.
func New(o Options) *Engine {
	built := protocols{
		srt:  srt.NewTransport(o.Log),
		rtmp: rtmp.NewTransport(rtmp.Options{Log: o.Log, Certificate: o.Certificate}),
	}
	if o.MakeInput == nil {
		o.MakeInput = built.newInput
	}
	if o.MakeOutput == nil {
		o.MakeOutput = built.newOutput
	}
	if o.Retry == (Retry{}) {
		o.Retry = DefaultRetry
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 5 * time.Second
	}
	if o.Handover == 0 {
		o.Handover = 10 * time.Second
	}
	e := &Engine{options: o, starts: newBucket(o.Retry.StartsPerSecond, o.Retry.StartBurst)}
	e.report.Store(&Report{Time: time.Now()})
	return e
}

// Run relays what is applied, before and during it, until ctx is done; then it
// stops everything, waits for all of it and returns nil.
func (e *Engine) Run(ctx context.Context) error {
	e.setRunning(true)
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-ticker.C:
			e.observe(now)
		}
	}
	e.setRunning(false)
	e.runners.Wait()
	return nil
}

// setRunning applies the configuration in force to an Engine that runs, or
// no longer does.
func (e *Engine) setRunning(running bool) {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.running = running
	e.apply(e.config)
}

// Apply makes c what is relayed. Items are told apart by their ids: what did
// not change is not touched, what may change in place does, and everything
// else is stopped before anything is started. Apply returns when the stops are
// done (or StopTimeout is over) and the starts are launched. What is applied
// before Run starts with it. The Engine keeps c, which must not be changed
// afterwards; it is expected to be valid.
func (e *Engine) Apply(c Config) {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.config = c
	e.apply(c)
}

// Kick ends one session of a listening output. The error is ErrNotFound where
// there is no such session.
func (e *Engine) Kick(flow, output, session string) error {
	r, err := e.outputRunner(flow, output)
	if err != nil {
		return err
	}
	if r == nil || !r.kick(session) {
		return fmt.Errorf("session %q of output %q: %w", session, output, ErrNotFound)
	}
	return nil
}

// RestartFlow stops every input and output of a flow and starts them again, at
// once and with their back-off forgotten.
func (e *Engine) RestartFlow(flow string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream(flow)
	if s == nil {
		return fmt.Errorf("flow %q: %w", flow, ErrNotFound)
	}
	for it := range s.items() {
		if it.runner != nil {
			it.runner.restart()
		}
	}
	return nil
}

// outputRunner finds the runner of an output; nil where it does not run.
func (e *Engine) outputRunner(flow, output string) (*runner, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream(flow)
	if s == nil {
		return nil, fmt.Errorf("flow %q: %w", flow, ErrNotFound)
	}
	for _, o := range s.outputs {
		if o.config.ID == output {
			return o.runner, nil
		}
	}
	return nil, fmt.Errorf("output %q of flow %q: %w", output, flow, ErrNotFound)
}

// stream finds a flow by its id; nil where there is none.
func (e *Engine) stream(id string) *stream {
	for _, s := range e.streams {
		if s.config.ID == id {
			return s
		}
	}
	return nil
}
