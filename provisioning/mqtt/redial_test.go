package mqtt

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// A client that had no broker, is given one, then another, and then none, loses
// nothing on the way: what waited is told to the next, retained topics to each.
func TestBrokerIsReplaced(t *testing.T) {
	first, second := startBroker(t, "", nil, false), startBroker(t, "", nil, false)
	second.rules.password = "planted-password"
	c := Idle(Config{})
	var mu sync.Mutex
	var got []string
	c.Subscribe("box/in", 1, func(m Message) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(m.Payload))
	})
	c.SetRetained("box/state", []byte("s"))
	c.Enqueue("box/event", []byte("1"))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, "no broker", func() bool { r := c.Status().Reason; return r != nil && r.Code == "no_broker" })

	use := func(cfg Config) uint64 {
		t.Helper()
		cfg.ClientID, cfg.Presence = "box", presence
		cfg.MinBackoff, cfg.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
		generation, err := c.Use(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return generation
	}
	ready := func(generation uint64) func() bool {
		return func() bool { s := c.Status(); return s.Ready && s.Generation == generation && s.Via == "system" }
	}
	was := use(Config{Broker: "mqtt://" + first.address})
	eventually(t, "the first broker", ready(was))
	want := []string{
		"box/status init qos1 retain=true",
		"subscribed box/in 1",
		"box/state s qos1 retain=true",
		"box/event 1 qos1 retain=false",
		"box/status ready qos1 retain=true",
	}
	if seen := first.rules.all(); !slices.Equal(seen, want) {
		t.Fatalf("the first broker:\n%s", strings.Join(seen, "\n"))
	}

	is := use(Config{Broker: "mqtt://" + second.address, Username: "box", Password: endpoint.NewSecret("planted-password")})
	if is <= was {
		t.Errorf("generation %d after %d", is, was)
	}
	eventually(t, "the second broker", ready(is))
	want = append(want, "box/status gone qos1 retain=true")
	if seen := first.rules.all(); !slices.Equal(seen, want) {
		t.Errorf("the first broker, afterwards:\n%s", strings.Join(seen, "\n"))
	}
	if seen := second.rules.all(); !slices.Contains(seen, "box/state s qos1 retain=true") || slices.Contains(seen, "box/event 1 qos1 retain=false") {
		t.Errorf("the second broker:\n%s", strings.Join(seen, "\n"))
	}
	if err := second.Publish("box/in", []byte("hello"), false, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message", func() bool { mu.Lock(); defer mu.Unlock(); return slices.Equal(got, []string{"hello"}) })

	if _, err := c.Use(Config{Broker: "tcp://planted:x@b"}); err == nil {
		t.Error("a URL that is none was taken")
	}
	if !ready(is)() {
		t.Error("what was refused changed something")
	}
	use(Config{})
	eventually(t, "no broker", func() bool { s := c.Status(); return !s.Connected && s.Reason.Code == "no_broker" })
	if seen := second.rules.all(); seen[len(seen)-1] != "box/status gone qos1 retain=true" {
		t.Errorf("the second broker, afterwards:\n%s", strings.Join(seen, "\n"))
	}
	c.Enqueue("box/event", []byte("2"))
	eventually(t, "the first broker again", ready(use(Config{Broker: "mqtt://" + first.address})))
	if seen := first.rules.all(); !slices.Contains(seen, "box/event 2 qos1 retain=false") {
		t.Errorf("what waited for a broker was lost:\n%s", strings.Join(seen, "\n"))
	}
}

// A session that is made anew ends cleanly, and an attempt that hangs is given
// up at once.
func TestSessionIsMadeAnew(t *testing.T) {
	b := startBroker(t, "", nil, false)
	var mu sync.Mutex
	way := "wan0"
	hangs := make(chan struct{}, 8)
	cfg := Config{
		Broker: "mqtt://" + b.address, ClientID: "box", Presence: presence, Timeout: time.Hour,
		Dialers: func() []Dialer {
			mu.Lock()
			defer mu.Unlock()
			return []Dialer{{way, func(ctx context.Context, network, address string) (net.Conn, error) {
				mu.Lock()
				dead := way == "dead"
				mu.Unlock()
				if dead {
					hangs <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}}}
		},
	}
	c, _ := start(t, cfg, nil)
	eventually(t, "ready", func() bool { return c.Status().Ready })
	take := func(name string) uint64 {
		mu.Lock()
		way = name
		mu.Unlock()
		generation, err := c.Use(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return generation
	}
	dead := take("dead")
	if s := c.Status(); s.Ready && s.Generation >= dead {
		t.Error("the old session is taken for a new one")
	}
	<-hangs
	if s := c.Status(); s.Connected || s.Via != "" || s.Generation != dead {
		t.Errorf("while the way is dead: %+v", s)
	}
	// A broker that is met again before it has read the goodbye publishes the will.
	eventually(t, "the broker knows of the end", func() bool { return atomic.LoadInt64(&b.Info.ClientsConnected) == 0 })
	good := take("wan1")
	eventually(t, "ready again", func() bool { s := c.Status(); return s.Ready && s.Generation == good && s.Via == "wan1" })
	want := []string{
		"box/status init qos1 retain=true", "box/status ready qos1 retain=true", "box/status gone qos1 retain=true",
		"box/status init qos1 retain=true", "box/status ready qos1 retain=true",
	}
	if seen := b.rules.all(); !slices.Equal(seen, want) {
		t.Errorf("%s", strings.Join(seen, "\n"))
	}
}
