package provisioning

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"sluice/provisioning/config"
)

// resetName is where the store keeps that the box is to be empty. From the
// moment on in which it is written, the box is: whatever a power cut, or what
// still ran, left of the rest is wiped at the next start. Before that moment
// the old box is whole.
const resetName = "factory_reset"

// finishReset wipes what a factory reset left, before anything is read.
func finishReset(s Store) error {
	_, err := s.Get(resetName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("whether the box was reset: %w", err)
	}
	if err := s.Wipe(resetName); err != nil {
		return fmt.Errorf("factory reset: %w", err)
	}
	return s.Delete(resetName)
}

// factoryReset makes the box what it was before it was ever set up: the
// configurations, the candidate, the console's password, the key that secrets
// are sealed to, the box's own certificate and the number of its sessions are
// gone. It goes on relaying until it is started again, which it asks for.
func (a *Agent) factoryReset(_ context.Context, c *call) (any, error) {
	var data struct {
		SerialNumber string `json:"serial_number"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	name, line := a.who(*c.by)
	if name == "" && c.by.Session != "" {
		return nil, no(401, "the session has ended: log in again")
	}
	is, what := a.info().SerialNumber, "serial number"
	if is == "" { // of a box that has none, its name
		is, what = a.o.Device, "name"
	}
	if data.SerialNumber != is {
		return nil, no(codeConflict, "this is not the %s of this box: nothing was changed", what)
	}
	if err := a.o.Store.Put(resetName, []byte("wanted")); err != nil {
		a.log.Error("factory reset", "error", err)
		return nil, no(codeNotStored, "the state directory cannot be written: nothing was changed")
	}
	if err := a.o.Store.Wipe(resetName); err != nil {
		a.log.Error("factory reset: the rest is wiped at the next start", "error", err)
	}
	a.log.Warn("factory reset", "uid", c.by.UID, "pid", c.by.PID)
	a.event(config.SeverityWarning, "factory_reset", "host", a.called(*c.by)+" had the box forget everything: it starts again empty",
		audit(name, line, *c.by))
	c.afterwards = func(ctx context.Context) {
		if a.hostThere() == nil && a.startAgain(ctx) {
			return
		}
		if a.o.End != nil && ctx.Err() == nil {
			a.o.End() // and the service manager starts it again
		}
	}
	return nil, nil
}
