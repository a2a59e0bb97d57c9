// Package control is the box's own API over a unix socket: HTTP with JSON
// bodies, for sluicectl, the serial console and the local page. The documents
// are those of the fleet's topics.
package control

import (
	"context"
	"encoding/json"
)

// A Backend is what the socket serves. Every document is JSON, redacted.
type Backend interface {
	// Document returns the current body of a topic: desired, reported, state,
	// telemetry, info, status or schema; or of what is for people at the box
	// alone: saved, candidate, commits, fleet, clock, and console, which shows
	// the first password until it was used. ok is false for an unknown name.
	Document(name string) (body json.RawMessage, ok bool)
	// Apply hands in a desired document as a local edit and waits for its
	// answer. status is an HTTP status, answer an accepted or rejected body.
	Apply(ctx context.Context, document []byte, by Caller) (status int, answer json.RawMessage)
	// Request carries out an action by name. status is an HTTP status, answer
	// a response body.
	Request(ctx context.Context, name string, request []byte, by Caller) (status int, answer json.RawMessage)
	// Watch calls send with the name and body of each document (state,
	// telemetry, reported, event) when it changes, until ctx is done or send
	// fails. send is never called concurrently.
	Watch(ctx context.Context, send func(name string, body json.RawMessage) error) error
}

// A Caller is who is at the other end of the socket: the user and process as
// the kernel tells, and the session that he says he has.
type Caller struct {
	UID     int
	PID     int
	Session string // what a login gave him, a secret; empty: he did not log in
}
