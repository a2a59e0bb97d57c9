package provisioning

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/relay/endpoint"
)

// answer tells the fleet what became of its document.
func (a *Agent) answer(v verdict) {
	if v.accepted != nil {
		a.answerAccepted(v.accepted)
		return
	}
	a.answerRejected(v.rejected)
}

func (a *Agent) answerAccepted(v *config.Accepted) { a.toldFleet(v, nil) }

// toldFleet tells the fleet one of the two, and notes what was told.
func (a *Agent) toldFleet(accepted *config.Accepted, rejected *config.Rejected) {
	if accepted != nil {
		a.told.Store(&config.LastAnswer{Version: accepted.Version, Status: accepted.Status})
		a.enqueue("config/accepted", accepted)
		return
	}
	a.told.Store(&config.LastAnswer{Version: rejected.Version, Code: rejected.Code, Message: rejected.Message})
	a.enqueue("config/rejected", rejected)
}

func (a *Agent) answerRejected(v *config.Rejected) {
	a.log.Warn("desired configuration refused", "version", v.Version, "code", v.Code, "message", v.Message)
	a.event(config.SeverityWarning, "config_rejected", "config",
		fmt.Sprintf("version %d was refused: %s", v.Version, v.Message),
		map[string]any{"version": v.Version, "code": v.Code})
	a.toldFleet(nil, v)
}

func (a *Agent) refuseTooLarge(size int) {
	message := fmt.Sprintf("the document has %d bytes: use at most %d", size, config.MaxDocument)
	a.answerRejected(a.rejection(envelope{}, config.CodeTooLarge, message,
		endpoint.Fault{Code: endpoint.CodeInvalid, Message: message}))
}

// Apply takes a local edit and waits for its answer: control.Backend.
func (a *Agent) Apply(ctx context.Context, document []byte, by control.Caller) (int, json.RawMessage) {
	if a.sessionEnded(by) {
		return 401, marshal(a.rejection(envelope{}, 401, sessionEnded))
	}
	v := a.applyLocal(ctx, document, by, localCommit{})
	if v.rejected != nil {
		return v.rejected.Code, marshal(v.rejected)
	}
	return 200, marshal(v.accepted)
}

// applyLocal queues a local edit, and waits for its answer.
func (a *Agent) applyLocal(ctx context.Context, raw []byte, by control.Caller, commit localCommit) (v verdict) {
	e := &edit{ctx: ctx, raw: raw, by: by, commit: commit, answer: make(chan verdict, 1)}
	select {
	case a.edits <- e:
		select {
		case v = <-e.answer:
		case <-ctx.Done():
			v.rejected = a.rejection(envelope{}, codeTimeout, "the edit was given up before its turn came, or while it was applied")
		}
	default:
		v.rejected = a.rejection(readEnvelope(raw), codeTooMany, "too many edits wait: try again in a few seconds")
	}
	return v
}

// now is the present, as it stands in documents.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
