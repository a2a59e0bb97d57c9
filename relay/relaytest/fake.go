package relaytest

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

// A Fake is what the fake Input and Output have in common: it runs until its
// context is done, or until the test lets it fail. Fields are set before Run.
type Fake struct {
	Ledger *endpoint.Ledger
	Ports  *Ports // with Port, what Run holds
	Port   int    // 0: none
	// Hang keeps Run from returning until it is closed.
	Hang chan struct{}

	mu      sync.Mutex
	end     context.CancelCauseFunc // nil while Run does not run
	err     error                   // what Run is to fail with at once
	panics  bool
	access  endpoint.Access
	kicked  []string
	running bool
}

// Fail lets Run return err: now, or as soon as it is called.
func (f *Fake) Fail(err error) { f.stop(err, false) }

// Panic lets Run panic: now, or as soon as it is called.
func (f *Fake) Panic() { f.stop(errors.New("panic"), true) }

func (f *Fake) stop(err error, panics bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.panics = err, panics
	if f.end != nil {
		f.end(err)
	}
}

// Running tells whether Run runs.
func (f *Fake) Running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// Access returns what was last set.
func (f *Fake) Access() endpoint.Access {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.access
}

// SetAccess implements endpoint.Gate.
func (f *Fake) SetAccess(a endpoint.Access) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.access = a
}

// Kicked returns the sessions that were kicked.
func (f *Fake) Kicked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kicked
}

// run holds the port while body runs.
func (f *Fake) run(ctx context.Context, body func(context.Context)) error {
	if f.Ports != nil && f.Port != 0 {
		if !f.Ports.take(f.Port) {
			return endpoint.Fail(endpoint.Unworkable, nil, "port_in_use", "port %d is taken", f.Port)
		}
		defer f.Ports.free(f.Port)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.mu.Lock()
	f.end, f.running = cancel, true
	if f.err != nil {
		cancel(f.err)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running = false
	}()
	body(ctx)
	if f.Hang != nil {
		<-f.Hang
	}
	f.mu.Lock()
	err, panics := f.err, f.panics
	f.mu.Unlock()
	if panics {
		panic("as the test wants it")
	}
	return err
}

// Ports are those of a box: each can be held once.
type Ports struct {
	mu   sync.Mutex
	held map[int]bool
	// Clashes counts the ports that were wanted while they were held.
	Clashes int
}

func (p *Ports) take(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[port] {
		p.Clashes++
		return false
	}
	if p.held == nil {
		p.held = make(map[int]bool)
	}
	p.held[port] = true
	return true
}

func (p *Ports) free(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, port)
}

// An Input is a fake endpoint.Input. Its status is connected unless set.
type Input struct {
	Fake
	status *endpoint.InputStatus
	to     *flow.Flow
}

// Run implements endpoint.Input.
func (in *Input) Run(ctx context.Context, to *flow.Flow) error {
	in.mu.Lock()
	in.to = to
	in.mu.Unlock()
	return in.run(ctx, func(ctx context.Context) { <-ctx.Done() })
}

// Emit publishes one packet, if the input runs.
func (in *Input) Emit(format *media.Format, data []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.running {
		return
	}
	now := time.Now()
	in.to.Publish([]media.Packet{{Format: format, Arrival: now, Data: data}})
	in.Ledger.Sent.Add(1)
	in.Ledger.Bytes.Add(uint64(len(data)))
	if in.status == nil {
		in.status = &endpoint.InputStatus{Phase: endpoint.Connected}
	}
	in.status.Received = now
}

// SetStatus sets what Status returns.
func (in *Input) SetStatus(s endpoint.InputStatus) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.status = &s
}

// Status implements endpoint.Input.
func (in *Input) Status() endpoint.InputStatus {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.status == nil {
		return endpoint.InputStatus{Phase: endpoint.Connected}
	}
	return *in.status
}

// Kick implements endpoint.Gate.
func (in *Input) Kick(string) bool { return false }

// An Output is a fake endpoint.Output that takes every packet, and has it
// acknowledged at once. Its phase is connected unless set.
type Output struct {
	Fake
	status endpoint.OutputStatus
	got    [][]byte
	lost   uint64
}

// NewOutput returns an Output that is connected as soon as it runs.
func NewOutput(l *endpoint.Ledger) *Output {
	return &Output{Fake: Fake{Ledger: l}, status: endpoint.OutputStatus{Phase: endpoint.Connected, Acknowledges: true}}
}

// Run implements endpoint.Output.
func (o *Output) Run(ctx context.Context, from flow.Source) error {
	return o.run(ctx, func(ctx context.Context) {
		c := from.Open()
		defer c.Close()
		o.Ledger.Connections.Add(1)
		batch := make([]media.Packet, 32)
		for {
			n, lost, err := c.Next(ctx, batch)
			o.take(batch[:n], lost)
			if err != nil {
				return
			}
		}
	})
}

func (o *Output) take(packets []media.Packet, lost uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost += lost
	o.Ledger.Taken.Add(uint64(len(packets)) + lost)
	o.Ledger.Drop(endpoint.DropOverrun, lost)
	for _, p := range packets {
		o.got = append(o.got, p.Data)
		o.Ledger.Sent.Add(1)
		o.Ledger.Bytes.Add(uint64(len(p.Data)))
		o.Ledger.BytesAcked.Add(uint64(len(p.Data)))
		o.status.Sent = time.Now()
		o.status.Acked = o.status.Sent
	}
}

// Got returns the payloads so far, and how many packets were lost.
func (o *Output) Got() (payloads [][]byte, lost uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got[:len(o.got):len(o.got)], o.lost
}

// SetStatus changes what Status returns.
func (o *Output) SetStatus(change func(*endpoint.OutputStatus)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.status)
}

// Status implements endpoint.Output.
func (o *Output) Status() endpoint.OutputStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

// Kick implements endpoint.Gate.
func (o *Output) Kick(session string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.status.Sessions {
		if s.ID == session {
			o.kicked = append(o.kicked, session)
			return true
		}
	}
	return false
}

var (
	_ endpoint.Input  = (*Input)(nil)
	_ endpoint.Output = (*Output)(nil)
	_ endpoint.Gate   = (*Input)(nil)
	_ endpoint.Gate   = (*Output)(nil)
	_ endpoint.Uplink = (*Uplink)(nil)
)
