package rtp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// A testUplink makes sockets on one NIC without being bound to it.
type testUplink struct {
	nic      string
	down     *endpoint.Reason
	resolver *net.Resolver
}

func (u testUplink) Name() string                    { return "lan0" }
func (u testUplink) Ready() *endpoint.Reason         { return u.down }
func (u testUplink) Interface() string               { return u.nic }
func (u testUplink) Addresses() []netip.Addr         { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} }
func (u testUplink) AdvertiseHost() string           { return "" }
func (u testUplink) Dialer() *net.Dialer             { return &net.Dialer{} }
func (u testUplink) ListenConfig() *net.ListenConfig { return &net.ListenConfig{} }
func (u testUplink) Generation() uint64              { return 0 }
func (u testUplink) Resolver() *net.Resolver {
	if u.resolver != nil {
		return u.resolver
	}
	return &net.Resolver{}
}

// env is what an endpoint on the NIC is given. Roles: lan0 is the NIC, down is
// never ready, nodns has no name server.
func env(nic string) endpoint.Env {
	return endpoint.Env{
		Uplink: testUplink{nic: nic},
		UplinkNamed: func(name string) endpoint.Uplink {
			switch name {
			case "down":
				return testUplink{nic: nic, down: endpoint.Because("no_carrier", "no cable")}
			case "nodns":
				return testUplink{nic: nic, resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
					return nil, fmt.Errorf("no name server")
				}}}
			}
			return testUplink{nic: nic}
		},
		Ledger: &endpoint.Ledger{},
		Log:    slog.New(slog.DiscardHandler),
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// running runs f until the returned function, or the end of the test, stops
// and joins it.
func running(t testing.TB, f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = f(ctx)
	}()
	stop = func() error {
		cancel()
		<-done
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func startInput(t testing.TB, cfg InputConfig, allow endpoint.AllowList, e endpoint.Env) (endpoint.Input, *flow.Flow) {
	t.Helper()
	in, f := NewInput(cfg, allow, e), flow.New(flow.Limits{Retain: time.Minute, MaxBytes: 64 << 20})
	failed := make(chan error, 1)
	running(t, func(ctx context.Context) error {
		err := in.Run(ctx, f)
		failed <- err
		return err
	})
	eventually(t, "the input listens", func() bool {
		select {
		case err := <-failed:
			t.Fatalf("the input ended: %v", err)
		default:
		}
		return in.Status().Phase == endpoint.Listening
	})
	return in, f
}

func startOutput(t testing.TB, cfg OutputConfig, from *flow.Flow, e endpoint.Env, legs int) (out endpoint.Output, stop func() error) {
	t.Helper()
	if cfg.TTL == 0 {
		cfg.TTL = 16
	}
	out = NewOutput(cfg, e)
	stop = running(t, func(ctx context.Context) error { return out.Run(ctx, from) })
	eventually(t, "the destinations are open", func() bool {
		open := 0
		for _, d := range out.Status().Destinations {
			if d.Phase == endpoint.Connected {
				open++
			}
		}
		return open >= legs
	})
	return out, stop
}

// A sink receives datagrams on a socket of its own.
type sink struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  [][]byte
}

func newSink(t testing.TB, conn *net.UDPConn) *sink {
	s := &sink{conn: conn}
	if setsockopt(conn, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = conn.SetReadBuffer(socketBuffer) // a smaller one works too
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, bytes.Clone(b[:n]))
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

// setsockopt sets an integer option of a socket.
func setsockopt(conn *net.UDPConn, level, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) { refused = syscall.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return refused
}

func listenLoopback(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (s *sink) port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

func (s *sink) datagrams() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[:len(s.got):len(s.got)]
}

func (s *sink) wait(t testing.TB, n int) [][]byte {
	t.Helper()
	eventually(t, fmt.Sprintf("%d datagrams", n), func() bool { return len(s.datagrams()) >= n })
	return s.datagrams()
}

func dialPort(t testing.TB, port int) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sum is what a ledger says of packets that were not delivered.
func dropped(l *endpoint.Ledger) (n uint64) {
	for _, d := range l.Dropped() {
		n += d
	}
	return n
}

func checkLedger(t testing.TB, name string, l *endpoint.Ledger) {
	t.Helper()
	if taken, sent, drops := l.Taken.Load(), l.Sent.Load(), dropped(l); taken != sent+drops {
		t.Errorf("%s: %d taken, %d sent, %d dropped: %v", name, taken, sent, drops, l.Dropped())
	}
}

// keepPace lets the receiving goroutines keep up where a socket buffer is small.
func keepPace(n int) {
	if n%32 == 31 {
		time.Sleep(time.Millisecond)
	}
}
