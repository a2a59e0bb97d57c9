package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// denied is an uplink whose NIC cannot be bound to.
type denied struct {
	*relaytest.Uplink
	asked *atomic.Int32
}

var errDenied = errors.New("no such NIC")

func (d denied) control(_, _ string, _ syscall.RawConn) error {
	d.asked.Add(1)
	return errDenied
}

func (d denied) Dialer() *net.Dialer             { return &net.Dialer{Control: d.control} }
func (d denied) ListenConfig() *net.ListenConfig { return &net.ListenConfig{Control: d.control} }

// TestFailClosed has no endpoint use another NIC than its uplink's.
func TestFailClosed(t *testing.T) {
	e, _ := env(t)
	up := denied{relaytest.NewUplink("lan0"), new(atomic.Int32)}
	e.Uplink = up
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := flow.New(flow.DefaultLimits)
	call := callerConfig("127.0.0.1", relaytest.FreePort(t))
	for _, err := range []error{
		NewInput(NewTransport(e.Log), listenerConfig(), anyone, e).Run(ctx, f),
		NewOutput(NewTransport(e.Log), listenerConfig(), anyone, e).Run(ctx, f),
		NewInput(NewTransport(e.Log), call, anyone, e).Run(ctx, f),
		NewOutput(NewTransport(e.Log), call, anyone, e).Run(ctx, f),
	} {
		var fault *endpoint.Error
		if !errors.As(err, &fault) || fault.Phase != endpoint.Connecting {
			t.Errorf("got %v", err)
		}
	}
	if n := up.asked.Load(); n != 4 {
		t.Errorf("the uplink was asked %d times", n)
	}
}

// TestDSCP reads the code point of what a caller and a listener send.
func TestDSCP(t *testing.T) {
	const dscp = 34
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			server := markedSocket(t, host)
			e, _ := env(t)
			e.DSCP = dscp
			call := NewOutput(NewTransport(e.Log), callerConfig(host, server.LocalAddr().(*net.UDPAddr).Port), anyone, e)
			background(t, func(ctx context.Context) error { _ = call.Run(ctx, flow.New(flow.DefaultLimits)); return nil })
			packet, mark := readMarked(t, server)
			if mark != dscp {
				t.Errorf("the caller sends with %d", mark)
			}

			listening := NewOutput(NewTransport(e.Log), listenerConfig(), anyone, e)
			background(t, func(ctx context.Context) error { return listening.Run(ctx, flow.New(flow.DefaultLimits)) })
			await(t, "it listens", func() bool { return listening.Status().Phase == endpoint.Listening })
			// The caller's own induction, sent on to the listener.
			to := &net.UDPAddr{IP: net.ParseIP(host), Port: listening.Status().Playback[0].Port}
			client := markedSocket(t, host)
			if _, err := client.WriteTo(packet, to); err != nil {
				t.Fatal(err)
			}
			if _, mark := readMarked(t, client); mark != dscp {
				t.Errorf("the listener sends with %d", mark)
			}
		})
	}
}

// markedSocket returns a socket that tells the code point of what it receives.
func markedSocket(t *testing.T, host string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	})
	return c
}

func readMarked(t *testing.T, c *net.UDPConn) (packet []byte, dscp int) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b, oob := make([]byte, 2000), make([]byte, 200)
	n, on, _, _, err := c.ReadMsgUDP(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS:
			return b[:n], int(m.Data[0]) >> 2
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS:
			return b[:n], int(binary.NativeEndian.Uint32(m.Data)) >> 2
		}
	}
	t.Fatal("no code point came with the packet")
	return nil, 0
}

// TestSocketsLost ends an output whose sockets reach nobody: it does not wait
// for a peer that cannot hear it.
func TestSocketsLost(t *testing.T) {
	cfg := listenerConfig()
	cfg.LatencyMS = 4000 // an orderly stop takes two seconds
	in := runInput(t, cfg)
	e, _ := env(t)
	cfg.Mode, cfg.Destinations = ModeCaller, callerConfig("127.0.0.1", in.port(t)).Destinations
	out := NewOutput(NewTransport(e.Log), cfg, anyone, e)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	media := live(t)
	go func() { done <- out.Run(ctx, media) }()
	await(t, "media is acknowledged", func() bool { return !out.Status().Acked.IsZero() })
	began := time.Now()
	cancel(endpoint.ErrSocketsLost)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it ended after %v", took)
	}
}
