package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/device/console/figure"
)

// requestNode is what can be asked of the box beside its configuration.
func (s *session) requestNode() *node {
	identify := func(ctx context.Context, c call) error {
		seconds := 10
		if v := c.arg(0); v != "" {
			seconds, _ = strconv.Atoi(v) // checked by the grammar
		}
		if err := s.request(ctx, "identify", map[string]int{"seconds": seconds}, nil); err != nil {
			return err
		}
		s.printf("The box shows which it is for %d s.\n", seconds)
		return nil
	}
	output := func(f func(context.Context, string) error) func(context.Context, call) error {
		return func(ctx context.Context, c call) error { return f(ctx, c.arg(0)) }
	}
	which := func(run func(context.Context, call) error, nodes ...*node) []*node {
		return []*node{{arg: "FLOW/OUTPUT", help: "which", values: s.outputNames, check: named, run: run, nodes: nodes}}
	}
	return &node{word: "request", help: "have the box do something", nodes: []*node{
		{word: "output", help: "switch an output, disconnect a viewer", nodes: []*node{
			{word: "enable", help: "switch it on", nodes: which(output(func(ctx context.Context, name string) error { return s.enable(ctx, name, true) }))},
			{word: "disable", help: "switch it off, and keep it", nodes: which(output(func(ctx context.Context, name string) error { return s.enable(ctx, name, false) }))},
			{word: "kick", help: "disconnect a viewer: show output has the sessions", nodes: which(nil, &node{
				arg: "SESSION", help: "whose", values: s.sessionNames, run: s.kick,
			})},
		}},
		{word: "flow", help: "restart a flow", nodes: []*node{
			{word: "restart", help: "its inputs and outputs begin anew", nodes: []*node{{arg: "FLOW", help: "which", values: s.flowNames, run: s.restartFlow}}},
		}},
		{word: "identify", help: "show which box this is, by light or sound", run: identify, nodes: []*node{
			{arg: "SECONDS", help: "for so long, 1 to 600", check: between("a number of seconds", 1, 600), run: identify},
		}},
		{word: "password", help: "change the console's password", run: s.password},
		{word: "support-bundle", help: "what support wants to see, without secrets", run: s.bundle},
		{word: "reboot", help: "start the box again", run: s.reboot},
		{word: "factory-reset", help: "take away all that was set up", run: func(ctx context.Context, _ call) error { return s.factoryReset(ctx) }},
	}}
}

func (s *session) reboot(ctx context.Context, _ call) error {
	if ok, err := s.confirm(ctx, "All streams stop for a minute or so. Reboot?"); err != nil || !ok {
		return notDone(err)
	}
	if err := s.request(ctx, "reboot", nil, nil); err != nil {
		return err
	}
	s.printf("The box starts again.\n")
	return nil
}

// notDone is the error of what somebody decided against.
func notDone(err error) error {
	if err != nil {
		return err
	}
	return errors.New("nothing was done")
}

// password asks for another one, again where the box does not take it.
func (s *session) password(ctx context.Context, _ call) error {
	for {
		first, err := s.secret(ctx, "new password")
		switch {
		case err != nil:
			return err
		case first == "":
			return errors.New("nothing was changed")
		}
		second, err := s.secret(ctx, "the same again")
		switch {
		case err != nil:
			return err
		case first != second:
			return errors.New("the two differ: nothing was changed")
		}
		err = s.request(ctx, "console-password", map[string]string{"password": first}, nil)
		if no := (*refusal)(nil); errors.As(err, &no) && no.code == http.StatusBadRequest && !s.script {
			s.tell(err) // too short, mostly
			continue
		}
		if err == nil {
			s.printf("The password is changed.\n")
		}
		return err
	}
}

func (s *session) restartFlow(ctx context.Context, c call) error {
	if ok, err := s.confirm(ctx, "All that watch "+c.arg(0)+" are interrupted. Restart it?"); err != nil || !ok {
		return notDone(err)
	}
	if err := s.request(ctx, "flow-restart", map[string]string{"flow": c.arg(0)}, nil); err != nil {
		return err
	}
	s.printf("Flow %s begins anew.\n", c.arg(0))
	return nil
}

func (s *session) kick(ctx context.Context, c call) error {
	v, err := s.load(ctx)
	if err != nil {
		return err
	}
	o, err := v.output(c.arg(0))
	if err != nil {
		return err
	}
	id, err := o.session(c.arg(1))
	if err != nil {
		return err
	}
	if err := s.request(ctx, "output-kick", map[string]string{"flow": o.flow, "output": o.ID, "session": id}, nil); err != nil {
		return err
	}
	s.printf("Session %s of %s is disconnected.\n", id, o)
	return nil
}

// session finds one by the beginning of its id.
func (i item) session(id string) (string, error) {
	var found []string
	if i.figures != nil {
		for _, p := range i.figures.Sessions {
			if p.ID == id {
				return id, nil
			}
			if strings.HasPrefix(p.ID, id) {
				found = append(found, p.ID)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("%s has no session %s", i, id)
	}
	return "", fmt.Errorf("%s may be %s", id, strings.Join(found, " or "))
}

func (s *session) sessionNames(ctx context.Context) (all []choice) {
	v, err := s.load(ctx)
	if err != nil {
		return nil
	}
	for _, o := range v.outputs("") {
		if o.figures == nil {
			continue
		}
		for _, p := range o.figures.Sessions {
			all = append(all, choice{p.ID, o.String() + " to " + p.Peer})
		}
	}
	return all
}

const bundleColumns = 76

// bundle has a support bundle made. It is printed where somebody wants it: a
// terminal can keep what it shows in a file.
func (s *session) bundle(ctx context.Context, _ call) error {
	var b struct {
		Name   string `json:"name"`
		Size   int    `json:"size"`
		Base64 string `json:"base64"`
	}
	if err := s.request(ctx, "support-bundle", nil, &b); err != nil {
		return err
	}
	// Ten bits for each byte: 8N1.
	bytes := len(b.Base64) + 2*(len(b.Base64)/bundleColumns+1)
	took := figure.Lasting(time.Duration(10*bytes) * time.Second / time.Duration(s.o.BitsPerSecond))
	s.print(fold(clean(fmt.Sprintf("%s has %s. Over the network sluicectl support-bundle fetches it. Here it is %s of base64, which takes %s at %d bit/s.",
		b.Name, figure.Scaled(uint64(b.Size), "B"), figure.Scaled(uint64(bytes), "B"), took, s.o.BitsPerSecond))+"\n", s.width))
	if ok, err := s.confirm(ctx, "Print it?"); err != nil || !ok {
		return err
	}
	s.printf("-----BEGIN SUPPORT BUNDLE %s %d-----\n", b.Name, b.Size)
	for rest := b.Base64; rest != ""; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(bundleColumns, len(rest))
		s.printf("%s\n", rest[:n])
		rest = rest[n:]
	}
	s.printf("-----END SUPPORT BUNDLE-----\n")
	return nil
}
