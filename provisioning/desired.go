package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/device/control"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/endpoint"
)

// The codes of Rejected, beside those that config.Parse gives.
const (
	codeForbidden   = 403 // the command line owns it
	codeConflict    = 409 // its version may not follow the one in force
	codeUnsupported = 422 // right, but not in this build
	codeTooMany     = 429 // too many wait
	codeInternal    = 500
	codeNotStored   = 507 // the state directory cannot be written
)

// The codes of its faults, as StreamLink has them.
const (
	faultConflict    = endpoint.CodeState
	faultForbidden   = "OperationDenied"
	faultUnsupported = "UnsupportedOperation"
)

// maxEdits is how many local edits may wait for their turn.
const maxEdits = 8

// An edit is a local one that waits for its turn.
type edit struct {
	ctx    context.Context // of the one who waits for the answer
	raw    []byte
	by     control.Caller
	answer chan verdict // capacity 1
}

// A verdict is the answer to a document: one of the two.
type verdict struct {
	accepted *config.Accepted
	rejected *config.Rejected
}

// processDesired decides on a document of the fleet, and tells whether it
// came into force now.
func (a *Agent) processDesired(ctx context.Context, raw []byte) (applied bool) {
	document, v := a.decide(raw, false)
	if v == (verdict{}) {
		v = a.apply(ctx, document, config.OriginFleet)
	}
	seen := uint64(0)
	switch {
	case v.accepted != nil:
		seen = v.accepted.Version
	case v.rejected != nil:
		seen = v.rejected.Version
	}
	if f := *a.inForce.Load(); seen != 0 && f.desired != seen {
		f.desired = seen
		a.inForce.Store(&f)
	}
	a.report()
	a.answer(v)
	return v.accepted != nil && v.accepted.Status == config.StatusApplied
}

// processEdit does the same for a local edit.
func (a *Agent) processEdit(ctx context.Context, e *edit) (applied bool) {
	if e.ctx.Err() != nil {
		return false // nobody waits for it any more
	}
	document, v := a.decide(e.raw, true)
	if v == (verdict{}) {
		v = a.apply(ctx, document, config.OriginLocal)
	}
	a.report()
	who := map[string]any{"uid": e.by.UID, "pid": e.by.PID}
	switch {
	case v.accepted != nil && v.accepted.Status == config.StatusApplied:
		who["version"] = v.accepted.Version
		a.event(config.SeverityInfo, "local_edit", "config",
			fmt.Sprintf("user %d changed the configuration on the box: version %d", e.by.UID, v.accepted.Version), who)
	case v.rejected != nil:
		a.log.Info("local edit refused", "code", v.rejected.Code, "message", v.rejected.Message, "uid", e.by.UID)
	}
	e.answer <- v
	return v.accepted != nil && v.accepted.Status == config.StatusApplied
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
func (a *Agent) decide(raw []byte, local bool) (*config.Document, verdict) {
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
		document.Version = current.version()
		if !same {
			document.Version++
		}
		e.Version = document.Version
	}
	refuse := func(code int, fault endpoint.Fault) (*config.Document, verdict) {
		return nil, verdict{rejected: a.rejection(e, code, fault.Message, fault)}
	}
	switch v := document.Version; {
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
	if document.Commit != nil {
		return refuse(codeUnsupported, endpoint.Fault{
			Pointer: "/commit", Code: faultUnsupported,
			Message: "confirmed commits are not in this build: leave commit out",
		})
	}
	if faults := a.contradictions(&document.State); len(faults) > 0 {
		return nil, verdict{rejected: a.rejection(e, codeForbidden,
			"the command line of the box owns what the document would change", faults...)}
	}
	return document, verdict{}
}

// contradictions lists where a document would change what the command line
// owns. To say nothing of it, or the same, is no contradiction.
func (a *Agent) contradictions(s *config.Settings) (faults []endpoint.Fault) {
	for i, u := range s.Uplinks {
		for _, local := range a.o.LocalUplinks {
			if u.Match == nil {
				continue
			}
			at, same := fmt.Sprintf("/state/uplinks/%d/match", i), *u.Match == uplink.Match{Interface: local.Interface}
			switch {
			case u.Name == local.Name && !same:
				faults = append(faults, endpoint.Fault{
					Pointer: at, Code: faultForbidden,
					Message: fmt.Sprintf("the command line gives %s to interface %s: leave match out, or give the same", u.Name, local.Interface),
				})
			case u.Name != local.Name && same:
				faults = append(faults, endpoint.Fault{
					Pointer: at, Code: faultForbidden,
					Message: fmt.Sprintf("the command line gives interface %s to %s: give %s another NIC", local.Interface, local.Name, u.Name),
				})
			}
		}
	}
	if m := s.Device.Management; m != nil && len(a.o.BrokerUplinks) > 0 && len(m.Uplinks) > 0 && !slices.Equal(m.Uplinks, a.o.BrokerUplinks) {
		faults = append(faults, endpoint.Fault{
			Pointer: "/state/device/management/uplinks", Code: faultForbidden,
			Message: fmt.Sprintf("the command line reaches the broker through %v: leave uplinks out, or give the same", a.o.BrokerUplinks),
		})
	}
	return faults
}

// apply stores a document and puts it in force. What cannot be stored does not
// come into force: the box would forget it.
func (a *Agent) apply(ctx context.Context, document *config.Document, origin string) verdict {
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
	err = a.o.Store.Save(store.Record{
		Version: document.Version, Digest: document.Digest, Origin: origin, ReceivedAt: now(), Document: stored,
	})
	if err != nil {
		a.log.Error("document cannot be stored", "version", document.Version, "error", err)
		return verdict{rejected: a.rejection(e, codeNotStored, "the state directory cannot be written: nothing was changed")}
	}
	a.health.storeDamaged = false
	a.enforce(ctx, &inForce{document: document, digest: document.Digest, origin: origin, desired: document.Version})
	a.log.Info("configuration in force", "version", document.Version, "origin", origin)
	a.event(config.SeverityInfo, "config_applied", "config", fmt.Sprintf("version %d is in force", document.Version),
		map[string]any{"version": document.Version, "origin": origin, "digest": document.Digest})
	return verdict{accepted: &config.Accepted{
		Version: document.Version, ClientToken: e.ClientToken, Status: config.StatusApplied, Timestamp: now(),
	}}
}

func (a *Agent) rejection(e envelope, code int, message string, faults ...endpoint.Fault) *config.Rejected {
	return &config.Rejected{
		Code: code, Message: message, Version: e.Version, CurrentVersion: a.inForce.Load().version(),
		ClientToken: e.ClientToken, Errors: append([]endpoint.Fault{}, faults...), Timestamp: now(),
	}
}

// answer tells the fleet what became of its document.
func (a *Agent) answer(v verdict) {
	if v.accepted != nil {
		a.answerAccepted(v.accepted)
		return
	}
	a.answerRejected(v.rejected)
}

func (a *Agent) answerAccepted(v *config.Accepted) { a.enqueue("config/accepted", v) }

func (a *Agent) answerRejected(v *config.Rejected) {
	a.log.Warn("desired configuration refused", "version", v.Version, "code", v.Code, "message", v.Message)
	a.event(config.SeverityWarning, "config_rejected", "config",
		fmt.Sprintf("version %d was refused: %s", v.Version, v.Message),
		map[string]any{"version": v.Version, "code": v.Code})
	a.enqueue("config/rejected", v)
}

func (a *Agent) refuseTooLarge(size int) {
	message := fmt.Sprintf("the document has %d bytes: use at most %d", size, config.MaxDocument)
	a.answerRejected(a.rejection(envelope{}, config.CodeTooLarge, message,
		endpoint.Fault{Code: endpoint.CodeInvalid, Message: message}))
}

// Apply takes a local edit and waits for its answer: control.Backend.
func (a *Agent) Apply(ctx context.Context, document []byte, by control.Caller) (int, json.RawMessage) {
	e := &edit{ctx: ctx, raw: document, by: by, answer: make(chan verdict, 1)}
	var v verdict
	select {
	case a.edits <- e:
		select {
		case v = <-e.answer:
		case <-ctx.Done():
			v.rejected = a.rejection(envelope{}, 408, "the edit was given up before its turn came, or while it was applied")
		}
	default:
		v.rejected = a.rejection(readEnvelope(document), codeTooMany, "too many edits wait: try again in a few seconds")
	}
	if v.rejected != nil {
		return v.rejected.Code, marshal(v.rejected)
	}
	return 200, marshal(v.accepted)
}

// now is the present, as it stands in documents.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
