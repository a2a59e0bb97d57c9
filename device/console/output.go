package console

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	maxOutput = 32 << 10 // bytes that wait to be written: 3 s at 115,200 bit/s
	maxChunk  = 256      // bytes of one Write: 22 ms
)

// An output is what is still to be written. Write fills it, run empties it: a
// terminal that does not read holds nobody up for longer than stall.
type output struct {
	w     io.Writer
	stall time.Duration
	fail  func(error)     // ends the session
	quit  <-chan struct{} // the session is to end: nobody waits for room any more

	more chan struct{} // one is in it when there is something to write, or the end
	room chan struct{} // one is in it when there is room again
	done chan struct{} // closed with err

	mu     sync.Mutex
	buffer []byte
	busy   bool // a Write is under way
	closed bool
	err    error
}

func newOutput(w io.Writer, stall time.Duration, fail func(error), quit <-chan struct{}) *output {
	return &output{
		w: w, stall: stall, fail: fail, quit: quit,
		more: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// Write waits for room. It is called by one goroutine at a time.
func (o *output) Write(p []byte) (int, error) {
	written := 0
	for {
		o.mu.Lock()
		if o.err != nil || o.closed {
			defer o.mu.Unlock()
			return written, o.err
		}
		n := min(len(p)-written, maxOutput-len(o.buffer))
		o.buffer = append(o.buffer, p[written:written+n]...)
		written += n
		o.mu.Unlock()
		signal(o.more)
		if written == len(p) {
			return written, nil
		}
		select {
		case <-o.room:
		case <-o.done:
		case <-o.quit:
			return written, io.ErrShortWrite
		}
	}
}

// run writes until it is closed or w fails. What takes longer than stall ends
// the session, not the Write: that is w's.
func (o *output) run() {
	chunk := make([]byte, 0, maxChunk)
	for {
		o.mu.Lock()
		chunk = append(chunk[:0], o.buffer[:min(len(o.buffer), maxChunk)]...)
		o.buffer = append(o.buffer[:0], o.buffer[len(chunk):]...)
		o.busy = len(chunk) > 0
		closed := o.closed || o.err != nil
		o.mu.Unlock()
		signal(o.room)
		switch {
		case closed:
			return
		case len(chunk) == 0:
			<-o.more
			continue
		}
		timer := time.AfterFunc(o.stall, func() { o.broken(fmt.Errorf("%w for %v", ErrStalled, o.stall)) })
		_, err := o.w.Write(chunk)
		timer.Stop()
		if err != nil {
			o.broken(fmt.Errorf("%w: %w", ErrHungUp, err))
			return
		}
	}
}

func (o *output) broken(err error) {
	o.mu.Lock()
	first := o.err == nil && !o.closed
	if first {
		o.err = err
		close(o.done)
	}
	o.mu.Unlock()
	if first {
		o.fail(err)
	}
}

// flush waits until all is written, for so long at most.
func (o *output) flush(within time.Duration) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		o.mu.Lock()
		idle := len(o.buffer) == 0 && !o.busy || o.err != nil
		o.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-o.room:
		case <-o.done:
		case <-timer.C:
			return
		}
	}
}

func (o *output) close() {
	o.mu.Lock()
	o.closed, o.buffer = true, nil
	o.mu.Unlock()
	signal(o.more)
}
