package provisioning

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

const (
	maxActions    = 16       // requests that wait, of each queue
	slowWorkers   = 3        // requests that take seconds, at a time
	maxAnswered   = 128      // answers that are remembered
	maxRemembered = 64 << 10 // bytes of an answer that is remembered
	maxRequest    = 4 << 10  // bytes
)

// actions carries out the fleet's requests: those that take seconds by a few
// workers, the others one after another. So a look at a stream does not hold
// up a kick, and of two kicks the first is done first.
type actions struct {
	queue    chan action
	slow     chan func(context.Context)
	last     chan func(context.Context) // what ends the daemon; capacity 1: one is enough
	answered *answers
}

// An action is a request as it was received.
type action struct {
	name     string
	raw      []byte
	retained bool
}

// answers remembers those to requests that have not expired, so that one
// which is delivered twice is carried out once.
type answers struct {
	mu     sync.Mutex
	bodies map[string]answered // by name and transaction
	order  []string            // the oldest first
}

type answered struct {
	response *config.Response // nil: it is being carried out
	expires  time.Time
}

func newActions() actions {
	return actions{
		queue:    make(chan action, maxActions),
		slow:     make(chan func(context.Context), maxActions),
		last:     make(chan func(context.Context), 1),
		answered: &answers{bodies: make(map[string]answered)},
	}
}

// receiveRequest is called by the connection, and does not wait.
func (a *Agent) receiveRequest(m mqtt.Message) {
	name := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]
	if len(m.Payload) == 0 {
		return // a retained request was cleared
	}
	if len(m.Payload) > maxRequest {
		a.respond(name, refusal("", 413, "the request has %d bytes: use at most %d", len(m.Payload), maxRequest))
		return
	}
	next := action{name, m.Payload, m.Retained}
	if requests()[name].slow {
		select {
		case a.action.slow <- func(ctx context.Context) { a.carryOut(ctx, next) }:
			return
		default:
		}
	} else {
		select {
		case a.action.queue <- next:
			return
		default:
		}
	}
	var r config.Request
	_ = json.Unmarshal(m.Payload, &r) // as much as can be read
	a.respond(name, refusal(r.Transaction, codeTooMany, "too many requests wait: try again in a few seconds"))
}

func (a *Agent) respond(name string, r config.Response) { a.enqueue("response/"+name, r) }

// run carries out requests until ctx is done.
func (s *actions) run(ctx context.Context, a *Agent) {
	var workers sync.WaitGroup
	defer workers.Wait()
	work := func(jobs <-chan func(context.Context)) {
		for {
			select {
			case <-ctx.Done():
				return
			case do := <-jobs:
				do(ctx)
			}
		}
	}
	for range slowWorkers {
		workers.Go(func() { work(s.slow) })
	}
	workers.Go(func() { work(s.last) })
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-s.queue:
			a.carryOut(ctx, next)
		}
	}
}

// carryOut carries out one request of the fleet, and answers it.
func (a *Agent) carryOut(ctx context.Context, next action) {
	response, afterwards := a.action.handle(ctx, a, next)
	if response == nil {
		return
	}
	a.respond(next.name, *response)
	if afterwards != nil {
		a.action.later(afterwards)
	}
}

// handle makes the answer to one request of the fleet, and what is to be done
// once it was given. The answer is nil where the request is delivered for the
// second time while it is carried out for the first.
func (s *actions) handle(ctx context.Context, a *Agent, next action) (*config.Response, func(context.Context)) {
	no := func(transaction string, code int, format string, args ...any) (*config.Response, func(context.Context)) {
		r := refusal(transaction, code, format, args...)
		return &r, nil
	}
	r, err := readRequest(next.raw)
	switch {
	case err != nil:
		return no(r.Transaction, 400, "%v", err)
	case r.Transaction == "" || len(r.Transaction) > 64:
		return no("", 400, "transaction is missing or longer than 64: every request needs its own")
	case next.retained:
		return no(r.Transaction, 400, "the request was retained: publish it without the retain flag")
	case r.Expires.IsZero():
		return no(r.Transaction, 400, "expires is missing: say until when the request is wanted")
	}
	key := next.name + " " + r.Transaction
	if old, ok := s.answered.get(key); ok {
		return old, nil
	}
	if !time.Now().Before(r.Expires) {
		return no(r.Transaction, 408, "the request expired at %s, and it is %s here",
			r.Expires.UTC().Format(time.RFC3339), now().Format(time.RFC3339))
	}
	s.answered.keep(key, answered{nil, r.Expires})
	response, afterwards := a.perform(ctx, next.name, r, nil)
	s.answered.keep(key, answered{&response, r.Expires})
	if response.Error == nil {
		a.event(config.SeverityInfo, "request", next.name, next.name+" was carried out",
			map[string]any{"transaction": r.Transaction})
	}
	return &response, afterwards
}

// get returns the answer to a request that was received before and has not
// expired; nil while it is carried out.
func (s *answers) get(key string) (*config.Response, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.bodies[key]
	return old.response, ok && time.Now().Before(old.expires)
}

func (s *answers) keep(key string, a answered) {
	if a.response != nil && len(a.response.Data) > maxRemembered {
		r := refusal(a.response.Transaction, codeConflict, "this transaction was answered, and the answer is too large to be kept: ask again with a new one")
		a.response = &r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.bodies[key]; !ok {
		s.order = append(s.order, key)
	}
	s.bodies[key] = a
	if len(s.order) > maxAnswered {
		delete(s.bodies, s.order[0])
		s.order = s.order[1:]
	}
}

func refusal(transaction string, code int, format string, args ...any) config.Response {
	return config.Response{
		Transaction: transaction, Status: "error",
		Error: &config.ResponseError{Code: code, Message: fmt.Sprintf(format, args...)},
	}
}
