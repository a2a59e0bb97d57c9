package console

import (
	"context"
	"errors"
	"strings"
	"time"

	"sluice/device/console/figure"
)

// errIdle is the error of who does nothing for too long.
var errIdle = errors.New("idle for too long")

// warnings are how long before that it is told.
var warnings = []time.Duration{2 * time.Minute, 30 * time.Second}

// key returns the next key. Whoever does nothing is warned, if he is logged in,
// and then gets errIdle.
func (s *session) key(ctx context.Context, notify func(text string)) (key, error) {
	for {
		idle := time.Since(s.lastKey)
		until := s.o.Idle
		for _, w := range warnings {
			if at := s.o.Idle - w; at > idle {
				until = min(until, at)
			}
		}
		k, err := s.in.next(ctx, until-idle)
		switch {
		case err == nil:
			s.lastKey = time.Now()
			return k, nil
		case !errors.Is(err, errTimeout):
			return 0, err
		case until >= s.o.Idle:
			return 0, errIdle
		case s.user != "" && !s.script:
			notify("You are logged out in " + figure.Lasting(s.o.Idle-until) + " unless a key is pressed.\n")
		}
	}
}

// readLine reads a line with the editor for this terminal.
func (s *session) readLine(ctx context.Context, r reading) (string, error) {
	next := func(notify func(string)) (key, error) { return s.key(ctx, notify) }
	if s.dumb || s.script || r.hidden {
		return (&plain{s, &s.past}).readLine(next, r)
	}
	if s.edit == nil {
		s.edit = newVT(s.out, &s.past, s.width, s.height)
	}
	line, err := s.edit.readLine(next, r)
	if err != nil && !isRefusal(err) && !errors.Is(err, errInterrupt) && !errors.Is(err, errLogout) {
		s.edit = nil // it was left in the middle of a line
	}
	return line, err
}

// question reads an answer that is no command. Ctrl-C and Ctrl-D give it up.
func (s *session) question(ctx context.Context, r reading) (string, error) {
	for {
		line, err := s.readLine(ctx, r)
		s.rows = 0 // what was shown has been read
		switch {
		case isRefusal(err):
			s.printf("%s\n", sentence(err.Error()))
		case errors.Is(err, errLogout):
			return "", errInterrupt
		default:
			return line, err
		}
	}
}

// ask asks for a line of text. An empty one is the default. The error is
// errInterrupt for Ctrl-C or Ctrl-D, or the end of the session: a command
// returns either as it is.
func (s *session) ask(ctx context.Context, question, otherwise string) (string, error) {
	return s.askWith(ctx, question, otherwise, nil)
}

// askWith is ask with values that Tab and ? know.
func (s *session) askWith(ctx context.Context, question, otherwise string, values func(context.Context) []choice) (string, error) {
	prompt := question + ": "
	if otherwise != "" {
		prompt = question + " [" + otherwise + "]: "
	}
	r := reading{prompt: clean(prompt)}
	if values != nil {
		r.complete = s.completer(ctx, &node{nodes: []*node{{arg: "VALUE", help: "anything else", values: values}}})
	}
	line, err := s.question(ctx, r)
	if line = strings.TrimSpace(line); line == "" {
		line = otherwise
	}
	return line, err
}

// secret asks for what is not shown. It is taken as it is typed, spaces at its
// ends included.
func (s *session) secret(ctx context.Context, question string) (string, error) {
	return s.question(ctx, reading{prompt: clean(question + ": "), hidden: true})
}

// confirm asks whether something is to be done. Only y and yes say so. A
// script is not asked.
func (s *session) confirm(ctx context.Context, question string) (bool, error) {
	if s.script {
		return true, nil
	}
	lines := wrap(clean(question), s.width-len(" [y/N]: y"))
	for _, line := range lines[:max(len(lines)-1, 0)] {
		s.printf("%s\n", line)
	}
	line, err := s.question(ctx, reading{prompt: strings.Join(lines[max(len(lines)-1, 0):], "") + " [y/N]: "})
	if err != nil {
		return false, err
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes", nil
}

const more = "--More--"

// page prints text that may be longer than the screen. Space shows the next
// screen, Enter the next line, q ends it, and so does Ctrl-C.
func (s *session) page(ctx context.Context, text string) error {
	lines := strings.SplitAfter(cleanLines(text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	} else {
		lines[len(lines)-1] += "\n"
	}
	for _, line := range lines {
		rows := max((columns(strings.TrimSuffix(line, "\n"))+s.width-1)/s.width, 1)
		if s.rows > 0 && s.rows+rows > s.height-1 && !s.script {
			rest, err := s.more(ctx)
			if err != nil || !rest {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.print(line)
		s.rows += rows - 1
	}
	return nil
}

// more waits for a key, and says whether to go on.
func (s *session) more(ctx context.Context) (bool, error) {
	s.print(more)
	defer s.print(strings.Repeat("\b \b", len(more)))
	for {
		k, err := s.key(ctx, func(text string) { s.print("\n" + text + more) })
		switch {
		case err != nil:
			return false, err
		case k == ' ':
			s.rows = 0
			return true, nil
		case k == keyEnter:
			s.rows = s.height - 2
			return true, nil
		case k == 'q', k == 'Q', k == keyInterrupt, k == keyEOF:
			return false, nil
		}
	}
}
