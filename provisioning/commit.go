package provisioning

import (
	"context"
	"fmt"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/endpoint"
)

// A document that may cut the box off from whoever sent it is committed: it
// is in force for a while, and goes back unless it is confirmed.
//
//	pending stored -> in force -> confirmed: stored as a configuration -> pending deleted
//	                           \> in time, cancelled: remembered as gone back -> the one before in force -> pending deleted
//
// What is stored as a configuration was confirmed, or needed no confirmation.
// So a start that finds something pending, whatever stopped the box, goes back
// by loading the newest configuration.

// How a commit is confirmed.
const (
	byRequest = "explicit" // by config/confirm, or at the box
	bySession = "session"  // by the session with the broker that comes back; or at the box
)

const (
	// editPatience is how long a local edit waits for a commit that the
	// session confirms: mostly that takes a second.
	editPatience = 10 * time.Second
	// attendAgain is how long after a failure the store, or the broker, is
	// tried again.
	attendAgain = 5 * time.Second
)

// A commit is in force until it is confirmed or goes back.
type commit struct {
	pending
	before   *inForce
	moves    bool // the box is reached in another way under it
	links    bool // the host's network is another
	began    time.Time
	deadline time.Time // of the monotonic clock, unlike ConfirmBy
	retried  time.Time // when the broker was last tried
	failed   time.Time // when it was confirmed and could not be stored
}

// shown is what others see of a commit; nil of none.
func (c *commit) shown() *config.PendingCommit {
	if c == nil {
		return nil
	}
	return &config.PendingCommit{
		ID: c.ID, Version: c.Record.Version, Origin: c.Record.Origin, By: c.Record.By, Comment: c.Record.Comment,
		ConfirmBy: c.ConfirmBy, How: c.How,
	}
}

// needsCommit returns how a document has to be committed, or nil.
func (a *Agent) needsCommit(next *inForce) *commit {
	current := a.inForce.Load()
	c := &commit{began: time.Now(), moves: a.networkDiffers(current, next), links: a.linksDiffer(current, next)}
	window := a.o.SessionWindow
	switch k := next.document.Commit; {
	case k != nil:
		c.ID, c.How = k.ID, byRequest
		window = time.Duration(k.RollbackS) * time.Second
	case a.brokerOf(current) == nil && a.brokerOf(next) == nil:
		return nil // nobody but who is at the box could be cut off
	case c.moves:
		c.ID, c.How = fmt.Sprintf("session-%d", next.version()), bySession
	default:
		return nil
	}
	c.deadline = c.began.Add(window)
	c.ConfirmBy = stamp(c.deadline)
	c.ClientToken = next.document.ClientToken
	return c
}

// begin puts a document in force for as long as its commit lasts.
func (a *Agent) begin(ctx context.Context, c *commit, next *inForce, r store.Record) verdict {
	e := envelope{next.version(), c.ClientToken}
	c.Record, c.before = r, a.inForce.Load()
	if err := a.storePending(c.pending); err != nil {
		a.log.Error("commit cannot be stored", "version", next.version(), "error", err)
		return verdict{rejected: a.rejection(e, codeNotStored, "the state directory cannot be written: nothing was changed")}
	}
	a.commit.set(c)
	a.log.Info("configuration in force until it is confirmed", "version", next.version(), "commit", c.ID, "until", c.ConfirmBy)
	a.event(config.SeverityInfo, "commit_pending", "config",
		fmt.Sprintf("version %d is in force, and goes back unless it is confirmed by %s", next.version(), c.ConfirmBy.Format(time.RFC3339)),
		map[string]any{"version": next.version(), "origin": next.origin, "id": c.ID, "how": c.How, "confirm_by": c.ConfirmBy})
	a.enforce(ctx, next, hostTime)
	a.report() // it says pending, however soon it is confirmed
	a.attend(ctx)
	v := verdict{
		accepted:      &config.Accepted{Version: next.version(), ClientToken: e.ClientToken, Status: config.StatusApplied, Timestamp: now()},
		inForce:       true,
		answeredLater: c.How == bySession,
	}
	if a.commit.now == c {
		v.accepted.Status, v.accepted.ConfirmBy = config.StatusPendingConfirm, &c.ConfirmBy
	}
	return v
}

// attend confirms the commit that is pending where its session came back, and
// goes back where its time is over. It is called again and again.
func (a *Agent) attend(ctx context.Context) {
	a.dial(false)
	c := a.commit.now
	if c == nil {
		return
	}
	at := time.Now()
	// A host that has not done it may do it later, when nothing would go back.
	undone := c.links && a.network.failing()
	switch reached := a.reached(); {
	case reached && !undone && c.How == bySession && at.Sub(c.failed) >= attendAgain:
		if a.keep("the session with the broker") == nil {
			return
		}
	case !reached && c.moves && at.Sub(c.retried) >= attendAgain:
		// The pauses of the connection would outlast the window.
		c.retried = at
		a.client.Retry()
	}
	if at.Before(c.deadline) {
		return
	}
	window := span(c.deadline.Sub(c.began).Round(time.Second))
	why := "nobody confirmed it within " + window
	switch s := a.client.Status(); {
	case !c.failed.IsZero():
		why = "it was confirmed, but the state directory cannot be written"
	case c.How == bySession && undone:
		why = "the host's network is not as it asks: " + a.network.trouble(a.o.Uplinks.Status())
	case c.How == bySession && s.Reason != nil:
		why = fmt.Sprintf("no session with the broker came back within %s: %s", window, s.Reason.Message)
	case c.How == bySession:
		why = fmt.Sprintf("no session with the broker came back within %s", window)
	}
	a.goBack(ctx, why, "")
}

// keep confirms the commit that is pending. After an error it still is.
func (a *Agent) keep(by string) error {
	c, f := a.commit.now, a.inForce.Load()
	if err := a.o.Store.Save(c.Record); err != nil {
		c.failed = time.Now()
		a.log.Error("confirmed configuration cannot be stored", "version", c.Record.Version, "error", err)
		return err
	}
	a.commit.end(c.pending, true, by+" confirmed it")
	a.commit.set(nil)
	if err := a.o.Store.Delete(pendingName); err != nil {
		// The next start finds the same among the configurations.
		a.log.Error("commit cannot be deleted", "error", err)
	}
	a.health.storeDamaged = false
	a.log.Info("configuration confirmed", "version", c.Record.Version, "by", by)
	a.event(config.SeverityInfo, "commit_confirmed", "config", fmt.Sprintf("version %d was confirmed by %s", c.Record.Version, by),
		map[string]any{"version": c.Record.Version, "id": c.ID, "by": by})
	a.applied(f)
	a.report()
	if c.How == bySession && c.Record.Origin == config.OriginFleet {
		a.answerAccepted(&config.Accepted{
			Version: c.Record.Version, ClientToken: c.ClientToken, Status: config.StatusApplied, Timestamp: now(),
		})
	}
	return nil
}

// goBack puts the document in force again that was before the commit. by is
// who wanted it, empty where it goes back by itself.
func (a *Agent) goBack(ctx context.Context, why, by string) {
	c := a.commit.now
	a.commit.end(c.pending, false, why)
	a.commit.set(nil)
	a.candidateBack(ctx, c.pending)
	remembered := a.remember(c.Record, by)
	back := *c.before
	back.desired, back.wentBack = c.Record.Version, true
	a.enforce(ctx, &back, hostTime)
	if remembered {
		a.forgetPending()
	} // or else it is what a start finds, and goes back by
	a.tellWentBack(c.pending, why, by)
	a.report()
}

// tellWentBack says so, once the document before it is in force.
func (a *Agent) tellWentBack(p pending, why, by string) {
	data := map[string]any{"version": p.Record.Version, "id": p.ID, "why": why, "in_force": a.inForce.Load().version()}
	if by != "" {
		data["by"] = by
	}
	message := fmt.Sprintf("version %d went back: %s", p.Record.Version, why)
	a.log.Warn("configuration went back", "version", p.Record.Version, "why", why, "in_force", a.inForce.Load().version())
	a.event(config.SeverityWarning, "commit_rolled_back", "config", message, data)
	if p.Record.Origin == config.OriginFleet {
		a.toldFleet(nil, a.rejection(envelope{p.Record.Version, p.ClientToken}, codeTimeout, message))
	}
}

// mayFollow says why a document cannot be applied because of a commit, or is
// nil. same tells that it is the one in force.
func (a *Agent) mayFollow(e envelope, digest string, same bool) *verdict {
	c := a.commit.now
	switch {
	case c != nil && same:
		return &verdict{
			accepted: &config.Accepted{
				Version: e.Version, ClientToken: e.ClientToken, Status: config.StatusPendingConfirm,
				ConfirmBy: &c.ConfirmBy, Timestamp: now(),
			},
			answeredLater: c.How == bySession,
		}
	case c != nil:
		f := endpoint.Fault{
			Pointer: "/version", Code: faultConflict,
			Message: fmt.Sprintf("version %d is in force until its commit %q is confirmed, by %s: confirm or cancel it first",
				c.Record.Version, c.ID, c.ConfirmBy.Format(time.RFC3339)),
		}
		return &verdict{rejected: a.rejection(e, codeConflict, f.Message, f)}
	}
	if g := a.commit.goneOf(e.Version, digest); g != nil {
		why := "went back because it was not confirmed"
		if g.CancelledBy != "" {
			why = "was taken back by " + g.CancelledBy
		}
		f := endpoint.Fault{
			Pointer: "/version", Code: faultConflict,
			Message: fmt.Sprintf("version %d %s, and is not tried again: publish a higher version", e.Version, why),
		}
		return &verdict{rejected: a.rejection(e, codeConflict, f.Message, f), wentBack: true}
	}
	return nil
}
