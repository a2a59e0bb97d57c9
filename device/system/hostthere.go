package system

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// There tells whether somebody on this box may carry out what is asked of the
// host: ErrNoHost where nobody does.
func (h *Host) There() error {
	wanted := filepath.Join(h.dir, "wanted")
	if err := unix.Access(wanted, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%w: %s cannot be written to (%w)", ErrNoHost, wanted, err)
	}
	return nil
}
