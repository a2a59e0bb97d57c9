package relaytest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// emulator is the environment variable with the name of what emulates the
// processor, as scripts/test-arch sets it. It carries out system calls on the
// kernel beneath, as far as it knows them.
const emulator = "SLUICE_TEST_EMULATOR"

// Emulator returns the name of the emulator that the test runs in, or nothing.
func Emulator() string { return os.Getenv(emulator) }

// EmulatorLacks skips the test where an emulator does not carry out a system
// call, which err is the result of: nothing else about a call is forgiven, and
// nothing at all on a kernel of its own.
func EmulatorLacks(t testing.TB, call string, err error) {
	t.Helper()
	switch unknown := errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP); {
	case err == nil:
	case unknown && Emulator() != "":
		t.Skipf("%s does not carry out %s: %v", Emulator(), call, err)
	default:
		t.Fatalf("%s: %v", call, err)
	}
}

// EmulatorIsSlow skips the test in an emulator, where it would measure that.
func EmulatorIsSlow(t testing.TB, what string) {
	t.Helper()
	if Emulator() != "" {
		t.Skipf("%s is slow: %s", Emulator(), what)
	}
}

// TakesSeconds leaves a test out of the short form, which is for processors
// that are emulated.
func TakesSeconds(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes seconds, and proves little more on another processor: not with -short")
	}
}

// StartsPrograms leaves a test that starts other programs out of the short
// form: in an emulator a process with threads that forks may stand still for
// ever, before the other program begins.
func StartsPrograms(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts other programs, which may hang in an emulator: not with -short")
	}
}
