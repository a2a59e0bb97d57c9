package image

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What is booted is downloaded before; scripts/kernels tries this again.
func TestDownload(t *testing.T) {
	names := strings.Fields(os.Getenv(wanted))
	if len(names) == 0 {
		t.Skip("nothing is booted: make image-test")
	}
	for _, a := range []Arch{AMD64, ARM64, ARMv7} {
		if slices.Contains(names, a.Name) {
			a.Distribution(t)
		}
	}
	if slices.Contains(names, systemd) {
		AMD64.Distribution(t)
		AMD64.RootDisk(t)
	}
}
