package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/relay/relaytest"
)

// A session tells of itself in this order, and a second one, with a broker that
// has forgotten everything, does all of it again.
func TestSessionOrderAndReconnection(t *testing.T) {
	b := startBroker(t, "", nil, false)
	var mu sync.Mutex
	var got []string
	received := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(got) }
	c, stop := start(t, Config{Broker: "mqtt://" + b.address, ClientID: "box", Presence: presence}, func(c *Client) {
		c.Subscribe("box/in", 1, func(m Message) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s retained=%t", m.Payload, m.Retained))
		})
		c.SetRetained("box/info", []byte("old"))
		c.SetRetained("box/state", []byte("s"))
		c.SetRetained("box/info", []byte("new"))
		c.Enqueue("box/event", []byte("1"))
		c.Offer("box/telemetry", []byte("before")) // not connected: dropped
	})
	want := []string{
		"box/status init qos1 retain=true",
		"subscribed box/in 1",
		"box/info new qos1 retain=true",
		"box/state s qos1 retain=true",
		"box/event 1 qos1 retain=false",
		"box/status ready qos1 retain=true",
	}
	eventually(t, "first session", func() bool { return len(b.rules.all()) == len(want) })
	if seen := b.rules.all(); !slices.Equal(seen, want) {
		t.Fatalf("first session:\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	eventually(t, "ready", func() bool { return c.Status().Ready })
	c.Offer("box/telemetry", []byte("t"))
	eventually(t, "telemetry", func() bool { return slices.Contains(b.rules.all(), "box/telemetry t qos0 retain=false") })
	if err := b.Publish("box/in", []byte("hello"), false, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message", func() bool { return slices.Equal(received(), []string{"hello retained=false"}) })

	b.stop()
	eventually(t, "the loss is seen", func() bool { s := c.Status(); return !s.Connected && s.Reason != nil })
	c.Enqueue("box/event", []byte("2"))
	c.SetRetained("box/state", []byte("s2"))
	c.Offer("box/telemetry", []byte("while away"))

	b2 := startBroker(t, b.address, nil, false)
	want[3], want[4] = "box/state s2 qos1 retain=true", "box/event 2 qos1 retain=false"
	eventually(t, "second session", func() bool { return len(b2.rules.all()) >= len(want) })
	if seen := b2.rules.all(); !slices.Equal(seen, want) {
		t.Fatalf("second session:\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	if err := b2.Publish("box/in", []byte("again"), false, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message after the reconnection", func() bool { return len(received()) == 2 })

	stop()
	eventually(t, "goodbye", func() bool { return slices.Contains(b2.rules.all(), "box/status gone qos1 retain=true") })
	eventually(t, "the broker knows of the end", func() bool { return atomic.LoadInt64(&b2.Info.ClientsConnected) == 0 })
	if slices.Contains(b2.rules.all(), "will box/status lost") {
		t.Error("a clean end left the will")
	}
}

func TestWillOfABrokenSession(t *testing.T) {
	b := startBroker(t, "", nil, false)
	var mu sync.Mutex
	var conns []net.Conn
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
		return conn, err
	}
	c, _ := start(t, Config{
		Broker: "mqtt://" + b.address, ClientID: "box", Presence: presence,
		Dialers: func() []Dialer { return []Dialer{{"wan0", dial}} },
	}, nil)
	eventually(t, "ready", func() bool { return c.Status().Ready })
	mu.Lock()
	conns[0].(*net.TCPConn).CloseRead() // it reads as if the other end had gone
	mu.Unlock()
	eventually(t, "will", func() bool { return slices.Contains(b.rules.all(), "will box/status lost") })
	eventually(t, "ready again", func() bool { return c.Status().Ready })
}

// The first uplink that leads to the broker is used; a dead one costs no more
// than its attempt.
func TestDialersInOrder(t *testing.T) {
	b := startBroker(t, "", nil, false)
	var mu sync.Mutex
	var used []string
	dialer := func(name string, fail bool) Dialer {
		return Dialer{name, func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			used = append(used, name)
			mu.Unlock()
			if fail {
				return nil, errors.New("no carrier")
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}
	}
	c, _ := start(t, Config{
		Broker:  "mqtt://" + b.address,
		Dialers: func() []Dialer { return []Dialer{dialer("wan0", true), dialer("wan1", false), dialer("wan2", false)} },
	}, nil)
	eventually(t, "ready", func() bool { return c.Status().Ready })
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(used, []string{"wan0", "wan1"}) {
		t.Errorf("dialled through %v", used)
	}
}

func TestRefusedPasswordIsReportedAndRetried(t *testing.T) {
	const wrong, right = "planted-wrong-password", "planted-right-password"
	b := startBroker(t, "", nil, false)
	b.rules.password = right
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(wrong+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	c, _ := start(t, Config{
		Broker: "mqtt://" + b.address, Username: "box", PasswordFile: file,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, nil)
	eventually(t, "refusal", func() bool {
		r := c.Status().Reason
		return r != nil && r.Code == "broker_refused" && r.Message == "the broker refuses the user name or password"
	})
	if err := c.AwaitReady(t.Context()); err == nil {
		t.Error("AwaitReady does not tell of the refusal")
	}
	if err := os.WriteFile(file, []byte(right+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return c.Status().Ready })
	if n := strings.Count(log.String(), "refuses the user"); n != 1 {
		t.Errorf("the refusal was logged %d times, want once:\n%s", n, &log)
	}
	if strings.Contains(log.String(), "planted") {
		t.Errorf("the log holds a password:\n%s", &log)
	}
}

func TestRefusedSubscriptionIsReportedAndRetried(t *testing.T) {
	b := startBroker(t, "", nil, false)
	b.rules.denied["box/secret"] = true
	c, _ := start(t, Config{Broker: "mqtt://" + b.address, ClientID: "box", Presence: presence}, func(c *Client) {
		c.Subscribe("box/in", 1, func(Message) {})
		c.Subscribe("box/secret", 1, func(Message) {})
		c.SetRetained("box/info", []byte("i"))
	})
	eventually(t, "refusal", func() bool {
		s := c.Status()
		return s.Connected && !s.Ready && s.Reason != nil && s.Reason.Code == "subscription_refused" &&
			s.Reason.Message == "the broker refuses the subscription to box/secret"
	})
	// What the box has to say is said all the same.
	eventually(t, "info", func() bool { return slices.Contains(b.rules.all(), "box/info i qos1 retain=true") })
	if slices.Contains(b.rules.all(), "box/status ready qos1 retain=true") {
		t.Error("ready without its subscriptions")
	}
	b.rules.mu.Lock()
	delete(b.rules.denied, "box/secret")
	b.rules.mu.Unlock()
	eventually(t, "ready", func() bool { return c.Status().Ready })
	eventually(t, "status", func() bool { return slices.Contains(b.rules.all(), "box/status ready qos1 retain=true") })
}

func TestPublishWaitsForTheBroker(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", relaytest.FreePort(t))
	c, _ := start(t, Config{Broker: "mqtt://" + address}, nil)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Publish(short, Message{Topic: "t", Payload: []byte("given up"), QoS: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("with no broker: %v", err)
	}
	b := startBroker(t, address, nil, false)
	if err := c.Publish(t.Context(), Message{Topic: "t", Payload: []byte("kept"), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "message", func() bool { return len(b.rules.all()) > 0 })
	if seen := b.rules.all(); !slices.Equal(seen, []string{"t kept qos1 retain=true"}) {
		t.Errorf("the broker saw %q", seen)
	}
}

func TestStopDuringAnAttempt(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	accepted := make(chan struct{})
	go func() {
		if conn, err := silent.Accept(); err == nil {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1)) // of CONNECT
			close(accepted)
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	_, stop := start(t, Config{Broker: "mqtt://" + silent.Addr().String(), Timeout: time.Hour}, nil)
	<-accepted
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the handshake is not cut short")
	}
}

// lockedBuffer is a bytes.Buffer that a log may be written to while it is read.
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
