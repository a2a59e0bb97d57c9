// Package e2e runs the built programs as they are shipped, together with
// programs of others: Mosquitto and its clients, srt-live-transmit and ffmpeg.
// What it asserts is what comes over the wire and what the kernel tells.
package e2e

import (
	"os"
	"testing"

	"sluice/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m, 5)) }
