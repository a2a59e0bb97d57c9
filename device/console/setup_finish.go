package console

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/device/console/edit"
)

const (
	setupConfirm = 10 * time.Minute // to look whether a box without a fleet does what it should
	fleetLook    = time.Second      // how often it is looked whether the fleet is back
)

// finish shows what the answers change, and commits it. again is true where
// the questions are to be asked once more.
func (w *wizard) finish(ctx context.Context) (again bool, err error) {
	tree, err := w.built()
	if err != nil {
		return false, err
	}
	force, version, err := w.inForce(ctx)
	if err != nil {
		return false, err
	}
	changes := edit.Compare(force, tree)
	if len(changes) == 0 {
		w.print("The answers change nothing: the box is set up as they say.\n")
		return false, nil
	}
	if !w.script {
		w.print("\nThis is what changes:\n")
	}
	if err := w.lines(ctx, changes); err != nil {
		return false, err
	}
	q := &question{
		name: "commit", text: say("Put it in force"), choices: []string{yes, no}, proposed: say(yes),
		more: w.commitHelp(),
	}
	delete(w.answers, q.name)
	switch err := w.one(ctx, q); {
	case errors.Is(err, errBack):
		return true, nil
	case err != nil:
		return false, err
	case w.is("commit") == no:
		return false, errors.New("nothing was changed")
	}
	return w.commitAll(ctx, tree, version)
}

func (w *wizard) commitHelp() string {
	if w.alone() {
		return fmt.Sprintf("It is in force for %d minutes, and goes back by itself unless you say that it is to be kept. < begins again with your answers.", int(setupConfirm.Minutes()))
	}
	return "It is kept once the fleet is reached under it, or confirm is typed; otherwise it goes back by itself after two minutes. < begins again with your answers."
}

// alone tells that there is no fleet, now or then, whose coming back could
// confirm a commit.
func (w *wizard) alone() bool {
	return w.broker == "" && w.given("broker") == ""
}

// commitAll commits the answers: all that they change of a version was shown.
func (w *wizard) commitAll(ctx context.Context, tree *edit.Tree, version uint64) (again bool, err error) {
	before, dirty, on := w.tree, w.changed, w.on
	if err := w.putOn(ctx, tree, version); err != nil {
		return false, err
	}
	confirm := 0
	if w.alone() {
		confirm = int(setupConfirm.Seconds())
	}
	o, err := w.outcome(ctx, "candidate-commit", map[string]any{"confirm_s": confirm, "comment": "setup"})
	switch {
	case err != nil:
		return false, err
	case o.Rejected != nil:
		err := w.rejected(ctx, o.Rejected)
		if w.script {
			return false, errors.Join(err, w.restore(ctx, before, dirty, on))
		}
		w.tell(err)
		w.print("The questions begin again, with your answers in brackets.\n\n")
		return true, w.restore(ctx, before, dirty, on)
	case o.Accepted == nil:
		return false, errors.New("the box does not say whether it took the answers: show commits tells")
	}
	if o.Accepted.Status != "pending_confirm" {
		return false, w.accepted(ctx, o)
	}
	if w.alone() {
		return false, w.keep(ctx, o.Accepted.Version)
	}
	return false, w.awaitFleet(ctx, o.Accepted.Version)
}

// restore makes the candidate again what it was.
func (w *wizard) restore(ctx context.Context, before *edit.Tree, dirty bool, on uint64) error {
	if dirty {
		return w.putOn(ctx, before, on)
	}
	if err := w.request(ctx, "candidate-discard", struct{}{}, nil); err != nil {
		return err
	}
	return w.load(ctx)
}

// keep shows the box under what was committed, until somebody says what is to
// become of it.
func (w *wizard) keep(ctx context.Context, version uint64) error {
	p, err := w.pending(ctx)
	if err != nil || p == nil {
		return err
	}
	w.showed(p)
	for {
		if !w.script {
			w.print("\n" + w.banner(ctx) + "\n")
		}
		w.print(fold(fmt.Sprintf("Version %d is in force, and goes back at %s.\n", version, clock(p.ConfirmBy)), w.width))
		answer, err := w.question(ctx, reading{prompt: "Keep it (yes, no; Enter looks again): "})
		switch {
		case interrupted(ctx, err):
			w.print(fold(fmt.Sprintf("It goes back at %s, unless confirm is typed before.\n", clock(p.ConfirmBy)), w.width))
			return nil
		case err != nil:
			return err
		}
		switch answer {
		case "y", yes:
			return w.decide(ctx, "commit-confirm", keptIt)
		case "n", no:
			return w.decide(ctx, "commit-cancel", tookBack)
		}
	}
}

// interrupted tells that somebody has had enough of waiting, rather than that
// something went wrong.
func interrupted(ctx context.Context, err error) bool {
	return errors.Is(err, errInterrupt) || err != nil && context.Cause(ctx) == errInterrupt
}

// awaitFleet waits until the fleet was reached under what was committed, or
// that went back. Somebody who is at the box may keep it before.
func (w *wizard) awaitFleet(ctx context.Context, version uint64) error {
	p, err := w.pending(ctx)
	if err != nil {
		return err
	}
	if p != nil && !w.script {
		w.print(fold(fmt.Sprintf("Version %d is in force. It is kept once the fleet is reached under it; otherwise it goes back at %s.\n", version, clock(p.ConfirmBy)), w.width))
		w.showed(p)
		w.print("Waiting for the fleet. k keeps it now, q leaves it to the fleet.\n")
	}
	leave := func() error {
		w.print(fold(fmt.Sprintf("It goes back at %s, unless the fleet is reached or confirm is typed before.\n", clock(p.ConfirmBy)), w.width))
		return nil
	}
	shown := ""
	show := func() {
		if state := w.fleetLine(ctx); state != shown && !w.script {
			w.print(fold(gap+clean(state)+"\n", w.width))
			shown = state
		}
	}
	for p != nil {
		show()
		k, err := w.in.next(ctx, fleetLook)
		switch {
		case interrupted(ctx, err):
			return leave()
		case errors.Is(err, errTimeout):
		case err != nil:
			return err
		case k == 'k' || k == 'K':
			return w.decide(ctx, "commit-confirm", keptIt)
		case k == 'q' || k == 'Q', k == keyInterrupt, k == keyEOF:
			return leave()
		}
		w.lastKey = time.Now() // somebody waits here
		next, err := w.pending(ctx)
		switch {
		case interrupted(ctx, err):
			return leave()
		case err != nil:
			return err
		}
		if next == nil {
			break
		}
	}
	show()
	w.showed(nil) // what became of it is told here
	now, err := w.versionInForce(ctx)
	switch {
	case err != nil:
		return err
	case now != version:
		return fmt.Errorf("version %d went back, as the fleet was not reached: version %d is in force", version, now)
	}
	w.printf("Version %d is kept.\n", version)
	return nil
}

func (w *wizard) versionInForce(ctx context.Context) (uint64, error) {
	var r struct {
		Version uint64 `json:"version"`
	}
	err := w.document(ctx, "reported", &r)
	return r.Version, err
}

// fleetLine says in one line how it stands with the fleet.
func (w *wizard) fleetLine(ctx context.Context) string {
	var f struct {
		State  string `json:"state"`
		Via    string `json:"via"`
		Reason *struct {
			Message string `json:"message"`
		} `json:"reason"`
	}
	if err := w.document(ctx, "fleet", &f); err != nil {
		return err.Error()
	}
	line := dash(f.State)
	if f.Via != "" {
		line += " through " + f.Via
	}
	if f.Reason != nil {
		line += ": " + f.Reason.Message
	}
	return line
}
