package e2e

import (
	"testing"
	"time"
)

// Two hundred configurations leave nothing behind: goroutines, descriptors and
// memory of the daemon are where they were.
func TestTwoHundredAppliesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b, "--apply-every", "5ms", "--log-level", "info")
	l := b.listen(t)
	input, one, two, three := udpPort(t), udpPort(t), udpPort(t), udpPort(t)
	rest := document{input: input, outputs: []string{srtListener("kept", one, "")}}
	shapes := [][]string{
		{srtListener("kept", one, ""), srtListener("a", two, ""), rtpOutput("r", three, "")},
		{srtListener("kept", one, ""), srtCaller("a", two, ""), rtpOutput("r", three, `, "encapsulation": "udp"`)},
		{srtListener("kept", two, ""), srtListener("a", one, `, "passphrase": "a-passphrase"`)},
		rest.outputs,
	}
	f := feed(t, input, 6)
	version := 0
	apply := func(n int) {
		for range n {
			version++
			d := rest
			d.version, d.outputs = version, shapes[version%len(shapes)]
			publish(t, b, l, d)
		}
	}
	settled := func() (goroutines float64, descriptors, resident int) {
		x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "receiving", "kept": "waiting"})
		// What was stopped may still let its last latency window out.
		quiet := time.Now().Add(2 * srtLatency * time.Millisecond)
		goroutines = x.gauge(t, "go_goroutines")
		for time.Now().Before(quiet) {
			if g := x.gauge(t, "go_goroutines"); g != goroutines {
				goroutines, quiet = g, time.Now().Add(srtLatency*time.Millisecond)
			}
			<-time.After(200 * time.Millisecond)
		}
		return goroutines, x.descriptors(t), x.resident(t)
	}
	apply(40) // so that everything was there once, the ring included
	goroutines, descriptors, resident := settled()
	apply(200)
	nowGoroutines, nowDescriptors, nowResident := settled()
	t.Logf("goroutines %v -> %v, descriptors %d -> %d, resident %d -> %d bytes",
		goroutines, nowGoroutines, descriptors, nowDescriptors, resident, nowResident)
	// A connection of the metrics page or a tick of the runtime may be there
	// now and then; one for each apply would be 200.
	const few = 4
	if nowGoroutines > goroutines+few {
		t.Errorf("goroutines grew from %v to %v", goroutines, nowGoroutines)
	}
	if nowDescriptors > descriptors+few {
		t.Errorf("descriptors grew from %d to %d", descriptors, nowDescriptors)
	}
	if nowResident > resident+resident/2+16<<20 {
		t.Errorf("memory grew from %d to %d bytes", resident, nowResident)
	}
	f.stop()
}
