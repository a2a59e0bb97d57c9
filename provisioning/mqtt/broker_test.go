package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/relay/relaytest"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A broker is mochi in this process, with everything that it was sent.
type broker struct {
	*mochi.Server
	address string
	rules   *rules
	closing sync.Once
}

func (b *broker) stop() { b.closing.Do(func() { b.Close() }) }

// rules decide who may do what, and record what is done.
type rules struct {
	mochi.HookBase
	mu       sync.Mutex
	password string          // empty: everyone may connect
	denied   map[string]bool // filters
	seen     []string        // what happened, in order
}

func (r *rules) ID() string { return "rules" }

func (r *rules) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSubscribed, mochi.OnPublish, mochi.OnWillSent}, []byte{b})
}

func (r *rules) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.password == "" || r.password == string(p.Connect.Password)
}

func (r *rules) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.denied[topic]
}

func (r *rules) OnSubscribed(_ *mochi.Client, p packets.Packet, codes []byte) {
	for i, f := range p.Filters {
		r.note(fmt.Sprintf("subscribed %s %d", f.Filter, codes[i]))
	}
}

// OnPublish comes before the answer: what a client knows to be published is
// noted.
func (r *rules) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	r.note(fmt.Sprintf("%s %s qos%d retain=%t", p.TopicName, p.Payload, p.FixedHeader.Qos, p.FixedHeader.Retain))
	return p, nil
}

func (r *rules) OnWillSent(_ *mochi.Client, p packets.Packet) {
	r.note(fmt.Sprintf("will %s %s", p.TopicName, p.Payload))
}

func (r *rules) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, what)
}

func (r *rules) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// startBroker starts one on an address, an empty one meaning any free port.
func startBroker(t *testing.T, address string, secure *tls.Config, webSocket bool) *broker {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	b := &broker{
		Server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}),
		rules:  &rules{denied: make(map[string]bool)},
	}
	if err := b.AddHook(b.rules, nil); err != nil {
		t.Fatal(err)
	}
	cfg := listeners.Config{ID: "l", Address: address, TLSConfig: secure}
	var l listeners.Listener = listeners.NewTCP(cfg)
	if webSocket {
		cfg.Address = fmt.Sprintf("127.0.0.1:%d", relaytest.FreePort(t)) // mochi does not tell which one it got
		l = listeners.NewWebsocket(cfg)
	}
	if err := b.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	b.address = l.Address()
	t.Cleanup(b.stop)
	return b
}

// start runs a client until the end of the test, or until stop is called.
func start(t *testing.T, cfg Config, prepare func(*Client)) (c *Client, stop func()) {
	t.Helper()
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff, cfg.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return c, stop
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func presence(p Presence) Message {
	name := map[Presence]string{Lost: "lost", Init: "init", Ready: "ready", Gone: "gone"}[p]
	return Message{Topic: "box/status", Payload: []byte(name), QoS: 1, Retained: true}
}
