package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"sluice/provisioning/config"
)

// candidateName is where the store keeps the candidate. It holds secrets.
const candidateName = "candidate"

// A candidate is the document that those at the box are writing, all of them
// the same one. It survives whatever happens to them and to the box, until it
// is committed or discarded.
type candidate struct {
	turn chan struct{} // held by whoever changes it, also while it is written

	mu  sync.Mutex
	now draft
}

// A draft is a candidate at one moment. It is never changed, but replaced.
type draft struct {
	// revision grows with every change, and does not start again with a new
	// candidate: who saw an old one must not change another.
	revision uint64
	document *config.Draft // nil: there is none
	by       string        // who changed it last
	base     uint64        // version that it was made from: no other may be in force when it is committed
}

// shown is the revision as it is told: 0 where there is no candidate.
func (d draft) shown() uint64 {
	if d.document == nil {
		return 0
	}
	return d.revision
}

// A storedDraft is a draft in the store.
type storedDraft struct {
	Revision uint64          `json:"revision"`
	By       string          `json:"by,omitempty"`
	Base     uint64          `json:"base,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
}

// loadCandidate reads what was being written when the box last stopped. One
// that cannot be read is lost, which is no reason not to start.
func (a *Agent) loadCandidate() {
	text, err := a.o.Store.Get(candidateName)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s storedDraft
	d := draft{}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil {
		d = draft{revision: s.Revision, by: s.By, base: s.Base}
		if len(s.Document) > 0 {
			d.document, err = config.ReadDraft(s.Document)
		}
	}
	if err != nil {
		a.log.Error("the candidate is lost", "error", err)
	}
	a.candidate.now = d
}

func (c *candidate) get() draft {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// keepCandidate stores a draft, and puts it in the place of the one before.
// The caller has the turn.
func (a *Agent) keepCandidate(d draft) error {
	s := storedDraft{Revision: d.revision}
	if d.document != nil {
		s.By, s.Base, s.Document = d.by, d.base, d.document.Document()
	}
	if err := a.o.Store.Put(candidateName, marshal(s)); err != nil {
		a.log.Error("candidate not stored", "error", err)
		return no(codeNotStored, "the state directory cannot be written: nothing was changed")
	}
	a.candidate.mu.Lock()
	a.candidate.now = d
	a.candidate.mu.Unlock()
	return nil
}

// inTurn calls change when nobody else changes the candidate.
func (c *candidate) inTurn(ctx context.Context, change func(now draft) error) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return no(408, "the change was given up before its turn came")
	}
	defer func() { <-c.turn }()
	return change(c.get())
}

// A candidateDocument is the candidate as it is shown.
type candidateDocument struct {
	Revision    uint64          `json:"revision"`
	Changed     bool            `json:"changed"` // it asks for something that is not in force
	By          string          `json:"by"`
	BaseVersion uint64          `json:"base_version"` // what was in force when it was begun
	Document    json.RawMessage `json:"document"`
}

func (a *Agent) candidateDocument() candidateDocument {
	d, f := a.candidate.get(), a.inForce.Load()
	if d.document == nil {
		return candidateDocument{BaseVersion: f.version(), Document: f.document.RedactedDraft()}
	}
	return candidateDocument{
		Revision: d.revision, By: d.by, BaseVersion: d.base, Document: d.document.Redacted(),
		Changed: a.unchanged(d) == nil,
	}
}

// unchanged returns the answer to a draft that asks for what is in force, nil
// for any other.
func (a *Agent) unchanged(d draft) *config.Accepted {
	f := a.inForce.Load()
	meant, err := config.Parse(d.document.Document(), a.parseOptions(true))
	if err != nil || !meant.SameState(f.document) {
		return nil
	}
	return &config.Accepted{Version: f.version(), Status: config.StatusUnchanged, Timestamp: now()}
}

// putCandidate changes the candidate, or begins one.
func (a *Agent) putCandidate(ctx context.Context, c *call) (any, error) {
	var data struct {
		Revision *uint64         `json:"revision"`
		Base     *uint64         `json:"base_version"` // that it was made from; none: as before, or the one in force
		Document json.RawMessage `json:"document"`
	}
	if err := c.read(&data); err != nil || data.Revision == nil || len(data.Document) == 0 {
		return nil, no(400, "data needs revision and document")
	}
	var revision uint64
	err := a.candidate.inTurn(ctx, func(now draft) (err error) {
		switch at := now.shown(); {
		case *data.Revision == at:
		case at == 0:
			return no(codeConflict, "there is no candidate any more: read what is in force and begin a new one")
		default:
			return no(codeConflict, "%s has changed the candidate, which is at revision %d: read it again", now.by, at)
		}
		next := a.nextDraft(now, c)
		if data.Base != nil {
			next.base = *data.Base
		}
		if next.document, err = config.ParseDraft(data.Document, now.document); err != nil {
			return unreadable(err)
		}
		revision = next.revision
		return a.keepCandidate(next)
	})
	if err != nil {
		return nil, err
	}
	return map[string]uint64{"revision": revision}, nil
}

// nextDraft is what follows now, without its document.
func (a *Agent) nextDraft(now draft, c *call) draft {
	next := draft{revision: now.revision + 1, by: a.called(*c.by), base: now.base}
	if now.document == nil {
		next.base = a.inForce.Load().version()
	}
	return next
}

// unreadable is the refusal of a document that is no draft.
func unreadable(err error) error {
	var faults *config.Faults
	if errors.As(err, &faults) && len(faults.Errors) > 0 {
		return no(faults.Code, "%s", faults.Errors[0].Message)
	}
	return no(400, "%v", err)
}

// errNoCandidate is the answer to what needs one.
var errNoCandidate = &refused{code: 404, message: "there is no candidate: nothing was changed"}

// checkCandidate tells what is wrong with the candidate.
func (a *Agent) checkCandidate(ctx context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	d := a.candidate.get()
	if d.document == nil {
		return map[string]*config.Rejected{"rejected": nil}, nil // what is in force has no fault
	}
	v := a.applyLocal(ctx, d.document.Document(), *c.by, localCommit{Check: true, Base: &d.base})
	return map[string]*config.Rejected{"rejected": v.rejected}, nil
}

// commitCandidate has the candidate applied, and ends it where it was.
func (a *Agent) commitCandidate(ctx context.Context, c *call) (any, error) {
	var data struct {
		ConfirmS int    `json:"confirm_s"` // 0: it needs no confirmation, unless it changes the network
		Comment  string `json:"comment"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	if len([]rune(data.Comment)) > maxComment || strings.ContainsFunc(data.Comment, isControl) {
		return nil, no(400, "comment: use at most %d characters, in one line", maxComment)
	}
	d := a.candidate.get()
	if d.document == nil {
		return nil, errNoCandidate
	}
	v := verdict{accepted: a.unchanged(d)}
	if v.accepted == nil {
		v = a.applyLocal(ctx, d.document.Document(), *c.by, localCommit{ConfirmS: data.ConfirmS, Comment: data.Comment, Base: &d.base, Draft: d.revision})
	}
	if v.rejected != nil {
		return map[string]*config.Rejected{"rejected": v.rejected}, nil
	}
	// It is in force, whatever becomes of the one who asked.
	err := a.candidate.inTurn(context.WithoutCancel(ctx), func(now draft) error {
		if now.shown() != d.revision {
			return nil // somebody went on writing
		}
		return a.keepCandidate(draft{revision: now.revision + 1})
	})
	if err != nil {
		a.log.Error("the candidate stays though it is in force", "error", err)
	}
	return map[string]*config.Accepted{"accepted": v.accepted}, nil
}

// candidateBack makes what was committed from the candidate, and goes back, the
// candidate again, unless another was begun since. It is done before anything
// else of going back is stored: whoever finds the commit gone finds this too.
func (a *Agent) candidateBack(ctx context.Context, p pending) {
	if p.Draft == 0 {
		return // it was no candidate
	}
	document, err := config.ReadDraft(p.Record.Document)
	if err != nil {
		a.log.Error("what went back is not the candidate again", "version", p.Record.Version, "error", err)
		return
	}
	_ = a.candidate.inTurn(context.WithoutCancel(ctx), func(now draft) error {
		if now.document != nil && now.revision != p.Draft {
			return nil
		}
		next := draft{revision: now.revision + 1, document: document, by: p.Record.By, base: p.Base}
		err := a.keepCandidate(next)
		if err != nil { // better until the next start than not at all
			a.candidate.mu.Lock()
			a.candidate.now = next
			a.candidate.mu.Unlock()
		}
		return err
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// discardCandidate ends the candidate.
func (a *Agent) discardCandidate(ctx context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	return nil, a.candidate.inTurn(ctx, func(now draft) error {
		if now.document == nil {
			return nil
		}
		return a.keepCandidate(draft{revision: now.revision + 1})
	})
}

// oldest says how far one can go back.
func oldest(stored int) string {
	switch stored {
	case 0:
		return "nothing was committed yet"
	case 1:
		return "0 is the only one"
	}
	return fmt.Sprintf("the oldest is %d", stored-1)
}

// rollBackCandidate makes a configuration of the store the candidate.
func (a *Agent) rollBackCandidate(ctx context.Context, c *call) (any, error) {
	var data struct {
		N *int `json:"n"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	records, err := a.o.Store.Records()
	switch {
	case err != nil:
		return nil, err
	case data.N == nil || *data.N < 0:
		return nil, no(400, "data needs n, the number of a commit")
	case *data.N >= len(records):
		return nil, no(404, "there is no commit %d: %s", *data.N, oldest(len(records)))
	}
	r := records[*data.N]
	document, err := config.Parse(r.Document, a.storedOptions())
	if err != nil {
		return nil, no(422, "version %d cannot be used by this build: %v", r.Version, err)
	}
	var revision uint64
	err = a.candidate.inTurn(ctx, func(now draft) (err error) {
		next := a.nextDraft(now, c)
		next.base = a.inForce.Load().version() // it takes the place of that, whatever was being edited
		if next.document, err = document.Draft(); err != nil {
			return err
		}
		revision = next.revision
		return a.keepCandidate(next)
	})
	if err != nil {
		return nil, err
	}
	return map[string]uint64{"revision": revision}, nil
}
