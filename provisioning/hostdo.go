package provisioning

import (
	"context"
	"errors"
	"time"

	"sluice/device/system"
	"sluice/provisioning/config"
)

// rebootPause is how long an answer has to get away before the box starts
// again.
const rebootPause = 2 * time.Second

const someIdentify = 10 // seconds

// identify has the box be found among others.
func (a *Agent) identify(ctx context.Context, c *call) (any, error) {
	var data struct {
		Seconds *int `json:"seconds"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	action := system.Action{Name: system.Identify, Seconds: someIdentify}
	if data.Seconds != nil {
		action.Seconds = *data.Seconds
	}
	if err := action.Validate(); err != nil {
		return nil, no(400, "%v", err)
	}
	if a.o.Host == nil {
		return nil, no(501, "nothing on this box can show where it is")
	}
	err := a.o.Host.Do(ctx, action)
	if errors.Is(err, system.ErrNoHost) {
		return nil, no(501, "nothing on this box can show where it is")
	}
	return nil, err
}

// reboot has the box start again, once the one who asked has his answer.
func (a *Agent) reboot(_ context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	if a.hostThere() != nil {
		return nil, no(501, "nothing on this box can start it again")
	}
	c.afterwards = func(ctx context.Context) { a.startAgain(ctx) }
	return nil, nil
}

// hostThere tells whether there is a host that carries things out, as far as
// it can tell before it is asked to.
func (a *Agent) hostThere() error {
	if a.o.Host == nil {
		return system.ErrNoHost
	}
	if h, ok := a.o.Host.(interface{ There() error }); ok {
		return h.There()
	}
	return nil
}

// startAgain has the host start the box again, and tells whether it does.
func (a *Agent) startAgain(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rebootPause):
	}
	err := a.o.Host.Do(ctx, system.Action{Name: system.Reboot})
	if err != nil && ctx.Err() == nil {
		a.log.Error("the box does not start again", "error", err)
		a.event(config.SeverityError, "reboot_failed", "host", "the box was asked to start again, and does not: "+err.Error(), nil)
	}
	return err == nil
}
