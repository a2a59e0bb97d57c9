package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	documentTime = 5 * time.Second
	requestTime  = 60 * time.Second // a commit waits for the network to be set
)

// errSessionLost is the error of a request whose login the daemon does not
// know any more: it was started again, or somebody ended it.
var errSessionLost = errors.New("the box does not know this login any more: log in again")

// A refusal is what the daemon says to a request that it does not carry out.
type refusal struct {
	code    int
	message string
	data    json.RawMessage
}

func (r *refusal) Error() string { return r.message }

// document reads one of the daemon's documents.
func (s *session) document(ctx context.Context, name string, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, documentTime, fmt.Errorf("the daemon does not answer within %v", documentTime))
	defer cancel()
	body, err := s.o.Client.Document(ctx, name)
	if err != nil {
		return reason(ctx, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the %s document cannot be read: %w", name, err)
	}
	return nil
}

// request asks for an action. into may be nil. The error is a *refusal where
// the daemon gives one.
func (s *session) request(ctx context.Context, name string, data, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, fmt.Errorf("the daemon does not answer within %v", requestTime))
	defer cancel()
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	status, answer, err := s.o.Client.Request(ctx, name, body)
	if err != nil {
		return reason(ctx, err)
	}
	var r struct {
		Status  string          `json:"status"`
		Data    json.RawMessage `json:"data"`
		Message string          `json:"message"` // of the socket itself
		Error   *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	err = json.Unmarshal(answer, &r)
	no := &refusal{code: status, message: r.Message, data: r.Data}
	switch {
	case status == http.StatusUnauthorized && s.o.Login && s.user != "":
		return errSessionLost
	case r.Error != nil:
		no.code, no.message = r.Error.Code, r.Error.Message
		return no
	case status/100 != 2 && no.message != "":
		return no
	case status/100 != 2:
		no.message = fmt.Sprintf("the box answers %d %s", status, http.StatusText(status))
		return no
	case err != nil:
		return fmt.Errorf("the box's answer cannot be read: %w", err)
	case into == nil || len(r.Data) == 0:
		return nil
	}
	if err := json.Unmarshal(r.Data, into); err != nil {
		return fmt.Errorf("the box's answer cannot be read: %w", err)
	}
	return nil
}

// reason is that of a context that is done, where it is.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
