package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// brokerBox is a box of a fleet, by what it and its broker publish.
type brokerBox struct {
	client  *mqtt.Client
	device  string
	timeout time.Duration
	end     func()

	mu      sync.Mutex
	latest  map[string]json.RawMessage // by name of the document
	changed chan struct{}              // closed when something came
	answers map[string]chan reply      // by client token or transaction
	watcher chan change
}

// A reply is the body of a topic that answers.
type reply struct {
	topic string
	body  []byte
}

// A change is a document on its way to Watch.
type change struct {
	name string
	body json.RawMessage
}

// topics are where the documents are; telemetry and event are not retained.
var topics = map[string]string{
	"config/desired": "desired", "config/reported": "reported", "state": "state",
	"telemetry": "telemetry", "info": "info", "status": "status", "event": "event",
}

var deviceID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// newBrokerBox connects to the broker and subscribes to all that the box says.
func newBrokerBox(ctx context.Context, cfg mqtt.Config, device string, timeout time.Duration) (*brokerBox, error) {
	if !deviceID.MatchString(device) {
		return nil, usagef("--device is %q: a box's id is 1-63 of a-z, 0-9 and -", device)
	}
	client, err := mqtt.New(cfg)
	if err != nil {
		return nil, &usage{err.Error()}
	}
	b := &brokerBox{
		client: client, device: device, timeout: timeout,
		latest: make(map[string]json.RawMessage), changed: make(chan struct{}),
		answers: make(map[string]chan reply),
	}
	for topic := range topics {
		client.Subscribe(b.topic(topic), 1, b.document)
	}
	for _, topic := range []string{"config/accepted", "config/rejected", "response/+"} {
		client.Subscribe(b.topic(topic), 1, b.answer)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.Run(run)
	}()
	b.end = func() { cancel(); <-done }
	wait, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	if err := client.AwaitReady(wait); err != nil {
		b.end()
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

func (b *brokerBox) Close() { b.end() }

func (b *brokerBox) topic(name string) string { return "sluice/v1/" + b.device + "/" + name }

// document keeps what the box reports.
func (b *brokerBox) document(m mqtt.Message) {
	name := topics[strings.TrimPrefix(m.Topic, b.topic(""))]
	body := json.RawMessage(m.Payload)
	if len(body) > 0 && name == "desired" {
		body = redact(body) // it lies open on the broker
	}
	if len(body) > 0 && !json.Valid(body) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(body) == 0 {
		delete(b.latest, name)
	} else {
		b.latest[name] = body
	}
	close(b.changed)
	b.changed = make(chan struct{})
	if b.watcher != nil && len(body) > 0 {
		select {
		case b.watcher <- change{name, body}:
		default: // a reader that is this slow gets the next one
		}
	}
}

// answer hands a reply to the one who waits for it.
func (b *brokerBox) answer(m mqtt.Message) {
	var id struct {
		ClientToken string `json:"client_token"`
		Transaction string `json:"transaction"`
	}
	if m.Retained || json.Unmarshal(m.Payload, &id) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range []string{id.ClientToken, id.Transaction} {
		if ch := b.answers[key]; ch != nil {
			ch <- reply{m.Topic, m.Payload}
			delete(b.answers, key)
		}
	}
}

// Document returns the latest body of a topic, and waits for one that has not
// come yet. The schema is on no topic: it is this program's own, of the version
// that the document names.
func (b *brokerBox) Document(ctx context.Context, name string) (json.RawMessage, error) {
	switch name {
	case "schema":
		return config.JSONSchema(), nil
	case "commits":
		return b.commits(ctx)
	case "saved", "fleet":
		return nil, fmt.Errorf("the box shows %s on its own socket alone", name)
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for {
		body, changed := b.get(name)
		if body != nil {
			return body, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, fmt.Errorf("the broker has no %s of box %s: is its id right, was it ever connected?", name, b.device)
			}
			return nil, ctx.Err()
		}
	}
}

func (b *brokerBox) get(name string) (json.RawMessage, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest[name], b.changed
}

func (b *brokerBox) Peek(_ context.Context, name string) (json.RawMessage, bool) {
	body, _ := b.get(name)
	return body, body != nil
}

// Apply publishes the document, retained, and waits for the box to answer it.
func (b *brokerBox) Apply(ctx context.Context, document []byte) (config.Accepted, error) {
	doc, err := decode(document)
	if err != nil {
		return config.Accepted{}, err
	}
	if v := doc["version"]; v == nil || v == json.Number("0") {
		var now config.Reported
		body, err := b.Document(ctx, "reported")
		if err == nil {
			err = json.Unmarshal(body, &now)
		}
		if err != nil {
			return config.Accepted{}, fmt.Errorf("the version in force: %w", err)
		}
		doc["version"] = now.Version + 1
	}
	token, _ := doc["client_token"].(string)
	if token == "" {
		_, token, err = newRequest(nil, 0)
		if err != nil {
			return config.Accepted{}, err
		}
		doc["client_token"] = token
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return config.Accepted{}, err
	}
	if len(body) > config.MaxDocument {
		return config.Accepted{}, fmt.Errorf("the document is larger than %d KiB", config.MaxDocument>>10)
	}
	version := doc["version"]
	r, err := b.ask(ctx, token, mqtt.Message{Topic: b.topic("config/desired"), Payload: body, QoS: 1, Retained: true}, func() bool {
		// The box may be making its session anew, to see whether it can.
		c := b.pending()
		return c != nil && c.How == "session" && fmt.Sprint(c.Version) == fmt.Sprint(version)
	})
	if err != nil {
		return config.Accepted{}, err
	}
	a, err := answer(r.topic == b.topic("config/accepted"), r.body)
	if err == nil {
		b.awaitVersion(ctx, a.Version)
	}
	return a, err
}

// awaitVersion waits a little until the box has reported a version: whoever
// looks next, or edits next, is to find it.
func (b *brokerBox) awaitVersion(ctx context.Context, version uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		body, changed := b.get("reported")
		var now config.Reported
		if json.Unmarshal(body, &now) == nil && now.Version >= version {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (b *brokerBox) Request(ctx context.Context, name string, data any) (json.RawMessage, error) {
	body, transaction, err := newRequest(data, b.timeout)
	if err != nil {
		return nil, err
	}
	r, err := b.ask(ctx, transaction, mqtt.Message{Topic: b.topic("request/" + name), Payload: body, QoS: 1}, nil)
	if err != nil {
		return nil, err
	}
	return response(0, r.body)
}

// pending is the commit that is pending, as the box reports it, or nil.
func (b *brokerBox) pending() *config.PendingCommit {
	body, _ := b.get("reported")
	var is config.Reported
	if body == nil || json.Unmarshal(body, &is) != nil {
		return nil
	}
	return is.Commit
}

// commits is what can be known of them from afar: the one that is pending.
func (b *brokerBox) commits(ctx context.Context) (json.RawMessage, error) {
	if _, err := b.Document(ctx, "reported"); err != nil {
		return nil, err
	}
	return json.Marshal(config.Commits{Pending: b.pending(), Commits: []config.PastCommit{}})
}

// Settle publishes a confirmation, and waits for the box to answer it.
func (b *brokerBox) Settle(ctx context.Context, action, id string) (uint64, error) {
	if id == "" {
		if _, err := b.Document(ctx, "reported"); err != nil {
			return 0, err
		}
		c := b.pending()
		if c == nil {
			return 0, errors.New("no commit is pending")
		}
		id = c.ID
	}
	_, token, err := newRequest(nil, 0)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(config.Confirm{ID: id, Action: action, ClientToken: token})
	if err != nil {
		return 0, err
	}
	r, err := b.ask(ctx, token, mqtt.Message{Topic: b.topic("config/confirm"), Payload: body, QoS: 1}, nil)
	if err != nil {
		return 0, err
	}
	a, err := answer(r.topic == b.topic("config/accepted"), r.body)
	return a.Version, err
}

// ask publishes and waits for what carries the key, once more and again where
// the box is known to be busy with it.
func (b *brokerBox) ask(ctx context.Context, key string, m mqtt.Message, busy func() bool) (reply, error) {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	ch := make(chan reply, 1)
	b.mu.Lock()
	b.answers[key] = ch
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.answers, key)
		b.mu.Unlock()
	}()
	if err := b.client.Publish(ctx, m); err != nil {
		return reply{}, err
	}
	for {
		select {
		case r := <-ch:
			return r, nil
		case <-ctx.Done():
		}
		if whole.Err() != nil {
			return reply{}, whole.Err()
		}
		if busy == nil || !busy() {
			return reply{}, fmt.Errorf("box %s does not answer%s", b.device, b.presence())
		}
		ctx, cancel = context.WithTimeout(whole, b.timeout)
		defer cancel()
	}
}

// presence says what is known of the box's own connection.
func (b *brokerBox) presence() string {
	body, _ := b.get("status")
	var s config.Status
	if body == nil || json.Unmarshal(body, &s) != nil {
		return ": the broker has never heard of it"
	}
	return fmt.Sprintf(": it is %s since %s", s.State, s.Timestamp.Local().Format(time.DateTime))
}

func (b *brokerBox) Watch(ctx context.Context, each func(string, json.RawMessage) error) error {
	ch := make(chan change, 256)
	b.mu.Lock()
	for name, body := range b.latest { // first as they are
		ch <- change{name, body}
	}
	b.watcher = ch
	b.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-ch:
			if err := each(c.name, c.body); err != nil {
				return err
			}
		}
	}
}
