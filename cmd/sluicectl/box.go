package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
)

// A box is a box that can be looked at and changed, wherever it is.
type box interface {
	// Document returns the current body of a topic: desired, reported, state,
	// telemetry, info, status or schema; or commits. None holds a secret.
	Document(ctx context.Context, name string) (json.RawMessage, error)
	// Peek is Document for what is good to have: it does not wait for a body
	// that is not there yet.
	Peek(ctx context.Context, name string) (json.RawMessage, bool)
	// Apply hands in a desired document and waits for its answer. A document
	// without a version gets the next one. The error of a refusal is a
	// *config.Rejected.
	Apply(ctx context.Context, document []byte) (config.Accepted, error)
	// Settle confirms or cancels the commit that is pending: the one of that id,
	// or whichever it is where that is empty. It returns the version in force
	// then.
	Settle(ctx context.Context, action, id string) (version uint64, err error)
	// Request asks for an action and waits for its answer.
	Request(ctx context.Context, name string, data any) (json.RawMessage, error)
	// Watch calls each with the documents as they are, and then with every one
	// that changes, until ctx is done.
	Watch(ctx context.Context, each func(name string, body json.RawMessage) error) error
	Close()
}

// socketBox is the box that the program runs on.
type socketBox struct {
	client  *control.Client
	timeout time.Duration
}

func (b *socketBox) Close() { b.client.Close() }

func (b *socketBox) Document(ctx context.Context, name string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.client.Document(ctx, name)
}

func (b *socketBox) Peek(ctx context.Context, name string) (json.RawMessage, bool) {
	body, err := b.Document(ctx, name)
	return body, err == nil
}

func (b *socketBox) Apply(ctx context.Context, document []byte) (config.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	status, body, err := b.client.Apply(ctx, document)
	if err != nil {
		return config.Accepted{}, err
	}
	return answer(status/100 == 2, body)
}

func (b *socketBox) Request(ctx context.Context, name string, data any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	body, _, err := newRequest(data, b.timeout)
	if err != nil {
		return nil, err
	}
	status, got, err := b.client.Request(ctx, name, body)
	if err != nil {
		return nil, err
	}
	return response(status, got)
}

func (b *socketBox) Settle(ctx context.Context, action, id string) (uint64, error) {
	body, err := b.Request(ctx, "commit-"+action, map[string]string{"id": id})
	if err != nil {
		return 0, err
	}
	var is struct {
		Version uint64 `json:"version"`
	}
	err = json.Unmarshal(body, &is)
	return is.Version, err
}

func (b *socketBox) Watch(ctx context.Context, each func(string, json.RawMessage) error) error {
	return b.client.Watch(ctx, each)
}

// answer reads what the box says to a document.
func answer(taken bool, body []byte) (config.Accepted, error) {
	if taken {
		var a config.Accepted
		if err := json.Unmarshal(body, &a); err != nil {
			return a, fmt.Errorf("the box's answer cannot be read: %w", err)
		}
		return a, nil
	}
	var r config.Rejected
	if err := json.Unmarshal(body, &r); err != nil || r.Message == "" {
		return config.Accepted{}, fmt.Errorf("the box refuses the document and does not say why")
	}
	return config.Accepted{}, &r
}

// newRequest makes the body of an action, and its transaction.
func newRequest(data any, within time.Duration) (body []byte, transaction string, err error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, "", err
	}
	transaction = rand.Text()
	body, err = json.Marshal(config.Request{
		Transaction: transaction, Expires: time.Now().Add(within).UTC(), Data: raw,
	})
	return body, transaction, err
}

// response reads the answer to an action.
func response(status int, body []byte) (json.RawMessage, error) {
	var r config.Response
	if err := json.Unmarshal(body, &r); err != nil || r.Status == "" {
		var p control.Problem
		if json.Unmarshal(body, &p) == nil && p.Message != "" {
			return nil, fmt.Errorf("%s", p.Message)
		}
		return nil, fmt.Errorf("the box answers %d %s", status, http.StatusText(status))
	}
	if r.Error != nil {
		return nil, fmt.Errorf("%s", r.Error.Message)
	}
	return r.Data, nil
}
