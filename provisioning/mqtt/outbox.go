package mqtt

import (
	"errors"
	"slices"
	"sync"
)

// errOvertaken is the answer to a Publish that the queue had no room for.
var errOvertaken = errors.New("the queue is full: too many messages wait for the broker")

// An outbox holds what is to be sent. Those who put something in never wait.
type outbox struct {
	wake chan struct{} // something was put in; capacity 1
	most int           // entries of queue

	mu       sync.Mutex
	retained []*entry // one for each topic, in the order in which they first came
	offers   []*entry // one for each topic
	queue    []*entry
	dropped  uint64
}

// An entry is a message to be sent. It is the same message as long as it is
// the same pointer.
type entry struct {
	message Message
	done    chan error // for Publish: capacity 1; otherwise nil
}

func (e *entry) finish(err error) {
	if e.done != nil {
		e.done <- err
	}
}

func newOutbox(most int) *outbox {
	return &outbox{wake: make(chan struct{}, 1), most: most}
}

func (o *outbox) setRetained(topic string, body []byte) {
	e := &entry{message: Message{Topic: topic, Payload: body, QoS: 1, Retained: true}}
	o.mu.Lock()
	o.retained = replace(o.retained, e)
	o.mu.Unlock()
	notify(o.wake)
}

func (o *outbox) offer(topic string, body []byte) {
	o.mu.Lock()
	o.offers = replace(o.offers, &entry{message: Message{Topic: topic, Payload: body}})
	o.mu.Unlock()
	notify(o.wake)
}

func replace(list []*entry, e *entry) []*entry {
	i := slices.IndexFunc(list, func(old *entry) bool { return old.message.Topic == e.message.Topic })
	if i < 0 {
		return append(list, e)
	}
	list[i] = e
	return list
}

func (o *outbox) enqueue(e *entry) {
	o.mu.Lock()
	o.queue = append(o.queue, e)
	for len(o.queue) > o.most {
		o.queue[0].finish(errOvertaken)
		o.queue = slices.Delete(o.queue, 0, 1)
		o.dropped++
	}
	o.mu.Unlock()
	notify(o.wake)
}

// forget takes entries out of the queue, sent or given up.
func (o *outbox) forget(entries ...*entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = slices.DeleteFunc(o.queue, func(e *entry) bool { return slices.Contains(entries, e) })
}

func (o *outbox) droppedCount() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// beginSession drops what was only of use to the session before.
func (o *outbox) beginSession() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offers = nil
}

// take returns at most n entries to send next: first retained topics whose
// latest body is not the one in sent, then the queue, then what was offered.
// Entries of the queue stay in it until they are acknowledged.
func (o *outbox) take(n int, sent map[string]*entry) []*entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	var batch []*entry
	for _, e := range o.retained {
		if len(batch) < n && sent[e.message.Topic] != e {
			batch = append(batch, e)
		}
	}
	batch = append(batch, o.queue[:min(n-len(batch), len(o.queue))]...)
	taken := min(n-len(batch), len(o.offers))
	batch = append(batch, o.offers[:taken]...)
	o.offers = slices.Delete(o.offers, 0, taken)
	return batch
}
