package provisioning

import (
	"context"

	"sluice/device/system"
)

// A Host carries out what needs root. system.Host is one.
type Host interface {
	// Set has the host be as given. It returns once it is, or says why it is
	// not: system.ErrNoHost where nothing on this box does it. The same
	// settings again do nothing.
	Set(ctx context.Context, s system.Settings) error
	// Do does something once. It may return before a reboot takes effect.
	Do(ctx context.Context, a system.Action) error
}
