package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sluice/device/console/edit"
	"sluice/device/control"
)

// A candidate is the one that the daemon keeps, as a session edits it. Each
// change is handed in at once, so that a pulled cable loses nothing.
type candidate struct {
	*session
	schema *edit.Schema

	tree     *edit.Tree // as the daemon had it last
	revision uint64
	changed  bool   // it differs from what is in force
	by       string // who changed it last
	on       uint64 // version in force that it was begun on

	base []string // where edit has gone, in full; it need not be there
	lost int      // edits that failed since: paths would begin elsewhere than was meant
}

// enterConfigure begins the mode in which the candidate is edited.
func enterConfigure(ctx context.Context, s *session) error {
	c, err := openCandidate(ctx, s)
	if err != nil {
		return err
	}
	if c.changed && !s.script {
		s.print(fold(fmt.Sprintf("There is a candidate, changed by %s. compare shows what it changes, discard drops it.\n", clean(c.who())), s.width))
	}
	s.enter(&mode{
		root: configureGrammar(c), prompt: c.prompt,
		leave: func(ctx context.Context) error { return c.exit(ctx) },
		failed: func(line call) {
			if len(line.words) > 0 && line.words[0] == "edit" {
				c.lost++
			}
		},
	})
	return nil
}

// openCandidate reads the schema, and the candidate with it.
func openCandidate(ctx context.Context, s *session) (*candidate, error) {
	var raw json.RawMessage
	if err := s.document(ctx, "schema", &raw); err != nil {
		return nil, err
	}
	schema, err := edit.Load(raw)
	if err != nil {
		return nil, err
	}
	c := &candidate{session: s, schema: schema}
	return c, c.load(ctx)
}

// load reads the candidate, or what is in force where there is none.
func (c *candidate) load(ctx context.Context) error {
	var d struct {
		Revision uint64          `json:"revision"`
		Changed  bool            `json:"changed"`
		By       string          `json:"by"`
		Base     uint64          `json:"base_version"`
		Document json.RawMessage `json:"document"`
	}
	if err := c.document(ctx, "candidate", &d); err != nil {
		return err
	}
	tree, err := c.schema.Parse(d.Document)
	if err != nil {
		return err
	}
	c.tree, c.revision, c.changed, c.by, c.on = tree, d.Revision, d.Changed, d.By, d.Base
	return nil
}

// refresh is load that tells when somebody else was there.
func (c *candidate) refresh(ctx context.Context) error {
	was := c.revision
	if err := c.load(ctx); err != nil {
		return err
	}
	if c.revision != was && !c.script {
		if c.revision == 0 {
			c.print("The candidate is gone: somebody committed or discarded it.\n")
		} else {
			c.printf("The candidate was changed by %s meanwhile.\n", c.who())
		}
	}
	return nil
}

func (c *candidate) who() string {
	if c.by == "" {
		return "somebody"
	}
	return c.by
}

// update makes a change to the candidate and hands it in.
func (c *candidate) update(ctx context.Context, change func(*edit.Tree) error) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	next := c.tree.Clone()
	if err := change(next); err != nil {
		return err
	}
	return c.put(ctx, next)
}

// put hands in a tree in place of the candidate that was read. Where another
// one has come in its place, the user says which of them it is to be.
func (c *candidate) put(ctx context.Context, ours *edit.Tree) error { return c.putOn(ctx, ours, c.on) }

// putOn is put of a tree that was made from a version in force.
func (c *candidate) putOn(ctx context.Context, ours *edit.Tree, version uint64) error {
	document, err := ours.Document()
	if err != nil {
		return err
	}
	for {
		err := c.request(ctx, "candidate-put", map[string]any{
			"revision": c.revision, "base_version": version, "document": json.RawMessage(document),
		}, nil)
		no := (*refusal)(nil)
		switch {
		case err == nil:
			return c.load(ctx)
		case !errors.As(err, &no) || no.code != http.StatusConflict:
			return err
		}
		if err := c.load(ctx); err != nil {
			return err
		}
		take, err := c.conflict(ctx, ours)
		if err != nil || !take {
			return err
		}
	}
}

// conflict asks which of two candidates is to be. take is true for ours.
func (c *candidate) conflict(ctx context.Context, ours *edit.Tree) (take bool, err error) {
	if c.script {
		return false, fmt.Errorf("the candidate was changed by %s meanwhile, and nothing was done: do it again", c.who())
	}
	c.printf("The candidate was changed by %s meanwhile. Yours differs from that by:\n", c.who())
	if err := c.lines(ctx, edit.Compare(c.tree, ours)); err != nil {
		return false, err
	}
	for {
		answer, err := c.ask(ctx, "Which is to be the candidate, theirs or ours", "theirs")
		if err != nil {
			return false, err
		}
		switch {
		case answer != "" && strings.HasPrefix("theirs", answer):
			c.print("Theirs it is: your change was not made.\n")
			return false, nil
		case answer != "" && strings.HasPrefix("ours", answer):
			return true, nil
		}
		c.print("Type theirs, or ours.\n")
	}
}

// lines pages what edit says.
func (c *candidate) lines(ctx context.Context, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	return c.page(ctx, fold(strings.Join(lines, "\n")+"\n", c.width))
}

// maxPlace is how wide the place may be in the prompt.
const maxPlace = 32

func (c *candidate) prompt() string {
	if len(c.base) == 0 {
		return c.box + "# "
	}
	place := clean(strings.Join(c.base, " "))
	if r := []rune(place); len(r) > maxPlace {
		place = ".." + string(r[len(r)-maxPlace+2:])
	}
	return c.box + " [" + place + "]# "
}

// set puts a value at a path, and asks for it where it is a secret.
func (c *candidate) set(ctx context.Context, path []string) error {
	if err := c.here(); err != nil {
		return err
	}
	var change edit.Change
	err := c.update(ctx, func(t *edit.Tree) error {
		var err error
		if change, err = t.Set(path...); err != nil || !change.Secret {
			return err
		}
		value, err := c.newSecret(ctx, change.Path[len(change.Path)-1])
		if err != nil {
			return err
		}
		return t.SetSecret(change.Path, value)
	})
	if err != nil || len(change.Removed) == 0 || c.script {
		return err
	}
	if change.Note != "" {
		c.print(fold(change.Note+"\n", c.width))
	}
	c.print("With it went what does not belong to it:\n")
	var removed []string
	for _, p := range change.Removed {
		removed = append(removed, "- "+strings.Join(p, " "))
	}
	return c.lines(ctx, removed)
}

// newSecret asks for a secret twice, as nothing of it is seen. A program is
// asked once.
func (s *session) newSecret(ctx context.Context, name string) (string, error) {
	value, err := s.secret(ctx, name)
	if err != nil || s.script {
		return value, err
	}
	again, err := s.secret(ctx, name+" again")
	switch {
	case err != nil:
		return "", err
	case again != value:
		return "", errors.New("the two differ, and nothing was set")
	}
	return value, nil
}

func (c *candidate) delete(ctx context.Context, path []string) error {
	if err := c.here(); err != nil {
		return err
	}
	return c.update(ctx, func(t *edit.Tree) error {
		_, err := t.Delete(path...)
		return err
	})
}

func (c *candidate) show(ctx context.Context, path []string) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if _, err := c.tree.Find(c.base); err != nil {
		return errors.New("there is nothing here yet: the first set makes it")
	}
	lines, err := c.tree.Show(path...)
	if err != nil {
		return err
	}
	return c.lines(ctx, lines)
}

// enterPath goes to a path. What is not there and can be is made by the first
// set in it.
func (c *candidate) enterPath(ctx context.Context, path []string) error {
	if c.script { // what follows a failed edit must not be taken for what it is not
		if err := c.here(); err != nil {
			return err
		}
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	full, err := c.tree.Find(path)
	if err != nil {
		change, err := c.tree.Clone().Set(path...)
		if err != nil {
			return err
		}
		full = change.Path
		if !c.script {
			c.print(fold(clean("There is no "+strings.Join(full, " ")+" yet: the first set makes it.")+"\n", c.width))
		}
	}
	c.base, c.lost = full, 0
	return nil
}

// here is an error after an edit that failed: paths are from another place
// than whoever pasted them meant.
func (c *candidate) here() error {
	switch {
	case c.lost == 0:
		return nil
	case c.script:
		return errors.New("nothing was done, as the edit before it failed: top or up goes on")
	}
	return errors.New("nothing was done, as the edit before it failed: edit again, or go up or to the top")
}

// up goes to the object around this one: over the list that this one is in.
func (c *candidate) up(context.Context, call) error {
	if c.lost > 0 { // to where the edit that failed began
		c.lost--
		return nil
	}
	if len(c.base) == 0 {
		return errors.New("this is the top: exit leaves the configuration")
	}
	c.base = c.base[:len(c.base)-1]
	for len(c.base) > 0 {
		if k, _ := c.tree.Kind(edit.ToEnter, c.base); k == edit.Fields {
			break
		}
		c.base = c.base[:len(c.base)-1]
	}
	return nil
}

func (c *candidate) top(context.Context, call) error {
	c.base, c.lost = nil, 0
	return nil
}

// compare shows what the candidate changes: of what is in force, of what was
// saved last, or of an older version.
func (c *candidate) compare(ctx context.Context, with string) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	var raw json.RawMessage
	switch err := c.document(ctx, with, &raw); {
	case errors.Is(err, control.ErrNoDocument):
		return errors.New("the box has none from so long ago: run show commits lists them")
	case err != nil:
		return err
	}
	other, err := c.schema.Parse(raw)
	if err != nil {
		return err
	}
	lines := edit.Compare(other, c.tree)
	if len(lines) == 0 {
		if !c.script {
			c.print("There is no difference.\n")
		}
		return nil
	}
	return c.lines(ctx, lines)
}

func (c *candidate) exit(ctx context.Context) error {
	if err := c.load(ctx); err == nil && c.changed && !c.script {
		c.print("The candidate is kept, and not in force: configure goes on with it.\n")
	}
	c.leave()
	return nil
}

// at returns the path of words, from where edit has gone.
func (c *candidate) at(words []string) []string { return append(slices.Clone(c.base), words...) }
