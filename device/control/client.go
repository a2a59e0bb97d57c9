package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
)

// DefaultSocket is where the daemon listens if it is not told otherwise.
const DefaultSocket = "/run/sluice/control.sock"

// maxAnswer bounds what a client reads of one answer, in bytes.
const maxAnswer = 16 << 20

// A Client speaks to a daemon over its socket. Make it with NewClient.
type Client struct {
	socket  string
	http    *http.Client
	session atomic.Pointer[string]
}

// NewClient returns a Client of the socket at path. It connects when it is used.
func NewClient(path string) *Client {
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// SetSession names the session that a login gave, from now on; empty: none.
func (c *Client) SetSession(session string) { c.session.Store(&session) }

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrNoDocument is returned for a document that the box does not have.
var ErrNoDocument = errors.New("there is no document")

// Document returns the body of a document, such as reported or state. The
// error may be ErrNoDocument.
func (c *Client) Document(ctx context.Context, name string) (json.RawMessage, error) {
	status, body, err := c.do(ctx, http.MethodGet, "documents/"+url.PathEscape(name), nil)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return body, nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w %q", ErrNoDocument, name)
	}
	return nil, errors.New(message(status, body))
}

// Apply hands in a desired document. status is an HTTP status: 200 comes with
// an accepted body, any other with a rejected one.
func (c *Client) Apply(ctx context.Context, document []byte) (status int, answer json.RawMessage, err error) {
	return c.do(ctx, http.MethodPost, "documents/desired", document)
}

// Request asks for an action. status is an HTTP status, answer a response body.
func (c *Client) Request(ctx context.Context, name string, request []byte) (status int, answer json.RawMessage, err error) {
	return c.do(ctx, http.MethodPost, "requests/"+url.PathEscape(name), request)
}

// Watch calls each with every document that changes, until ctx is done, each
// fails or the daemon ends.
func (c *Client) Watch(ctx context.Context, each func(name string, body json.RawMessage) error) error {
	resp, err := c.send(ctx, http.MethodGet, "watch", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return errors.New(message(resp.StatusCode, body))
	}
	lines := json.NewDecoder(resp.Body)
	for {
		var change Change
		if err := lines.Decode(&change); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: the daemon ended the watch: %w", c.socket, err)
		}
		if err := each(change.Name, change.Body); err != nil {
			return err
		}
	}
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (int, json.RawMessage, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", c.socket, err)
	}
	return resp.StatusCode, answer, nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://box/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if session := c.session.Load(); session != nil && *session != "" {
		req.Header.Set(sessionHeader, *session)
	}
	resp, err := c.http.Do(req)
	var dial *net.OpError
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be opened: only root and members of the daemon's group may", c.socket)
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("no daemon answers at %s: is sluiced running?", c.socket)
	}
	return nil, fmt.Errorf("%s: %w", c.socket, err)
}

// message returns what an answer that is not the wanted one says.
func message(status int, body []byte) string {
	var p Problem
	if json.Unmarshal(body, &p) == nil && p.Message != "" {
		return p.Message
	}
	return fmt.Sprintf("the daemon answers %d %s", status, http.StatusText(status))
}
