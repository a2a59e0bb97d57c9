package provisioning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/endpoint"
)

// The codes of Rejected, beside those that config.Parse gives.
const (
	codeForbidden = 403 // the command line, or who is at the box, owns it
	codeTimeout   = 408 // it was in force, and went back
	codeConflict  = 409 // its version may not follow the one in force
	codeTooMany   = 429 // too many wait
	codeInternal  = 500
	codeNotStored = 507 // the state directory cannot be written
)

// The codes of its faults, as StreamLink has them.
const (
	faultConflict  = endpoint.CodeState
	faultForbidden = "OperationDenied"
)

// maxEdits is how many local edits may wait for their turn.
const maxEdits = 8

// An edit is a local one that waits for its turn.
type edit struct {
	ctx    context.Context // of the one who waits for the answer
	raw    []byte
	by     control.Caller
	commit localCommit
	answer chan verdict // capacity 1
}

// A localCommit is what somebody at the box says of his edit.
type localCommit struct {
	ConfirmS int    // seconds within which he must confirm it; 0: as the document says
	Comment  string // for those who read later what was done
	Check    bool   // only to be told what is wrong with it
	// Base is the version that the candidate was begun on; nil: it is none.
	Base *uint64
	// Draft is the revision of the candidate; 0: it is none.
	Draft uint64
}

// An author is who a document comes from.
type author struct {
	origin, by, comment string
	draft               uint64 // revision of the candidate that he committed; 0: it was none
}

// A verdict is the answer to a document: one of the two.
type verdict struct {
	accepted *config.Accepted
	rejected *config.Rejected
	// inForce tells that the document came into force now.
	inForce bool
	// answeredLater tells that the fleet is told once a commit has ended.
	answeredLater bool
	// wentBack tells that the document is refused because it went back before.
	wentBack bool
}

// processDesired decides on a document of the fleet, and tells whether it
// came into force now.
func (a *Agent) processDesired(ctx context.Context, raw []byte) (applied bool) {
	document, v := a.decide(raw, false, localCommit{})
	if v == (verdict{}) {
		v = a.apply(ctx, document, author{origin: config.OriginFleet})
	}
	seen := uint64(0)
	switch {
	case v.accepted != nil:
		seen = v.accepted.Version
	case v.rejected != nil:
		seen = v.rejected.Version
	}
	f := *a.inForce.Load()
	if seen != 0 && !v.inForce && (f.desired != seen || f.wentBack != v.wentBack) {
		f.desired, f.wentBack = seen, v.wentBack
		a.inForce.Store(&f)
	}
	a.report()
	if !v.answeredLater {
		a.answer(v)
	}
	return v.inForce
}

// processEdit does the same for a local edit.
func (a *Agent) processEdit(ctx context.Context, e *edit) (applied bool) {
	if e.ctx.Err() != nil {
		return false // nobody waits for it any more
	}
	before := a.inForce.Load().document
	name, line := a.who(e.by)
	who := author{origin: config.OriginLocal, by: name, comment: clipped(e.commit.Comment, maxComment), draft: e.commit.Draft}
	if name == "" {
		who.by = a.called(e.by)
	}
	document, v := a.decide(e.raw, true, e.commit)
	if e.commit.Check {
		e.answer <- v
		return false
	}
	if v == (verdict{}) {
		v = a.apply(ctx, document, who)
	}
	a.report()
	switch {
	case v.inForce:
		data := audit(name, line, e.by)
		data["version"], data["changed"] = v.accepted.Version, changes(before, document)
		if who.comment != "" {
			data["comment"] = who.comment
		}
		a.event(config.SeverityInfo, "local_edit", "config",
			fmt.Sprintf("%s changed the configuration on the box: version %d", who.by, v.accepted.Version), data)
	case v.rejected != nil:
		a.log.Info("local edit refused", "code", v.rejected.Code, "message", v.rejected.Message, "uid", e.by.UID)
	}
	e.answer <- v
	return v.inForce
}

// maxComment bounds what is kept of a comment, in characters.
const maxComment = 200

// clipped is a comment as it is kept: one line, not too long.
func clipped(s string, most int) string {
	r := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
	return string(r[:min(len(r), most)])
}

func (a *Agent) parseOptions(local bool) config.Options {
	names := make([]string, len(a.o.LocalUplinks))
	for i, u := range a.o.LocalUplinks {
		names[i] = u.Name
	}
	return config.Options{
		InForce: a.inForce.Load().document, Unseal: a.seal.open,
		LocalUplinks: names, Local: local,
	}
}

// storedOptions are for a document of the box's own store.
func (a *Agent) storedOptions() config.Options {
	o := a.parseOptions(true)
	o.Stored = true
	return o
}

// decide validates a document and says whether it may follow the one in force.
// It changes nothing. The verdict is empty where the document is to be applied.
func (a *Agent) decide(raw []byte, local bool, commit localCommit) (*config.Document, verdict) {
	current := a.inForce.Load()
	document, err := config.Parse(raw, a.parseOptions(local))
	if err != nil {
		var faults *config.Faults
		if !errors.As(err, &faults) {
			return nil, verdict{rejected: a.rejection(envelope{}, config.CodeBadRequest, err.Error())}
		}
		return nil, verdict{rejected: faults.Rejected(current.version(), now())}
	}
	e := envelope{document.Version, document.ClientToken}
	same := document.Digest == current.digest
	if local && document.Version == 0 {
		// An edit that asks for what is in force makes no version, in whatever
		// form it says so: its digest is that of the form.
		same = same || document.Commit == nil && commit.ConfirmS == 0 && document.SameState(current.document)
		document.Version = current.version()
		if !same {
			document.Version = max(current.version(), a.commit.highest()) + 1
		}
		e.Version = document.Version
	}
	refuse := func(code int, fault endpoint.Fault) (*config.Document, verdict) {
		return nil, verdict{rejected: a.rejection(e, code, fault.Message, fault)}
	}
	v := document.Version
	if v := a.mayFollow(e, document.Digest, v == current.version() && same); v != nil {
		return nil, *v
	}
	switch {
	case v == current.version() && same:
		return nil, verdict{accepted: &config.Accepted{
			Version: v, ClientToken: e.ClientToken, Status: config.StatusUnchanged, Timestamp: now(),
		}}
	case v == current.version():
		return refuse(codeConflict, endpoint.Fault{
			Pointer: "/version", Code: faultConflict,
			Message: fmt.Sprintf("version %d is in force with another content: publish a higher version", v),
		})
	case v < current.version():
		return refuse(codeConflict, endpoint.Fault{
			Pointer: "/version", Code: faultConflict,
			Message: fmt.Sprintf("version %d is below %d, which is in force: publish a higher version", v, current.version()),
		})
	}
	if base := document.BaseVersion; base != nil && *base != current.version() {
		return refuse(codeConflict, endpoint.Fault{
			Pointer: "/base_version", Code: faultConflict,
			Message: fmt.Sprintf("base_version is %d, and version %d is in force: read that one and edit it", *base, current.version()),
		})
	}
	if base := commit.Base; base != nil && *base != current.version() {
		from := current.origin
		if current.by != "" {
			from += ", by " + current.by
		}
		return refuse(codeConflict, endpoint.Fault{
			Pointer: "/base_version", Code: faultConflict,
			Message: fmt.Sprintf("the candidate was begun on version %d, and version %d is in force now (%s)", *base, current.version(), from),
		})
	}
	if commit.ConfirmS != 0 {
		if commit.ConfirmS < minRollback || commit.ConfirmS > maxRollback {
			return refuse(config.CodeBadRequest, endpoint.Fault{
				Pointer: "/commit/rollback_s", Code: endpoint.CodeInvalid,
				Message: fmt.Sprintf("%d seconds to confirm: use %d to %d", commit.ConfirmS, minRollback, maxRollback),
			})
		}
		document.Commit = &config.Commit{ID: fmt.Sprintf("local-%d", v), RollbackS: commit.ConfirmS}
	}
	if faults := a.contradictions(&document.State); len(faults) > 0 {
		return nil, verdict{rejected: a.rejection(e, codeForbidden,
			"the command line of the box owns what the document would change", faults...)}
	}
	if !local {
		if faults := a.adopt(document); len(faults) > 0 {
			return nil, verdict{rejected: a.rejection(e, codeForbidden,
				"what was set at the box is not for the fleet to change", faults...)}
		}
	}
	return document, verdict{}
}

// The bounds of config.Commit.RollbackS.
const minRollback, maxRollback = 10, 86400

// apply stores a document and puts it in force. What cannot be stored does not
// come into force: the box would forget it.
func (a *Agent) apply(ctx context.Context, document *config.Document, from author) verdict {
	e := envelope{document.Version, document.ClientToken}
	stored, err := document.Stored()
	if err == nil {
		// What could not be read again at the next start must not be kept.
		_, err = config.Parse(stored, a.storedOptions())
	}
	if err != nil {
		a.log.Error("document cannot be kept", "version", document.Version, "error", err)
		return verdict{rejected: a.rejection(e, codeInternal, "the document cannot be written in a form that the box reads again")}
	}
	next := &inForce{
		document: document, digest: document.Digest, origin: from.origin, desired: document.Version,
		receivedAt: now(), by: from.by, comment: from.comment,
		owned: ownedAfter(a.inForce.Load(), document, from.origin == config.OriginLocal),
	}
	record := store.Record{
		Version: next.version(), Digest: next.digest, Origin: next.origin, ReceivedAt: next.receivedAt, Document: stored,
		By: next.by, Comment: next.comment, Owned: next.owned,
	}
	if c := a.needsCommit(next); c != nil {
		c.Draft, c.Base = from.draft, a.inForce.Load().version()
		return a.begin(ctx, c, next, record)
	}
	if err := a.o.Store.Save(record); err != nil {
		a.log.Error("document cannot be stored", "version", document.Version, "error", err)
		return verdict{rejected: a.rejection(e, codeNotStored, "the state directory cannot be written: nothing was changed")}
	}
	a.health.storeDamaged = false
	a.enforce(ctx, next, hostTime)
	a.applied(next)
	return verdict{inForce: true, accepted: &config.Accepted{
		Version: document.Version, ClientToken: e.ClientToken, Status: config.StatusApplied, Timestamp: now(),
	}}
}

// applied tells that a document is in force, and stays.
func (a *Agent) applied(f *inForce) {
	a.log.Info("configuration in force", "version", f.version(), "origin", f.origin)
	a.event(config.SeverityInfo, "config_applied", "config", fmt.Sprintf("version %d is in force", f.version()),
		map[string]any{"version": f.version(), "origin": f.origin, "digest": f.digest})
}

func (a *Agent) rejection(e envelope, code int, message string, faults ...endpoint.Fault) *config.Rejected {
	return &config.Rejected{
		Code: code, Message: message, Version: e.Version, CurrentVersion: a.inForce.Load().version(),
		ClientToken: e.ClientToken, Errors: append([]endpoint.Fault{}, faults...), Timestamp: now(),
	}
}
