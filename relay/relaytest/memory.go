package relaytest

import (
	"os"
	"testing"
)

// MemoryDir returns a directory for the test: in memory where the system has
// such a place, or like t.TempDir. It is for tests that write many small files
// for good, and ask nothing about the disk: it syncs at once.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
