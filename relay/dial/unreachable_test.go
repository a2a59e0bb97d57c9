package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

func TestUnreachable(t *testing.T) {
	over := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err           error
		code, message string
	}{
		{&net.DNSError{Err: "no such host", Name: "peer.test"}, "name_not_found", "the name in peer.test:1935 cannot be resolved: no such host"},
		{over(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), "name_not_found", "the name in peer.test:1935 cannot be resolved: i/o timeout"},
		{over(fmt.Errorf("connect: %w", syscall.ECONNREFUSED)), "no_listener", "nobody listens at peer.test:1935: connection refused"},
		{over(context.DeadlineExceeded), "no_answer", "peer.test:1935 did not answer within 5s"},
		{over(syscall.ETIMEDOUT), "no_answer", "peer.test:1935 did not answer within 5s"},
		{context.DeadlineExceeded, "no_answer", "peer.test:1935 did not answer within 5s"},
		{syscall.EHOSTUNREACH, "unreachable", "peer.test:1935 cannot be reached: no route to host"},
		{endpoint.Fail(endpoint.Unworkable, syscall.ENODEV, "no_socket", "wan0 has no socket"), "unreachable", "peer.test:1935 cannot be reached: no such device"},
	} {
		err := Unreachable(t.Context(), "peer.test:1935", c.err)
		var fault *endpoint.Error
		if !errors.As(err, &fault) || fault.Phase != endpoint.Connecting || fault.Reason.Code != c.code || err.Error() != c.message {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Unreachable(ctx, "peer.test:1935", syscall.ECONNREFUSED); err != context.Canceled {
		t.Errorf("stopped: %v", err)
	}
}

// TestNobodyListens asks the kernel, over TCP.
func TestNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	_, err = relaytest.NewUplink("wan0").Dialer().DialContext(t.Context(), "tcp", address)
	var fault *endpoint.Error
	if err := Unreachable(t.Context(), address, err); !errors.As(err, &fault) || fault.Reason.Code != "no_listener" {
		t.Errorf("got %v", err)
	}
}
