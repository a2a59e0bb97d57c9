package console

import "context"

// enterConfigure begins the mode in which the candidate is edited.
func enterConfigure(_ context.Context, s *session) error {
	s.enter(&mode{root: configureGrammar(s), prompt: func() string { return s.box + "# " }})
	return nil
}

// configureGrammar is that of the mode.
func configureGrammar(s *session) *node {
	return &node{nodes: []*node{
		{word: "exit", help: "leave this mode: editing is not there yet", run: func(context.Context, call) error {
			s.leave()
			return nil
		}},
	}}
}
