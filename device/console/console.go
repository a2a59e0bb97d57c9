// Package console is what a technician with a serial cable sees: a command
// line over any io.ReadWriter, in 80 columns of plain text at 115,200 bit/s.
// It is a client of the daemon's socket and knows nothing but the documents
// and requests there: when it ends, no stream does.
//
//	bytes -> filter -> keys -> editor (a Terminal, or plain) -> line -> grammar -> command
//	      <- output <- screen <------------------------------------------------------'
//
// Three goroutines: one reads and filters, one writes, and the one of Run does
// everything else.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Client is what the console needs of a *control.Client.
type Client interface {
	Document(ctx context.Context, name string) (json.RawMessage, error)
	Apply(ctx context.Context, document []byte) (status int, answer json.RawMessage, err error)
	Request(ctx context.Context, name string, request []byte) (status int, answer json.RawMessage, err error)
	SetSession(session string)
}

// Options are those of one console. Client is needed.
type Options struct {
	Client Client
	Line   string // what the daemon calls it in its audit, such as ttyS1
	Login  bool   // silent until Enter, then name and password are asked for
	Name   string // who it is where there is no login
	Plain  bool   // it is no terminal: no cursor is moved

	Width, Height int           // of the screen; default 80 by 24
	BitsPerSecond int           // of the line, to tell how long something takes; default 115,200
	Idle          time.Duration // after which somebody is logged out; default 10 min
	Stall         time.Duration // after which a terminal that does not read is given up; default 30 s
	Now           func() time.Time
}

const (
	defaultWidth  = 80
	defaultHeight = 24
	defaultSpeed  = 115_200
	defaultIdle   = 10 * time.Minute
	defaultStall  = 30 * time.Second
)

func (o *Options) setDefaults() {
	o.Width = orDefault(o.Width, defaultWidth)
	o.Height = orDefault(o.Height, defaultHeight)
	o.BitsPerSecond = orDefault(o.BitsPerSecond, defaultSpeed)
	o.Idle = orDefault(o.Idle, defaultIdle)
	o.Stall = orDefault(o.Stall, defaultStall)
	if o.Now == nil {
		o.Now = time.Now
	}
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// The reasons why Run ends early.
var (
	ErrHungUp  = errors.New("the line was hung up")
	ErrStalled = errors.New("the terminal does not read")
	ErrFailed  = errors.New("a command of the script failed") // without Login alone
)

// flushTime is how long what was said last may take to be written.
const flushTime = 2 * time.Second

// Run serves rw until somebody logs out, is idle for too long or ctx is done:
// then the error is nil. With Login, three refused logins, or idling before
// the login, only go back to the silence of the beginning.
//
// The error wraps ErrHungUp where rw cannot be read or written (an io.EOF
// included), or ErrStalled. Of rw one Read and one Write are under way at a
// time. Those that are when Run ends are ended by SetReadDeadline and
// SetWriteDeadline where rw has them; otherwise they are left to whoever gave
// rw, and what such a Read brings is lost.
func Run(ctx context.Context, rw io.ReadWriter, o Options) error {
	o.setDefaults()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := newInput()
	out := newOutput(rw, o.Stall, cancel, ctx.Done())
	reading, writing := make(chan struct{}), make(chan struct{})
	go func() { defer close(reading); in.run(rw, cancel) }()
	go func() { defer close(writing); out.run() }()

	s := newSession(ctx, in, out, o)
	err := s.serve(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}

	out.flush(flushTime)
	out.close()
	in.close()
	end(rw, func(d deadliner) error { return d.SetReadDeadline(time.Unix(1, 0)) },
		func(d deadliner) error { return d.SetReadDeadline(time.Time{}) }, reading)
	end(rw, func(d deadliner) error { return d.SetWriteDeadline(time.Unix(1, 0)) },
		func(d deadliner) error { return d.SetWriteDeadline(time.Time{}) }, writing)
	o.Client.SetSession("")

	switch {
	case s.failed && !o.Login:
		return ErrFailed
	case errors.Is(err, ErrHungUp), errors.Is(err, ErrStalled):
		return err
	case err == nil, errors.Is(err, errLogout), errors.Is(err, errIdle), ctx.Err() != nil:
		return nil
	}
	return fmt.Errorf("console: %w", err)
}

// A deadliner is a line whose Read and Write can be ended: a net.Conn.
type deadliner interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// end ends what is under way on rw and waits for its goroutine, where it can.
func end(rw any, set, reset func(deadliner) error, done <-chan struct{}) {
	d, ok := rw.(deadliner)
	if ok && set(d) == nil {
		<-done
		_ = reset(d) // the next Run may have it again
	}
}
