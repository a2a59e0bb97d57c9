package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/store"
)

const (
	// pendingName is where the store keeps the commit that is pending.
	pendingName = "pending"
	// rolledBackName is where it keeps those that went back.
	rolledBackName = "rolled_back"
	// maxRolledBack is how many of them, the newest first.
	maxRolledBack = 16
)

// A pending is what the store keeps of a commit.
type pending struct {
	ID          string       `json:"id"`
	How         string       `json:"how"` // explicit or session
	ConfirmBy   time.Time    `json:"confirm_by"`
	ClientToken string       `json:"client_token,omitempty"`
	Record      store.Record `json:"record"`
	Draft       uint64       `json:"draft,omitempty"` // revision of the candidate that it was; 0: none
	Base        uint64       `json:"base,omitempty"`  // version that is in force again if it goes back
}

// A rolledBack document is not tried again.
type rolledBack struct {
	Version uint64 `json:"version"`
	Digest  string `json:"digest"`
	// CancelledBy took it back; empty: it went back by itself.
	CancelledBy string `json:"cancelled_by,omitempty"`
}

// commits are the one that is pending and those that went back. They belong to
// the goroutine of Run.
type commits struct {
	now     *commit
	gone    []rolledBack           // the newest first
	unsaved bool                   // gone is not stored
	settled settled                // the last that is no longer pending
	public  atomic.Pointer[commit] // now, for other goroutines
	ended   atomic.Pointer[config.EndedCommit]
}

func (s *commits) set(c *commit) {
	s.now = c
	s.public.Store(c)
}

// end notes what became of a commit, for who had seen it pending.
func (s *commits) end(p pending, kept bool, why string) {
	s.ended.Store(&config.EndedCommit{ID: p.ID, Version: p.Record.Version, Kept: kept, At: now(), Why: why})
}

// holdsFleet tells whether the fleet's documents have to wait. They do for a
// commit that ends by itself in a moment; to others they get an answer.
func (s *commits) holdsFleet() bool { return s.now != nil && s.now.How == bySession }

// holdsEdits tells it of local edits, which do not wait for long.
func (s *commits) holdsEdits() bool {
	return s.holdsFleet() && time.Since(s.now.began) < editPatience
}

func (s *commits) wentBack(version uint64, digest string) bool {
	return s.goneOf(version, digest) != nil
}

// goneOf is what is known of a document that went back, nil of any other.
func (s *commits) goneOf(version uint64, digest string) *rolledBack {
	i := slices.IndexFunc(s.gone, func(g rolledBack) bool { return g.Version == version && g.Digest == digest })
	if i < 0 {
		return nil
	}
	return &s.gone[i]
}

// highest is the highest version that went back.
func (s *commits) highest() uint64 {
	var v uint64
	for _, g := range s.gone {
		v = max(v, g.Version)
	}
	return v
}

// storePending stores what is about to be in force for a while.
func (a *Agent) storePending(p pending) error {
	if a.commit.unsaved && !a.saveGone() {
		return errors.New("what went back cannot be stored") // and would be forgotten
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	err = a.o.Store.Put(pendingName, body)
	if err != nil {
		a.forgetPending() // it may stand there all the same
	}
	return err
}

func (a *Agent) forgetPending() {
	if err := a.o.Store.Delete(pendingName); err != nil {
		a.log.Error("commit cannot be deleted", "error", err)
	}
}

// remember notes that a document went back, and who cancelled it, and tells
// whether that is stored.
func (a *Agent) remember(r store.Record, by string) bool {
	a.commit.gone = slices.Insert(a.commit.gone, 0, rolledBack{r.Version, r.Digest, by})
	a.commit.gone = a.commit.gone[:min(len(a.commit.gone), maxRolledBack)]
	return a.saveGone()
}

func (a *Agent) saveGone() bool {
	body, err := json.Marshal(a.commit.gone)
	if err == nil {
		err = a.o.Store.Put(rolledBackName, body)
	}
	if err != nil {
		a.log.Error("what went back cannot be stored", "error", err)
	}
	a.commit.unsaved = err != nil
	return err == nil
}

// recallCommits reads what the store knows of commits at the start. It returns
// the one that was pending and has gone back now, nil if there is none.
func (a *Agent) recallCommits() *pending {
	if body, err := a.o.Store.Get(rolledBackName); err == nil {
		if json.Unmarshal(body, &a.commit.gone) != nil {
			a.commit.gone = nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("what went back cannot be read", "error", err)
	}
	body, err := a.o.Store.Get(pendingName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var p pending
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil {
		// Whatever it was, the configurations are confirmed ones.
		a.log.Error("a pending commit cannot be read", "error", err)
		a.event(config.SeverityError, "store_fallback", "store", "a commit that was pending cannot be read: it went back", nil)
		a.forgetPending()
		return nil
	}
	if a.commit.wentBack(p.Record.Version, p.Record.Digest) {
		a.forgetPending()
		return &p // it may not have been told
	}
	records, err := a.o.Store.Records()
	if err != nil {
		return nil // which Load will tell
	}
	if slices.ContainsFunc(records, func(r store.Record) bool { return r.Version == p.Record.Version && r.Digest == p.Record.Digest }) {
		a.forgetPending() // it was confirmed
		return nil
	}
	a.candidateBack(context.Background(), p)
	if a.remember(p.Record, "") {
		a.forgetPending()
	}
	return &p
}
