// Package uplinks runs the built box in a network of its own, of namespaces,
// switches and routers, and counts at the far ends of its NICs what comes out
// of each.
package uplinks

import (
	"os"
	"testing"

	"sluice/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m, 4)) }
