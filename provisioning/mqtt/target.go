package mqtt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/url"
	"time"

	"sluice/device"
)

// A target is the broker that an attempt is for.
type target struct {
	cfg    Config
	broker *url.URL // nil: there is none
}

// where names the broker for people.
func (t target) where() string {
	if t.broker == nil {
		return ""
	}
	return t.broker.Redacted()
}

type subscription struct {
	filter  string
	qos     byte
	handler Handler
}

// Use has the client speak to that broker from now on, or to none where
// cfg.Broker is empty. A session that is open ends cleanly, an attempt at one is
// given up, and a new one is made at once: also to the same broker, where the
// way to it is another. What waits to be sent is sent to the new broker, and
// retained topics are told again there.
//
// It returns the generation that Status shows of every session made from now
// on. After an error nothing has changed; it never holds a password.
func (c *Client) Use(cfg Config) (generation uint64, err error) {
	t, err := newTarget(cfg)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = t
	return c.anew(), nil
}

func newTarget(cfg Config) (t target, err error) {
	if cfg.Broker != "" {
		if t.broker, err = device.ParseBroker(cfg.Broker); err != nil {
			return t, err
		}
	}
	if cfg.ClientID == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		cfg.ClientID = "sluice-" + hex.EncodeToString(b[:])
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return t, errors.New("a client certificate and its key go together: one of them is missing")
	}
	if (cfg.PasswordFile != "" || cfg.Password.IsSet()) && cfg.Username == "" {
		return t, errors.New("a broker password needs a user name (MQTT 3.1.1 section 3.1.2.9)")
	}
	setDefault(&cfg.MinBackoff, time.Second)
	setDefault(&cfg.MaxBackoff, max(2*time.Minute, cfg.MinBackoff))
	setDefault(&cfg.KeepAlive, 20*time.Second)
	setDefault(&cfg.Timeout, 15*time.Second)
	t.cfg = cfg
	return t, nil
}

// anew ends what was begun under other circumstances. c.mu is held.
func (c *Client) anew() uint64 {
	c.generation++
	if c.abandon != nil {
		c.abandon()
	}
	notify(c.redial)
	return c.generation
}

// begin returns what an attempt is for, and a context that Use ends.
func (c *Client) begin(ctx context.Context) (context.Context, context.CancelFunc, target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.redial: // which this attempt obeys
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	c.abandon = cancel
	c.status.Generation = c.generation
	return ctx, cancel, c.target
}
