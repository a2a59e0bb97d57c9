package provisioning

import (
	"context"
	"errors"
	"fmt"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// What can be done to a commit.
const (
	confirmIt = "confirm"
	cancelIt  = "cancel"
)

// maxConfirm bounds the body of config/confirm, in bytes.
const maxConfirm = 1 << 10

// A confirmation is what somebody wants done to the commit that is pending.
type confirmation struct {
	config.Confirm
	by     *control.Caller // nil: the fleet
	ctx    context.Context // of the one at the box who waits
	answer chan error      // to him; capacity 1
}

// A settled commit is no longer pending. What settled it may be delivered once
// more, and is no fault then.
type settled struct {
	id, action string
	version    uint64 // in force since
}

// receiveConfirm is called by the connection, and does not wait.
func (a *Agent) receiveConfirm(m mqtt.Message) {
	if len(m.Payload) == 0 {
		return // a retained one was cleared
	}
	c, err := readConfirm(m.Payload)
	if err == nil && m.Retained {
		err = no(400, "the confirmation was retained: publish it without the retain flag")
	}
	if err == nil {
		select {
		case a.confirmations <- &confirmation{Confirm: c}:
			return
		default:
			err = no(codeTooMany, "too many confirmations wait: try again in a few seconds")
		}
	}
	a.refuseConfirm(c, err)
}

// readConfirm reads the body of config/confirm strictly.
func readConfirm(raw []byte) (c config.Confirm, err error) {
	if len(raw) > maxConfirm {
		return c, no(413, "the confirmation has %d bytes: use at most %d", len(raw), maxConfirm)
	}
	if err := decode(raw, &c); err != nil {
		return config.Confirm{ClientToken: readEnvelope(raw).ClientToken}, no(400, "the confirmation cannot be read: %v", err)
	}
	if len([]rune(c.ClientToken)) > 64 {
		c.ClientToken = ""
		return c, no(400, "client_token is longer than 64")
	}
	switch {
	case c.ID == "" || len([]rune(c.ID)) > 64:
		return c, no(400, "id is missing or longer than 64: give that of the commit")
	case c.Action != confirmIt && c.Action != cancelIt:
		return c, no(400, "action is %.16q: use confirm or cancel", c.Action)
	}
	return c, nil
}

// refuseConfirm tells the fleet why a confirmation does nothing.
func (a *Agent) refuseConfirm(c config.Confirm, err error) {
	code := codeInternal
	if why := (*refused)(nil); errors.As(err, &why) {
		code = why.code
	}
	a.log.Warn("confirmation refused", "code", code, "message", err.Error())
	a.event(config.SeverityWarning, "confirm_refused", "config", err.Error(), map[string]any{"code": code})
	a.toldFleet(nil, a.rejection(envelope{ClientToken: c.ClientToken}, code, err.Error()))
}

// settleCommit confirms or cancels what is pending for someone at the box, and
// waits until that is done.
func settleCommit(action string) func(*Agent, context.Context, *call) (any, error) {
	return func(a *Agent, ctx context.Context, call *call) (any, error) {
		var data struct {
			ID string `json:"id"`
		}
		if err := call.read(&data); err != nil {
			return nil, err
		}
		c := &confirmation{
			Confirm: config.Confirm{ID: data.ID, Action: action},
			by:      call.by, ctx: ctx, answer: make(chan error, 1),
		}
		select {
		case a.confirmations <- c:
		default:
			return nil, no(codeTooMany, "too many confirmations wait: try again in a few seconds")
		}
		select {
		case err := <-c.answer:
			return map[string]uint64{"version": a.inForce.Load().version()}, err
		case <-ctx.Done():
			return nil, no(codeTimeout, "it was given up before its turn came, or while it was done")
		}
	}
}

// processConfirmation does what a confirmation says, and answers it.
func (a *Agent) processConfirmation(ctx context.Context, c *confirmation) {
	if c.by != nil && c.ctx.Err() != nil {
		return // nobody waits for it any more
	}
	again := a.commit.now == nil && c.ID != "" && a.commit.settled == settled{c.ID, c.Action, a.inForce.Load().version()}
	var err error
	if !again {
		err = a.settle(ctx, c)
	}
	switch {
	case c.by != nil:
		c.answer <- err
	case err != nil:
		a.refuseConfirm(c.Confirm, err)
	default:
		status := config.StatusApplied
		if c.Action == cancelIt {
			status = config.StatusRolledBack
		}
		a.answerAccepted(&config.Accepted{
			Version: a.inForce.Load().version(), ClientToken: c.ClientToken, Status: status, Timestamp: now(),
		})
	}
}

// settle confirms or cancels the commit that is pending, if it is the one that
// is meant.
func (a *Agent) settle(ctx context.Context, c *confirmation) error {
	is := a.commit.now
	switch {
	case is == nil && c.ID == "":
		return no(codeConflict, "no commit is pending")
	case is == nil:
		return no(codeConflict, "no commit is pending, and %q is none", c.ID)
	case c.ID != "" && c.ID != is.ID:
		return no(codeConflict, "%q is not pending, but %q is, of version %d", c.ID, is.ID, is.Record.Version)
	}
	by := "the fleet"
	if c.by != nil {
		by = a.called(*c.by)
	}
	if c.Action == confirmIt {
		if a.keep(by) != nil {
			return no(codeNotStored, "the state directory cannot be written: version %d goes back unless it is confirmed once more by %s",
				is.Record.Version, is.ConfirmBy.Format("15:04:05Z"))
		}
	} else {
		a.goBack(ctx, fmt.Sprintf("%s cancelled it", by), by)
	}
	a.commit.settled = settled{is.ID, c.Action, a.inForce.Load().version()}
	return nil
}
