package provisioning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/provisioning/store"
	"sluice/relay"
	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// fakeEngine remembers what it was given, and reports what the test says.
type fakeEngine struct {
	mu      sync.Mutex
	applied []relay.Config
	flows   func(relay.Config) []relay.FlowReport // nil: every output waits, every input receives
	kicked  []string
	lag     time.Duration // until a report shows what was applied
	at      time.Time     // of the last Apply
	seen    relay.Inspection
}

func (e *fakeEngine) Apply(c relay.Config) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.applied, e.at = append(e.applied, c), time.Now()
}

func (e *fakeEngine) set(flows func(relay.Config) []relay.FlowReport) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flows = flows
}

func (e *fakeEngine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.applied)
}

func (e *fakeEngine) last() relay.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.applied[len(e.applied)-1]
}

func (e *fakeEngine) Report() relay.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := relay.Report{Time: time.Now()}
	if time.Since(e.at) < e.lag {
		r.Time = e.at.Add(-time.Millisecond)
		return r
	}
	if len(e.applied) == 0 {
		return r
	}
	c := e.applied[len(e.applied)-1]
	if e.flows != nil && len(c.Flows) > 0 {
		r.Flows = e.flows(c)
		return r
	}
	r.Flows = allWell(c)
	return r
}

// allWell is a report in which every input receives and every output waits.
func allWell(c relay.Config) (all []relay.FlowReport) {
	since := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for _, f := range c.Flows {
		fr := relay.FlowReport{ID: f.ID}
		for _, i := range f.Inputs {
			fr.Inputs = append(fr.Inputs, relay.InputReport{ID: i.ID, State: relay.Receiving, Since: since, Active: true})
		}
		for _, o := range f.Outputs {
			fr.Outputs = append(fr.Outputs, relay.OutputReport{ID: o.ID, State: relay.Waiting, Since: since})
		}
		all = append(all, fr)
	}
	return all
}

func (e *fakeEngine) Kick(flow, output, session string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if session != "s1" {
		return fmt.Errorf("session %q: %w", session, relay.ErrNotFound)
	}
	e.kicked = append(e.kicked, flow+"/"+output+"/"+session)
	return nil
}

func (e *fakeEngine) RestartFlow(flow string) error {
	if flow == "broken" {
		return errors.New("it cannot be restarted")
	}
	return nil
}

// Inspect takes 3 s, as an Engine does, and has seen what it is asked for.
func (e *fakeEngine) Inspect(ctx context.Context, flow string) (relay.Inspection, error) {
	if flow == "none" {
		return relay.Inspection{}, fmt.Errorf("flow %q: %w", flow, relay.ErrNotFound)
	}
	select {
	case <-ctx.Done():
		return relay.Inspection{}, ctx.Err()
	case <-time.After(3 * time.Second):
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.seen
	v.Flow = flow
	return v, nil
}

// A fakeHost takes its time, and says what the test says.
type fakeHost struct {
	mu    sync.Mutex
	set   []system.Settings
	takes time.Duration
	err   error
	did   []system.Action
}

func withHost(o *Options) { o.Host = &fakeHost{} }

func (h *fakeHost) Set(ctx context.Context, s system.Settings) error {
	h.mu.Lock()
	h.set = append(h.set, s)
	takes, err := h.takes, h.err
	h.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(takes):
	}
	return err
}

func (h *fakeHost) Do(_ context.Context, a system.Action) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, a)
	return nil
}

func (h *fakeHost) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set = nil
}

func (h *fakeHost) asked() []system.Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.set)
}

type fakeUplinks struct {
	mu     sync.Mutex
	set    []uplink.Config
	status []uplink.Status
}

func (u *fakeUplinks) Set(c []uplink.Config) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.set = c
	return nil
}

func (u *fakeUplinks) Status() []uplink.Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.status)
}

// Get returns an uplink whose sockets are bound to nothing.
func (u *fakeUplinks) Get(name string) endpoint.Uplink {
	return relaytest.NewUplink(name, netip.MustParseAddr("127.0.0.1"))
}

// fakeConnection keeps what is published.
type fakeConnection struct {
	mu       sync.Mutex
	messages []published
	status   mqtt.Status
	retries  int
	used     []mqtt.Config // brokers
	dead     bool          // no session comes about
	stays    bool          // the session of before does not end
}

// Use begins a session at once, unless the broker is dead.
func (c *fakeConnection) Use(broker mqtt.Config) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = append(c.used, broker)
	if c.stays {
		return c.status.Generation + 1, nil
	}
	c.status.Generation++
	c.status.Connected, c.status.Ready = !c.dead, !c.dead
	return c.status.Generation, nil
}

// brokers are those that were used, in order.
func (c *fakeConnection) brokers() []mqtt.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.used)
}

func (c *fakeConnection) retried() int { c.mu.Lock(); defer c.mu.Unlock(); return c.retries }

// live ends the death of the broker, or begins it.
func (c *fakeConnection) live(alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead, c.status.Connected, c.status.Ready = !alive, alive, alive
}

type published struct {
	topic    string // below the device's root
	body     string
	retained bool
	at       time.Time
}

func (c *fakeConnection) add(topic string, body []byte, retained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, published{strings.TrimPrefix(topic, "sluice/v1/box/"), string(body), retained, time.Now()})
}

func (c *fakeConnection) Run(ctx context.Context) error   { <-ctx.Done(); return nil }
func (c *fakeConnection) SetRetained(t string, b []byte)  { c.add(t, b, true) }
func (c *fakeConnection) Enqueue(t string, b []byte)      { c.add(t, b, false) }
func (c *fakeConnection) Offer(topic string, body []byte) { c.add(topic, body, false) }
func (c *fakeConnection) Status() mqtt.Status             { c.mu.Lock(); defer c.mu.Unlock(); return c.status }
func (c *fakeConnection) Retry()                          { c.mu.Lock(); defer c.mu.Unlock(); c.retries++ }
func (c *fakeConnection) on(topic string) (on []published) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if m.topic == topic {
			on = append(on, m)
		}
	}
	return on
}

func (c *fakeConnection) all() []published {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// last returns the latest body of a topic, empty if there is none.
func (c *fakeConnection) last(topic string) string {
	on := c.on(topic)
	if len(on) == 0 {
		return ""
	}
	return on[len(on)-1].body
}

func (c *fakeConnection) everything() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, m := range c.messages {
		b.WriteString(m.topic + " " + m.body + "\n")
	}
	return b.String()
}

// A box is an Agent among fakes, with a real store.
type box struct {
	*Agent
	dir     string
	engine  *fakeEngine
	uplinks *fakeUplinks
	fleet   *fakeConnection
	store   *store.Store
	log     *lockedBuffer
	stop    func()
}

// startBox starts one in a synctest bubble. prepare may change its options.
func startBox(t *testing.T, dir string, prepare func(*Options)) *box {
	t.Helper()
	if dir == "" {
		dir = filepath.Join(relaytest.MemoryDir(t), "state")
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{
		dir: dir, engine: &fakeEngine{}, uplinks: &fakeUplinks{}, store: s, log: &lockedBuffer{},
		fleet: &fakeConnection{status: mqtt.Status{Connected: true, Ready: true}},
	}
	o := Options{
		Device: "box", Store: s, Engine: b.engine, Uplinks: b.uplinks,
		Info:    func() config.Info { return config.Info{Model: "test", Version: "0"} },
		Figures: func() system.Figures { return system.Figures{CPUPercent: 12.5, RSSBytes: 1 << 20, Uptime: time.Minute} },
		Log:     slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	o.Broker = &mqtt.Config{Broker: "mqtt://fleet.example.com"}
	// A document that gives this role the same NIC needs no new session.
	o.LocalUplinks = []uplink.Local{{Name: "lan0", Interface: "lo"}}
	if prepare != nil {
		prepare(&o)
	}
	if b.Agent, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.Agent.client = b.fleet
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	t.Cleanup(b.stop)
	synctest.Wait()
	return b
}

// publish hands in a document as the fleet does, and waits until the box has
// nothing left to do at this moment.
func (b *box) publish(document string) {
	b.receiveDesired(mqtt.Message{Topic: "sluice/v1/box/config/desired", Payload: []byte(document)})
	synctest.Wait()
}

// publishLater does so when the next slot is open.
func (b *box) publishLater(document string) {
	time.Sleep(b.o.ApplyEvery)
	b.publish(document)
}

// edit hands in a document as someone at the box does, when the slot is open.
func (b *box) edit(document string) (int, string) {
	time.Sleep(b.o.ApplyEvery)
	status, answer := b.Apply(context.Background(), []byte(document), control.Caller{UID: 1000, PID: 42})
	synctest.Wait()
	return status, timeless(string(answer))
}

// timeless replaces what differs in each run.
func timeless(body string) string {
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	delete(v, "timestamp")
	b, _ := json.Marshal(v)
	return string(b)
}

// document returns one with a single output of that name.
func document(version int, output, more string) string {
	return fmt.Sprintf(`{"schema":"sluice.config/v1","version":%d,"client_token":"t%d",%s"state":{`+
		`"uplinks":[{"name":"lan0","match":{"interface":"lo"},"default":true}],`+
		`"flows":[{"id":"f","name":"F","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":5004}}],`+
		`"outputs":[{"id":"o","name":%q,"protocol":"SRT","srt":{"mode":"listener","port":9100}}]}]}}`, version, version, more, output)
}

// field reads one out of a body by its path.
func field(t *testing.T, body string, path ...any) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func last[T any](all []T) T { return all[len(all)-1] }

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
