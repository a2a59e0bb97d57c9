package port

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A pace is how fast things are tried again.
type pace struct {
	look        time.Duration // between two looks for a port that is not there
	first, last time.Duration // between two sessions that end at once, or two openings
	healthy     time.Duration // what lasted so long begins with first again
	settle      time.Duration // in which a port that is hung up while it is opened is tried again
}

var defaultPace = pace{look: time.Second, first: 250 * time.Millisecond, last: 8 * time.Second, healthy: 2 * time.Second, settle: 2 * time.Second}

// Serve runs one session after another on a port until ctx is done, and opens
// the port again after a hang-up. It returns early only where the first opening
// fails: a port in use, no rights, not a serial port.
//
// What a session is given ends with it: a Read that it left behind takes
// nothing from the next one. Sessions that end at once come more and more
// slowly, so that a line that echoes, or a daemon that is not there, does not
// make a storm of prompts.
func Serve(ctx context.Context, c Config, session func(context.Context, io.ReadWriter) error) error {
	c = c.withDefaults()
	p, err := Open(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	pause, told := c.pace.first, ""
	for {
		if p != nil {
			c.Log.Info("serial port open", "tty", c.Path, "speed", c.Speed)
			told = ""
			begin := time.Now()
			err = sessions(ctx, c, p, session)
			_ = p.Close()
			if time.Since(begin) > c.pace.healthy {
				pause = c.pace.first
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if why := err.Error(); why != told {
			told = why
			c.Log.Warn("serial port gone: it is opened again", "tty", c.Path, "reason", err)
		}
		if sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, c.pace.last)
		p, err = Open(ctx, c)
	}
}

// sessions runs one after another until the line is hung up or ctx is done.
func sessions(ctx context.Context, c Config, p *Port, session func(context.Context, io.ReadWriter) error) error {
	pause := c.pace.first
	for {
		begin := time.Now()
		turn := &turn{port: p}
		release := context.AfterFunc(ctx, turn.end)
		err := session(ctx, turn)
		release()
		turn.end()
		turn.join()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(turn.failure(), ErrHungUp):
			return turn.failure()
		case errors.Is(turn.failure(), ErrStuck):
			// What it has not read is not for the next to sit there.
			p.discard()
		}
		if err != nil {
			c.Log.Info("console session ended", "tty", c.Path, "reason", err)
		}
		if time.Since(begin) > c.pace.healthy {
			pause = c.pace.first
			continue
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, c.pace.last)
	}
}

// A turn is the port for the time of one session.
type turn struct {
	port             *Port
	over             atomic.Bool
	reading, writing sync.Mutex // held meanwhile
	mu               sync.Mutex
	failed           error // of the line, the first; under mu
}

var _ io.ReadWriter = (*turn)(nil)

func (t *turn) Read(b []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	if t.over.Load() {
		return 0, ErrClosed
	}
	n, err := t.port.Read(b)
	return n, t.ended(err)
}

func (t *turn) Write(b []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	n, err := t.port.write(b, t.over.Load)
	return n, t.ended(err)
}

// ended remembers why the line does not go on. The deadlines of end show as
// ErrStuck: the session is over, not the line.
func (t *turn) ended(err error) error {
	if err == nil {
		return nil
	}
	if t.over.Load() && !errors.Is(err, ErrHungUp) {
		return ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
	}
	return err
}

func (t *turn) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// end has every Read and Write of the session return.
func (t *turn) end() {
	t.over.Store(true)
	_ = t.port.own.SetDeadline(time.Unix(1, 0))
}

// join waits for them, and makes the port ready for the next session.
func (t *turn) join() {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.port.own.SetDeadline(time.Time{})
}

// sleep waits, or returns why ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
