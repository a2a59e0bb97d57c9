package console

import (
	"context"
	"errors"
)

// setupNodes are the guided ways to set up a box, as operational commands.
func setupNodes(s *session) []*node {
	return []*node{{
		word: "setup", help: "set up the box, question by question",
		run: func(ctx context.Context, _ call) error { return errors.New("setup is not there yet") },
	}}
}
