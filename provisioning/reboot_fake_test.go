package provisioning

import (
	"context"

	"sluice/device/system"
)

// fakeReboot counts how often the box was started again.
type fakeReboot struct{ n int }

func (*fakeReboot) Set(context.Context, system.Settings) error { return nil }

func (h *fakeReboot) Do(_ context.Context, a system.Action) error {
	if a.Name == system.Reboot {
		h.n++
	}
	return nil
}
