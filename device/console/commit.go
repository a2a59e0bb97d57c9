package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"sluice/device/console/edit"
)

// A fault is one of a document that was refused.
type fault struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
}

// An outcome is how the box takes a document.
type outcome struct {
	Accepted *acceptance `json:"accepted"`
	Rejected *rejection  `json:"rejected"`
}

type acceptance struct {
	Version uint64 `json:"version"`
	Status  string `json:"status"`
}

type rejection struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Current uint64  `json:"current_version"`
	Errors  []fault `json:"errors"`
}

// outdated tells that another version is in force than the candidate was begun
// on.
func (r *rejection) outdated() bool {
	return len(r.Errors) == 1 && r.Errors[0].Pointer == "/base_version"
}

// ask a request whose answer is an outcome. A rejection may come as an error
// with it, or as an answer.
func (s *session) outcome(ctx context.Context, name string, data any) (outcome, error) {
	var o outcome
	err := s.request(ctx, name, data, &o)
	if no := (*refusal)(nil); errors.As(err, &no) && len(no.data) > 0 {
		if json.Unmarshal(no.data, &o) == nil && o.Rejected != nil {
			return o, nil
		}
	}
	return o, err
}

// check looks for faults.
func (c *candidate) check(ctx context.Context) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	o, err := c.outcome(ctx, "candidate-check", struct{}{})
	switch {
	case err != nil:
		return err
	case o.Rejected != nil:
		return c.rejected(ctx, o.Rejected)
	case !c.script:
		c.print("The candidate has no fault.\n")
	}
	return nil
}

// rejected shows every fault where it is, and is the error of the command.
func (c *candidate) rejected(ctx context.Context, r *rejection) error {
	if r.outdated() {
		return fmt.Errorf("%s: compare shows what it would change of that, rebase takes it over onto version %d as it is, discard drops it", r.Message, r.Current)
	}
	var b strings.Builder
	for _, f := range r.Errors {
		if f.Message == r.Message {
			continue // it is not of a place in the candidate
		}
		path := c.tree.Pointer(f.Pointer)
		line, at, width := c.tree.Line(path)
		switch {
		case line == "":
		case columns(line) <= c.width:
			b.WriteString(line + "\n" + strings.Repeat(" ", at) + strings.Repeat("^", max(width, 1)) + "\n")
		default:
			b.WriteString(fold(clean(line)+"\n", c.width))
		}
		b.WriteString(fold(gap+clean(sentence(f.Message))+"\n", c.width))
	}
	if err := c.page(ctx, b.String()); err != nil {
		return err
	}
	switch counted := r.Message != "" && r.Message[0] >= '0' && r.Message[0] <= '9'; {
	case counted: // how many there are
		return fmt.Errorf("the candidate has %s, and is not in force", r.Message)
	case r.Code != 0 && r.Code != http.StatusBadRequest: // the box does not, whatever is in it
		return fmt.Errorf("the candidate is not in force: %s", r.Message)
	}
	return errors.New(r.Message)
}

// commit puts the candidate in force. With minutes it goes back by itself,
// unless it is confirmed.
func (c *candidate) commit(ctx context.Context, minutes int, comment string) error {
	if n := utf8.RuneCountInString(comment); n > maxComment {
		return fmt.Errorf("the comment has %d characters: use at most %d", n, maxComment)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if !c.changed {
		c.print("The candidate changes nothing: there is nothing to commit.\n")
		return nil
	}
	o, err := c.outcome(ctx, "candidate-commit", map[string]any{"confirm_s": 60 * minutes, "comment": comment})
	switch {
	case err != nil:
		return err
	case o.Rejected != nil:
		return c.rejected(ctx, o.Rejected)
	case o.Accepted == nil:
		return errors.New("the box does not say whether it took the candidate: show commits tells")
	}
	if err := c.accepted(ctx, o); err != nil {
		return err
	}
	return c.load(ctx)
}

// accepted tells what came of a commit, and what is left to do.
func (s *session) accepted(ctx context.Context, o outcome) error {
	a := o.Accepted
	text := fmt.Sprintf("Version %d is in force.\n", a.Version)
	switch a.Status {
	case "unchanged":
		text = fmt.Sprintf("Nothing is changed by it: version %d stays in force.\n", a.Version)
	case "superseded":
		text = "A newer document came before it was its turn: it is not in force.\n"
	case "pending_confirm":
		p, err := s.pending(ctx)
		if err != nil {
			return err
		}
		text = fmt.Sprintf("Version %d is in force, and kept already.\n", a.Version)
		if p != nil {
			text = p.explain(a.Version)
			s.showed(p)
		}
	}
	s.print(fold(text, s.width))
	return nil
}

// explain says until when a commit has to be confirmed, and by what.
func (p *pending) explain(version uint64) string {
	if p.How == "session" {
		return fmt.Sprintf("Version %d is in force. It is kept once the fleet is reached under it; otherwise it goes back at %s. confirm keeps it now.\n",
			version, clock(p.ConfirmBy))
	}
	return fmt.Sprintf("Version %d is in force, and goes back at %s unless confirm is typed before. cancel goes back now.\n", version, clock(p.ConfirmBy))
}

// pending returns the commit that is to be confirmed, nil for none.
func (s *session) pending(ctx context.Context) (*pending, error) {
	var commits struct {
		Pending *pending `json:"pending"`
	}
	err := s.document(ctx, "commits", &commits)
	return commits.Pending, err
}

// showed notes a commit whose waiting was told to whoever is here.
func (s *session) showed(p *pending) {
	if !s.script {
		s.waits = p
	}
}

// What decide says.
const (
	keptIt   = "Version %d is kept.\n"
	tookBack = "Version %d is taken back: what was before is in force.\n"
)

func confirmNode(s *session) *node {
	return &node{word: "confirm", help: "keep what was committed", run: func(ctx context.Context, _ call) error {
		return s.decide(ctx, "commit-confirm", keptIt)
	}}
}

func cancelNode(s *session) *node {
	return &node{word: "cancel", help: "go back from what was committed", run: func(ctx context.Context, _ call) error {
		return s.decide(ctx, "commit-cancel", tookBack)
	}}
}

// decide confirms or cancels the commit that is pending. It is the only place
// that does, and names the commit: never one that nobody here was told of.
func (s *session) decide(ctx context.Context, name, done string) error {
	p, err := s.pending(ctx)
	switch {
	case err != nil:
		return err
	case p == nil:
		return errors.New("no commit waits to be confirmed")
	case s.waits != nil && s.waits.ID != p.ID:
		return fmt.Errorf("version %d waits now, and not version %d: nothing was done", p.Version, s.waits.Version)
	}
	if err := s.request(ctx, name, map[string]string{"id": p.ID}, nil); err != nil {
		return err
	}
	s.waits = nil // what became of it is told here
	s.printf(done, p.Version)
	return nil
}

// rebase takes the candidate, as it is, over onto the version in force.
func (c *candidate) rebase(ctx context.Context) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	_, version, err := c.inForce(ctx)
	switch {
	case err != nil:
		return err
	case c.revision == 0 || c.on == version:
		if !c.script {
			c.printf("There is nothing to take over: it is on version %d.\n", version)
		}
		return nil
	}
	if err := c.putOn(ctx, c.tree, version); err != nil || c.script {
		return err
	}
	c.print(fold(fmt.Sprintf("The candidate is on version %d now: compare shows all that it changes of that, commit takes it.\n", version), c.width))
	return nil
}

// inForce reads the document in force, and its version.
func (c *candidate) inForce(ctx context.Context) (*edit.Tree, uint64, error) {
	var raw json.RawMessage
	if err := c.document(ctx, "desired", &raw); err != nil {
		return nil, 0, err
	}
	var d struct {
		Version uint64 `json:"version"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, 0, fmt.Errorf("the document in force cannot be read: %w", err)
	}
	tree, err := c.schema.Parse(raw)
	return tree, d.Version, err
}

func (c *candidate) rollback(ctx context.Context, n int) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if c.changed {
		sure, err := c.confirm(ctx, fmt.Sprintf("The candidate has changes by %s, which are lost. Go on?", c.who()))
		if err != nil || !sure {
			return err
		}
	}
	if err := c.request(ctx, "candidate-rollback", map[string]int{"n": n}, nil); err != nil {
		return err
	}
	if err := c.load(ctx); err != nil || c.script {
		return err
	}
	c.base, c.lost = nil, 0
	c.print("It is the candidate now, and not in force: compare shows it, commit takes it.\n")
	return nil
}

func (c *candidate) discard(ctx context.Context) error {
	if err := c.request(ctx, "candidate-discard", struct{}{}, nil); err != nil {
		return err
	}
	c.base, c.lost = nil, 0
	if err := c.load(ctx); err != nil || c.script {
		return err
	}
	c.print("The candidate is dropped: there is what is in force.\n")
	return nil
}
