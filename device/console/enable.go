package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// enable switches an output by an edit of the configuration in force. It does
// not touch the candidate.
func (s *session) enable(ctx context.Context, name string, on bool) error {
	flow, output, err := splitName(name, "FLOW/OUTPUT")
	if err != nil {
		return err
	}
	document, err := s.switched(ctx, flow, output, on)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTime, fmt.Errorf("the daemon does not answer within %v", requestTime))
	defer cancel()
	status, body, err := s.o.Client.Apply(ctx, document)
	if err != nil {
		return reason(ctx, err)
	}
	var answer struct {
		Version uint64 `json:"version"`
		Status  string `json:"status"`
		Message string `json:"message"`
		Errors  []struct {
			Pointer string `json:"pointer"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the box's answer cannot be read: %w", err)
	}
	switch {
	case status == http.StatusUnauthorized && s.o.Login:
		return errSessionLost
	case status/100 != 2:
		for _, f := range answer.Errors {
			answer.Message += "\n" + f.Pointer + ": " + f.Message
		}
		return &refusal{code: status, message: answer.Message}
	}
	if err := s.accepted(ctx, outcome{Accepted: &acceptance{Version: answer.Version, Status: answer.Status}}); err != nil {
		return err
	}
	var candidate struct {
		Changed bool `json:"changed"`
	}
	if s.document(ctx, "candidate", &candidate) == nil && candidate.Changed {
		s.print(fold("A candidate with other changes waits: it does not have this one.\n", s.width))
	}
	return nil
}

// switched is the document in force with one output on or off. It is made of
// the one that is reported: its secrets are {"set": true}, which keeps them.
func (s *session) switched(ctx context.Context, flow, output string, on bool) ([]byte, error) {
	var reported struct {
		Schema  string         `json:"schema"`
		Version uint64         `json:"version"`
		State   map[string]any `json:"state"`
	}
	if err := s.document(ctx, "reported", &reported); err != nil {
		return nil, err
	}
	found := false
	for _, f := range objects(reported.State["flows"]) {
		for _, o := range objects(f["outputs"]) {
			delete(o, "playback_urls") // told by the box, not to it
			if f["id"] == flow && o["id"] == output {
				found = true
				o["enabled"] = on
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("flow %s has no output %s", flow, output)
	}
	return json.Marshal(map[string]any{"schema": reported.Schema, "base_version": reported.Version, "state": reported.State})
}

func objects(v any) (all []map[string]any) {
	list, _ := v.([]any)
	for _, i := range list {
		if o, ok := i.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}
