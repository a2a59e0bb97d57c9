package dial

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"sluice/relay/endpoint"
)

// Timeout is for resolving a destination's name, connecting and shaking hands.
const Timeout = 5 * time.Second

// Unreachable explains why a destination could not be called: with the error of
// resolving its name, making a socket or connecting. The result is an
// *endpoint.Error, or the error of ctx where that is done.
func Unreachable(ctx context.Context, destination string, err error) error {
	var dns *net.DNSError
	var fault *endpoint.Error
	var timed interface{ Timeout() bool }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dns):
		return endpoint.Fail(endpoint.Connecting, nil, "name_not_found", "the name in %s cannot be resolved: %s", destination, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return endpoint.Fail(endpoint.Connecting, syscall.ECONNREFUSED, "no_listener", "nobody listens at %s", destination)
	case errors.As(err, &timed) && timed.Timeout():
		return endpoint.Fail(endpoint.Connecting, nil, "no_answer", "%s did not answer within %v", destination, Timeout)
	case errors.As(err, &fault) && fault.Err != nil:
		err = fault.Err
	}
	return endpoint.Fail(endpoint.Connecting, err, "unreachable", "%s cannot be reached", destination)
}
