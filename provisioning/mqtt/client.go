// Package mqtt is one connection to an MQTT 3.1.1 broker that is kept up:
// for the box, for its tools and for the fleet manager.
//
// Run connects, subscribes, sends what waits, and does so again whenever the
// connection ends, with exponential back-off and full jitter:
//
//	attempt -> CONNECT with a will -> status "init" -> SUBSCRIBE all
//	        -> retained topics, latest body of each -> status "ready"
//	        -> queue -> ... -> lost -> back-off -> attempt
//
// What goes out never blocks the one who says it, and is bounded: a retained
// topic keeps its latest body alone (SetRetained), other messages wait in a
// queue that drops its oldest (Enqueue), and figures are not kept while there
// is no connection (Offer). Publish alone waits, for the broker's
// acknowledgement.
//
// The broker may be replaced at any time, and the session be made anew (Use):
// what waits to be sent stays.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"sluice/device"
	"sluice/relay/endpoint"
)

// A Message is one application message.
type Message struct {
	Topic    string
	Payload  []byte
	QoS      byte
	Retained bool // when received: the broker kept it, it is not new
}

// A Handler takes a received message. Messages come one at a time and in
// order; nothing else is received until it returns, so that it must not wait,
// and must not call Publish.
type Handler func(Message)

// A DialFunc makes a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A Dialer is one way to reach the broker.
type Dialer struct {
	Name string // of the uplink, for people
	Dial DialFunc
}

// A Presence is a moment in a session's life of which a status message tells.
type Presence uint8

const (
	Lost  Presence = iota // the will: published by the broker if the session breaks
	Init                  // connected
	Ready                 // subscribed, and every retained topic is out
	Gone                  // a clean end
)

// Config is how the broker is reached, and as whom.
type Config struct {
	Broker       string // mqtt://, mqtts://, ws:// or wss:// URL
	ClientID     string // empty: a random one
	Username     string
	Password     endpoint.Secret
	PasswordFile string // in the place of Password; read at each attempt; a line end at its end is not part of the password
	CAFile       string // PEM; empty: the system's
	CertFile     string // PEM, with KeyFile: the client's certificate
	KeyFile      string

	// Dialers returns the ways to the broker, in the order in which an attempt
	// tries them. Nil: the system's.
	Dialers func() []Dialer
	// Presence makes the status messages, and the will. It is called with Lost
	// once before each attempt. Nil: there are none.
	Presence func(Presence) Message

	MinBackoff time.Duration // bound of the first pause; default 1 s
	MaxBackoff time.Duration // bound of every pause; default 2 min
	KeepAlive  time.Duration // default 20 s
	Timeout    time.Duration // of connecting and of each acknowledgement; default 15 s
	MaxQueue   int           // messages that wait for a connection; default 256

	Log *slog.Logger
}

// Status is how the connection is.
type Status struct {
	Connected bool // the broker has accepted the session
	Ready     bool // and granted every subscription
	// Via names the Dialer that leads to the broker. Empty while there is no
	// session.
	Via string
	// Generation is that of what the session was made under: see Use.
	Generation uint64
	// Reason says what is wrong: no_broker, broker_unreachable, broker_refused,
	// subscription_refused or tls_files. Nil while Ready.
	Reason  *endpoint.Reason
	Since   time.Time // when Connected became what it is
	Dropped uint64    // messages that the queue had no room for
}

// A Client is a connection that is kept up. Make it with New.
type Client struct {
	log    *slog.Logger
	out    *outbox
	retry  chan struct{} // ends a pause; capacity 1
	resub  chan struct{} // a subscription was added; capacity 1
	redial chan struct{} // the broker, or the way to it, is another; capacity 1

	mu         sync.Mutex
	target     target
	generation uint64             // counts what makes a new session necessary
	abandon    context.CancelFunc // ends the attempt that is under way, or nil
	status     Status
	changed    chan struct{} // closed when status changes
	subs       []subscription
}

// New returns a Client that Run brings to life. The error tells what is wrong
// with the URL; it never holds a password.
func New(cfg Config) (*Client, error) {
	if _, err := device.ParseBroker(cfg.Broker); err != nil {
		return nil, err
	}
	c := Idle(cfg)
	if _, err := c.Use(cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// Idle returns a Client that has no broker until Use names one: what it is
// given to say until then waits. Of cfg, Log and MaxQueue alone matter.
func Idle(cfg Config) *Client {
	setDefault(&cfg.MaxQueue, 256)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		log:     cfg.Log,
		out:     newOutbox(cfg.MaxQueue),
		retry:   make(chan struct{}, 1),
		resub:   make(chan struct{}, 1),
		redial:  make(chan struct{}, 1),
		changed: make(chan struct{}),
		status:  Status{Since: time.Now(), Reason: endpoint.Because("broker_unreachable", "not connected yet")},
	}
}

func setDefault[T int | time.Duration](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}

// Subscribe asks for the messages of a topic filter, at once and at each
// connection from then on.
func (c *Client) Subscribe(filter string, qos byte, handler Handler) {
	c.mu.Lock()
	c.subs = append(c.subs, subscription{filter, qos, handler})
	c.mu.Unlock()
	notify(c.resub)
}

// SetRetained gives a retained topic its body, QoS 1. It is published once the
// connection is open, and again at each connection; of several bodies that
// wait, only the latest is.
func (c *Client) SetRetained(topic string, body []byte) { c.out.setRetained(topic, body) }

// Enqueue sends a message with QoS 1, at least once, when the connection is
// open. Of more than MaxQueue that wait, the oldest are dropped and counted.
func (c *Client) Enqueue(topic string, body []byte) {
	c.out.enqueue(&entry{message: Message{Topic: topic, Payload: body, QoS: 1}})
}

// Offer sends a message with QoS 0 if the connection is open; otherwise it is
// dropped, and so is one that the next of its topic overtakes.
func (c *Client) Offer(topic string, body []byte) {
	if c.Status().Connected {
		c.out.offer(topic, body)
	}
}

// Publish sends a message when the connection is open, and waits until the
// broker has it, or ctx is done.
func (c *Client) Publish(ctx context.Context, m Message) error {
	e := &entry{message: m, done: make(chan error, 1)}
	c.out.enqueue(e)
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		c.out.forget(e)
		if r := c.Status().Reason; r != nil {
			return fmt.Errorf("publishing to %s: %w (%s)", m.Topic, ctx.Err(), r.Message)
		}
		return fmt.Errorf("publishing to %s: %w", m.Topic, ctx.Err())
	}
}

// Retry ends the present pause, because something has changed that may let the
// next attempt succeed.
func (c *Client) Retry() { notify(c.retry) }

// Status returns how the connection is.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Dropped = c.out.droppedCount()
	return s
}

// AwaitReady waits until the connection is open and every subscription
// granted. It returns early when the broker refuses the user, or a
// subscription: the error says so.
func (c *Client) AwaitReady(ctx context.Context) error {
	for {
		c.mu.Lock()
		s, changed := c.status, c.changed
		c.mu.Unlock()
		switch {
		case s.Ready:
			return nil
		case s.Reason != nil && s.Reason.Code != "broker_unreachable":
			return errors.New(s.Reason.Message)
		}
		select {
		case <-ctx.Done():
			if s.Reason != nil {
				return fmt.Errorf("%s: %w", s.Reason.Message, ctx.Err())
			}
			return ctx.Err()
		case <-changed:
		}
	}
}

// setStatus records how the connection is, and logs what is new.
func (c *Client) setStatus(connected, ready bool, reason *endpoint.Reason) {
	c.mu.Lock()
	old, broker := c.status, c.target.where()
	c.status.Connected, c.status.Ready, c.status.Reason = connected, ready, reason
	if !connected {
		c.status.Via = ""
	}
	if connected != old.Connected {
		c.status.Since = time.Now()
	}
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()

	if ready && !old.Ready {
		c.log.Info("connected to the broker", "broker", broker, "via", old.Via)
	}
	if reason != nil && reason != ended && reason != anew && reason != none && (old.Reason == nil || *reason != *old.Reason) {
		c.log.Warn("broker", "broker", broker, "code", reason.Code, "reason", reason.Message)
	}
}

// The reasons that are no trouble.
var (
	ended = endpoint.Because("broker_unreachable", "the connection was ended")
	anew  = endpoint.Because("broker_unreachable", "the connection is made anew")
	none  = endpoint.Because("no_broker", "no broker is configured")
)

// healthy is how long a session must have lasted for the back-off to start
// from the beginning: a broker that accepts and drops is not to be stormed.
const healthy = time.Minute

// Run keeps the connection up until ctx is done, and then ends it cleanly.
// It returns nil.
func (c *Client) Run(ctx context.Context) error {
	var pause backoff
	for ctx.Err() == nil {
		attempt, cancel, t := c.begin(ctx)
		pause.min, pause.max = t.cfg.MinBackoff, t.cfg.MaxBackoff
		if t.broker == nil {
			c.setStatus(false, false, none)
			select {
			case <-ctx.Done():
			case <-c.redial:
			}
			cancel()
			continue
		}
		began := time.Now()
		err := c.attempt(attempt, t)
		abandoned := attempt.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			continue
		case abandoned:
			c.setStatus(false, false, anew)
			pause.reset()
			continue
		}
		c.setStatus(false, false, explain(err))
		if time.Since(began) >= healthy {
			pause.reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause.next()):
		case <-c.retry:
			pause.reset()
		case <-c.redial:
			pause.reset()
		}
	}
	c.setStatus(false, false, ended)
	return nil
}

// explain turns the end of an attempt into a reason for people.
func explain(err error) *endpoint.Reason {
	var r *refusal
	if errors.As(err, &r) {
		return &r.reason
	}
	return endpoint.Because("broker_unreachable", "%v", err)
}

// A refusal is an error that has a code of its own.
type refusal struct{ reason endpoint.Reason }

func (r *refusal) Error() string { return r.reason.Message }

func refuse(code, format string, args ...any) error {
	return &refusal{*endpoint.Because(code, format, args...)}
}

// notify leaves one token in a channel of capacity 1.
func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
