package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxKeys bounds what is typed or pasted ahead: 11 s of it at 115,200 bit/s, as
// a serial line without flow control loses what is not read. Beyond it nothing
// is read.
const maxKeys = 128 << 10

// An input is the keys that were typed and not yet used. run fills it, one
// goroutine takes from it.
type input struct {
	arrived chan struct{} // one is in it when there is something new
	room    chan struct{} // one is in it when there is room again
	done    chan struct{}

	mu        sync.Mutex
	keys      []key
	err       error  // why no more comes
	waiting   bool   // somebody wants the next key
	interrupt func() // of the command that runs; nil: none does
}

func newInput() *input {
	return &input{arrived: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
}

// run reads r until it fails or the input is closed. hangup is called with the
// error, unless it is the end of what is there to be read: that is still used.
func (in *input) run(r io.Reader, hangup func(error)) {
	var f filter
	var keys []key
	buffer := make([]byte, 512)
	for {
		n, err := r.Read(buffer)
		keys = f.feed(keys[:0], buffer[:n], time.Now())
		if !in.put(keys) {
			return
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrHungUp, err)
			in.mu.Lock()
			in.err = err
			in.mu.Unlock()
			signal(in.arrived)
			if !errors.Is(err, io.EOF) {
				hangup(err)
			}
			return
		}
	}
}

// put adds keys, and waits for room. It is false once the input is closed.
func (in *input) put(keys []key) bool {
	for len(keys) > 0 {
		in.mu.Lock()
		for len(keys) > 0 && len(in.keys) < maxKeys {
			in.add(keys[0])
			keys = keys[1:]
		}
		in.mu.Unlock()
		signal(in.arrived)
		if len(keys) == 0 {
			break
		}
		select {
		case <-in.room:
		case <-in.done:
			return false
		}
	}
	select {
	case <-in.done:
		return false
	default:
		return true
	}
}

// add takes one key. Ctrl-C does not wait for its turn behind what was typed
// ahead while a command runs: it ends that, and with it the rest.
func (in *input) add(k key) {
	switch {
	case k == keyInterrupt && in.interrupt != nil && !in.waiting:
		in.keys = in.keys[:0]
		in.interrupt()
	case k == keyNoise && len(in.keys) > 0 && in.keys[len(in.keys)-1] == keyNoise:
	default:
		in.keys = append(in.keys, k)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// errTimeout is the error of next when nothing was typed in time.
var errTimeout = errors.New("nothing was typed")

// next returns the next key, or why there is none. What was typed before a
// hang-up is returned first.
func (in *input) next(ctx context.Context, within time.Duration) (key, error) {
	var expired <-chan time.Time
	for {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		in.mu.Lock()
		if len(in.keys) > 0 {
			k := in.keys[0]
			in.keys = in.keys[1:]
			in.mu.Unlock()
			signal(in.room)
			return k, nil
		}
		err := in.err
		in.waiting = err == nil
		in.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if expired == nil {
			timer := time.NewTimer(within)
			defer timer.Stop()
			expired = timer.C
		}
		late := false
		select {
		case <-in.arrived:
		case <-ctx.Done():
		case <-expired:
			late = true
		}
		in.mu.Lock()
		in.waiting = false
		in.mu.Unlock()
		if late {
			return 0, errTimeout
		}
	}
}

// unread puts keys before those that were typed and not yet used.
func (in *input) unread(keys []key) {
	in.mu.Lock()
	in.keys = append(keys, in.keys...)
	in.mu.Unlock()
	signal(in.arrived)
}

// discard forgets what was typed ahead.
func (in *input) discard() {
	in.mu.Lock()
	in.keys = in.keys[:0]
	in.mu.Unlock()
	signal(in.room)
}

// interruptible has Ctrl-C call f from now on; nil: Ctrl-C is a key.
func (in *input) interruptible(f func()) {
	in.mu.Lock()
	in.interrupt = f
	in.mu.Unlock()
}

func (in *input) close() { close(in.done) }
