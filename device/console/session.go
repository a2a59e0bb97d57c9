package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/device/console/figure"
)

// A session is one Run. All of it belongs to Run's goroutine.
type session struct {
	o    Options
	in   *input
	out  *output
	past history
	edit editor // nil: to be made, for what the terminal is now

	width, height int
	dumb, script  bool
	failed        bool // a command of a script did

	box     string // its name, for the prompt
	user    string // who is logged in; empty: nobody yet
	modes   []*mode
	waits   *pending // the commit that was last told to wait for a confirmation
	again   bool     // a login was lost: the next is asked for at once
	lastKey time.Time
	rows    int // that were printed since somebody last had a say
}

// A mode is a grammar and its prompt. The last one that was entered counts.
type mode struct {
	root   *node
	prompt func() string                   // such as "van-3> "
	leave  func(ctx context.Context) error // for Ctrl-D; nil: leaves as it is
	failed func(c call)                    // is told of a line that was not carried out, as far as it was understood; may be nil
}

func newSession(ctx context.Context, in *input, out *output, o Options) *session {
	return &session{o: o, in: in, out: out, width: o.Width, height: o.Height, box: "sluice", lastKey: time.Now()}
}

// serve is the whole session. It returns why it ends.
func (s *session) serve(ctx context.Context) error {
	for {
		if err := s.begin(ctx); err != nil {
			return err
		}
		err := s.commands(ctx)
		s.user, s.modes = "", nil
		s.past = history{} // not for who comes next
		if !errors.Is(err, errSessionLost) {
			s.logout(ctx) // before it is told: whoever waits for that types on
		}
		switch {
		case errors.Is(err, errIdle):
			s.printf("\nLogged out after %s without a key. What was being edited is kept.\n", figure.Lasting(s.o.Idle))
		case errors.Is(err, errLogout):
			s.printf("Logged out.\n")
		case errors.Is(err, errSessionLost):
			s.printf("%s\n", sentence(err.Error()))
			if s.o.Login {
				s.again = true
				continue
			}
		}
		return err
	}
}

// enter begins a mode, until leave.
func (s *session) enter(m *mode) { s.modes = append(s.modes, m) }

func (s *session) leave() { s.modes = s.modes[:len(s.modes)-1] }

func (s *session) mode() *mode { return s.modes[len(s.modes)-1] }

// commands reads and carries out lines until the last mode is left.
func (s *session) commands(ctx context.Context) error {
	s.enter(&mode{root: s.operational(), prompt: func() string { return s.box + "> " }})
	for len(s.modes) > 0 {
		m := s.mode()
		if err := s.remind(ctx); err != nil {
			return err
		}
		line, err := s.readLine(ctx, reading{
			prompt: m.prompt(), remember: true,
			complete: s.completer(ctx, m.root),
		})
		switch {
		case errors.Is(err, errLogout):
			err = s.leaveMode(ctx, m)
		case err == nil:
			err = s.execute(ctx, m, line)
		case isRefusal(err):
			s.tell(err)
			err = nil
		case errors.Is(err, errInterrupt):
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return errLogout
}

// isRefusal tells a line that was not read from an end of the session.
func isRefusal(err error) bool { return errors.Is(err, errNoise) || errors.Is(err, errTooLong) }

func (s *session) leaveMode(ctx context.Context, m *mode) error {
	if m.leave != nil {
		return s.run(ctx, m.leave)
	}
	s.leave()
	return nil
}

func (s *session) completer(ctx context.Context, root *node) completer {
	if s.script {
		return nil
	}
	return func(line string, pos int, k key) (string, int, string) {
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		newLine, newPos, told := root.complete(ctx, line, pos, k)
		return newLine, newPos, fold(cleanLines(told), s.width)
	}
}

// completeTime bounds how long Tab may take.
const completeTime = 2 * time.Second

// execute carries out one line. Its error ends the session; what goes wrong
// with the line is told.
func (s *session) execute(ctx context.Context, m *mode, line string) error {
	n, c, err := m.root.parse(ctx, line)
	if errors.Is(err, errEmpty) {
		return nil
	}
	if w := (*wrongWord)(nil); errors.As(err, &w) {
		if !s.script {
			s.print(caret(s.width, columns(m.prompt()), w.at))
		}
		s.tell(err)
		if m.failed != nil {
			m.failed(c)
		}
		return nil
	}
	return s.run(ctx, func(ctx context.Context) error {
		err := n.run(ctx, c)
		if err != nil && m.failed != nil {
			m.failed(c)
		}
		return err
	})
}

// run carries out a command that Ctrl-C ends, and tells what goes wrong.
func (s *session) run(ctx context.Context, command func(context.Context) error) error {
	s.rows = 0
	running, cancel := context.WithCancelCause(ctx)
	s.in.interruptible(func() { cancel(errInterrupt) })
	err := command(running)
	s.in.interruptible(nil)
	interrupted := context.Cause(running) == errInterrupt
	cancel(nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isFatal(err):
		return err
	case interrupted:
		s.print("^C\n")
		err = errInterrupt
	}
	s.tell(err)
	return nil
}

// isFatal tells what ends the session from what goes wrong with a command.
func isFatal(err error) bool {
	return errors.Is(err, errIdle) || errors.Is(err, errLogout) || errors.Is(err, errSessionLost) || errors.Is(err, ErrHungUp)
}

// tell says how a command went. For scripts that is its last line.
func (s *session) tell(err error) {
	switch {
	case s.script && err == nil:
		s.print("ok\n")
	case s.script:
		s.failed = true
		s.printf("error: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	case err == nil, errors.Is(err, errInterrupt), told(err):
	default:
		s.print(fold(cleanLines(sentence(err.Error()))+"\n", s.width))
	}
}

// sentence begins with a capital and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	if first := text[0]; first >= 'a' && first <= 'z' && !strings.ContainsAny(strings.SplitN(text, " ", 2)[0], "_/.:0123456789") {
		text = string(first-'a'+'A') + text[1:]
	}
	return ends(text)
}

// ends has the end of a sentence.
func ends(text string) string {
	if text != "" && !strings.ContainsAny(text[len(text)-1:], ".!?:") {
		text += "."
	}
	return text
}

// fold breaks lines that are too long between their words.
func fold(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if columns(line) <= width {
			b.WriteString(line + "\n")
			continue
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		text := strings.Join(strings.Fields(line), " ")
		first := wrap(text, width-len(indent))[0]
		b.WriteString(indent + first + "\n")
		for _, part := range wrap(text[len(first):], width-len(indent+gap)) {
			b.WriteString(indent + gap + part + "\n")
		}
	}
	return b.String()
}

// print writes text that is safe already. That it cannot be written ends the
// session elsewhere.
func (s *session) print(text string) {
	s.rows += strings.Count(text, "\n")
	_, _ = s.out.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
}

// printf writes text in which whatever is not printable is replaced.
func (s *session) printf(format string, args ...any) {
	s.print(cleanLines(fmt.Sprintf(format, args...)))
}
