package provisioning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/relay"
)

const (
	maxActions   = 16      // requests that wait
	maxAnswered  = 128     // answers that are remembered
	maxRequest   = 4 << 10 // bytes
	maxLogLines  = 1000
	someLogLines = 100
)

// actions carries out the fleet's requests, one after another.
type actions struct {
	queue    chan action
	answered answers // belongs to the goroutine of run
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
	bodies map[string]answered // by name and transaction
	order  []string            // the oldest first
}

type answered struct {
	response config.Response
	expires  time.Time
}

func newActions() actions {
	return actions{queue: make(chan action, maxActions), answered: answers{bodies: make(map[string]answered)}}
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
	select {
	case a.action.queue <- action{name, m.Payload, m.Retained}:
	default:
		var r config.Request
		_ = json.Unmarshal(m.Payload, &r) // as much as can be read
		a.respond(name, refusal(r.Transaction, codeTooMany, "too many requests wait: try again in a few seconds"))
	}
}

func (a *Agent) respond(name string, r config.Response) { a.enqueue("response/"+name, r) }

func (s *actions) run(ctx context.Context, a *Agent) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-s.queue:
			a.respond(next.name, s.handle(ctx, a, next))
		}
	}
}

// handle answers one request of the fleet.
func (s *actions) handle(ctx context.Context, a *Agent, next action) config.Response {
	r, err := readRequest(next.raw)
	switch {
	case err != nil:
		return refusal(r.Transaction, 400, "%v", err)
	case r.Transaction == "" || len(r.Transaction) > 64:
		return refusal("", 400, "transaction is missing or longer than 64: every request needs its own")
	case next.retained:
		return refusal(r.Transaction, 400, "the request was retained: publish it without the retain flag")
	case r.Expires.IsZero():
		return refusal(r.Transaction, 400, "expires is missing: say until when the request is wanted")
	}
	key := next.name + " " + r.Transaction
	if old, ok := s.answered.bodies[key]; ok && time.Now().Before(old.expires) {
		return old.response
	}
	if !time.Now().Before(r.Expires) {
		return refusal(r.Transaction, 408, "the request expired at %s, and it is %s here",
			r.Expires.UTC().Format(time.RFC3339), now().Format(time.RFC3339))
	}
	response := a.perform(ctx, next.name, r)
	s.answered.keep(key, answered{response, r.Expires})
	if response.Error == nil {
		a.event(config.SeverityInfo, "request", next.name, next.name+" was carried out",
			map[string]any{"transaction": r.Transaction})
	}
	return response
}

func (s *answers) keep(key string, a answered) {
	if _, ok := s.bodies[key]; !ok {
		s.order = append(s.order, key)
	}
	s.bodies[key] = a
	if len(s.order) > maxAnswered {
		delete(s.bodies, s.order[0])
		s.order = s.order[1:]
	}
}

// readRequest reads one strictly: a misspelt field may be the one that matters.
func readRequest(raw []byte) (r config.Request, err error) {
	if err := decode(raw, &r); err != nil {
		return r, fmt.Errorf("the request cannot be read: %w", err)
	}
	return r, nil
}

func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the object")
	}
	return nil
}

func refusal(transaction string, code int, format string, args ...any) config.Response {
	return config.Response{
		Transaction: transaction, Status: "error",
		Error: &config.ResponseError{Code: code, Message: fmt.Sprintf(format, args...)},
	}
}

// perform carries out a request, or says why not.
func (a *Agent) perform(ctx context.Context, name string, r config.Request) config.Response {
	no := func(code int, format string, args ...any) config.Response {
		return refusal(r.Transaction, code, format, args...)
	}
	var data struct {
		Flow    string `json:"flow"`
		Output  string `json:"output"`
		Session string `json:"session"`
		Lines   *int   `json:"lines"`
		Seconds *int   `json:"seconds"`
		trial
	}
	if len(r.Data) > 0 {
		if err := decode(r.Data, &data); err != nil {
			return no(400, "data cannot be read: %v", err)
		}
	}
	var result any
	var err error
	switch name {
	case "output-kick":
		if data.Flow == "" || data.Output == "" || data.Session == "" {
			return no(400, "data needs flow, output and session")
		}
		err = a.o.Engine.Kick(data.Flow, data.Output, data.Session)
	case "flow-restart":
		if data.Flow == "" {
			return no(400, "data needs flow")
		}
		err = a.o.Engine.RestartFlow(data.Flow)
	case "input-inspect":
		if data.Flow == "" {
			return no(400, "data needs flow")
		}
		result, err = a.inspect(ctx, data.Flow)
	case "log-tail":
		lines := someLogLines
		if data.Lines != nil {
			lines = *data.Lines
		}
		switch {
		case lines < 1 || lines > maxLogLines:
			return no(400, "lines is %d: use 1 to %d", lines, maxLogLines)
		case a.o.LogTail == nil:
			return no(501, "the box keeps no log lines")
		}
		result = map[string][]string{"lines": append([]string{}, a.o.LogTail(lines)...)}
	case "test":
		if err := data.trial.check(); err != nil {
			return no(400, "%v", err)
		}
		result, err = a.try(ctx, data.trial)
	case "identify":
		return no(501, "this build knows no light or sound of the box to identify it by")
	case "reboot":
		return no(501, "this build cannot reboot the box")
	case "support-bundle":
		return no(501, "this build makes no support bundle: ask for log-tail")
	default:
		return no(404, "there is no request %q", name)
	}
	switch {
	case errors.Is(err, relay.ErrNotFound), errors.Is(err, errNoUplink):
		return no(404, "%v", err)
	case errors.Is(err, errBusy):
		return no(codeTooMany, "%v", err)
	case err != nil:
		return no(codeInternal, "%v", err)
	}
	response := config.Response{Transaction: r.Transaction, Status: "ok"}
	if result != nil {
		response.Data = marshal(result)
	}
	return response
}

// Request carries out an action for someone at the box: control.Backend. It
// needs neither transaction nor expires.
func (a *Agent) Request(ctx context.Context, name string, raw []byte, by control.Caller) (int, json.RawMessage) {
	var response config.Response
	var r config.Request
	var err error
	if len(bytes.TrimSpace(raw)) > 0 {
		r, err = readRequest(raw)
	}
	switch {
	case err != nil:
		response = refusal(r.Transaction, 400, "%v", err)
	case !r.Expires.IsZero() && !time.Now().Before(r.Expires):
		response = refusal(r.Transaction, 408, "the request expired at %s", r.Expires.UTC().Format(time.RFC3339))
	default:
		response = a.perform(ctx, name, r)
	}
	if response.Error != nil {
		return response.Error.Code, marshal(response)
	}
	a.event(config.SeverityInfo, "request", name, fmt.Sprintf("%s was carried out for user %d on the box", name, by.UID),
		map[string]any{"uid": by.UID, "pid": by.PID})
	return 200, marshal(response)
}
