// Package console runs the console of the built programs as a technician does:
// over a serial line, from a terminal or a script, beside a daemon that relays.
// The line is a pair of pseudo terminals that socat joins; what sits at its
// other end is the test itself, picocom or minicom.
package console

import (
	"os"
	"testing"

	"sluice/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m, 4)) }
