package provisioning

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"sluice/provisioning/config"
)

// maxWatched is how many events wait for one who watches; the oldest are
// dropped.
const maxWatched = 256

// A board shows the latest body of each document to those at the box.
type board struct {
	mu       sync.Mutex
	bodies   map[string]json.RawMessage
	watchers map[*watcher]struct{}
}

// A watcher is one who is told of changes. Of a document that changes faster
// than it is read, only the latest body is told.
type watcher struct {
	wake   chan struct{} // capacity 1
	bodies map[string]json.RawMessage
	events []json.RawMessage
}

func newBoard() *board {
	return &board{bodies: make(map[string]json.RawMessage), watchers: make(map[*watcher]struct{})}
}

func (b *board) get(name string) (json.RawMessage, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.bodies[name]
	return body, ok
}

func (b *board) set(name string, body json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodies[name] = body
	for w := range b.watchers {
		w.bodies[name] = body
		w.notify()
	}
}

func (b *board) event(body json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		w.events = append(w.events, body)
		if len(w.events) > maxWatched {
			w.events = slices.Delete(w.events, 0, 1)
		}
		w.notify()
	}
}

func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// watch tells of what is there, and then of what changes, until ctx is done or
// send fails.
func (b *board) watch(ctx context.Context, send func(name string, body json.RawMessage) error) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	b.mu.Lock()
	w.bodies = maps.Clone(b.bodies)
	b.watchers[w] = struct{}{}
	b.mu.Unlock()
	w.notify()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		b.mu.Lock()
		bodies, events := w.bodies, w.events
		w.bodies, w.events = make(map[string]json.RawMessage), nil
		b.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(bodies)) {
			if err := send(name, bodies[name]); err != nil {
				return err
			}
		}
		for _, body := range events {
			if err := send("event", body); err != nil {
				return err
			}
		}
	}
}

// retain publishes a document whose latest body stands for all before it.
func (a *Agent) retain(name string, document any) { a.retainBody(name, marshal(document)) }

func (a *Agent) retainBody(name string, body json.RawMessage) {
	a.client.SetRetained(a.topic(name), body)
}

// enqueue publishes a message that is told once.
func (a *Agent) enqueue(name string, document any) json.RawMessage {
	body := marshal(document)
	a.client.Enqueue(a.topic(name), body)
	return body
}

// maxKept is how many events are kept for a support bundle.
const maxKept = 500

// events numbers what happens.
type events struct {
	mu   sync.Mutex // held while one is put in its place, so that they stay in order
	seq  uint64
	last []json.RawMessage // the newest, the oldest of them first
}

// newest returns the last events, the oldest first.
func (e *events) newest() []json.RawMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.last)
}

// event tells that something happened. It may be called from any goroutine.
func (a *Agent) event(severity, kind, subject, message string, data map[string]any) {
	a.events.mu.Lock()
	defer a.events.mu.Unlock()
	a.events.seq++
	body := a.enqueue("event", config.Event{
		Seq: a.events.seq, BootID: a.bootID, Timestamp: now(),
		Severity: severity, Type: kind, Subject: subject, Message: message, Data: data,
	})
	if len(a.events.last) == maxKept {
		a.events.last = slices.Delete(a.events.last, 0, 1)
	}
	a.events.last = append(a.events.last, body)
	a.board.event(body)
}

// marshal writes a document of package config.
func marshal(document any) json.RawMessage {
	body, err := json.Marshal(document)
	if err != nil {
		// Only a figure that is no number, or a time beyond year 9999.
		body, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	return body
}
