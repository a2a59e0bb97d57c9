package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// What the daemon may have resident at most, in bytes.
const (
	idleMemory  = 20 << 20
	relayMemory = 40 << 20
)

// The stream: long enough for several turns of the garbage collector, and of
// the ring.
const (
	relayBitrate = 10_000_000
	relayBytes   = 12 * relayBitrate / 8
)

// A box without flows, and one that relays a stream to ten viewers and two
// receivers of RTP, need no more memory than is there on a small board.
func TestMemory(t *testing.T) {
	b := startBroker(t)
	l := b.listen(t)
	x := startBox(t, b, "--log-level", "info")
	harness.Await(t, time.Minute, "the box is at its broker", func() bool {
		return len(l.find(0, "status", func(m message) bool { return strings.Contains(string(m.payload), `"ready"`) })) > 0
	})
	idle := x.mostMemory(t)

	input := udpPort(t)
	d := document{version: 1, input: input}
	want := map[string]string{"enc": "receiving"}
	var ports []int
	for i := range 10 {
		id := fmt.Sprintf("viewer%d", i)
		ports = append(ports, udpPort(t))
		d.outputs = append(d.outputs, srtListener(id, ports[i], ""))
		want[id] = "connected"
	}
	for i := range 2 {
		d.outputs = append(d.outputs, rtpOutput(fmt.Sprintf("rtp%d", i), udpPort(t), ""))
	}
	publish(t, b, l, d)
	feedFast(t, input)
	for _, port := range ports {
		watchSRT(t, port)
	}
	x.AwaitStates(t, time.Minute, want)
	received := func() float64 {
		return x.gauge(t, `sluice_input_received_bytes_total{flow="stage",input="enc"}`)
	}
	from := received()
	// What the daemon does for whoever asks counts as well: it is asked seldom.
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for deadline := time.Now().Add(2 * time.Minute); received() < from+relayBytes; <-every.C {
		if time.Now().After(deadline) {
			t.Fatalf("%.0f bytes of %d came in two minutes", received()-from, relayBytes)
		}
	}
	x.AwaitStates(t, 10*time.Second, want)
	relaying := x.mostMemory(t)
	t.Logf("resident: %.1f MiB idle, %.1f MiB with ten viewers", mebibytes(idle), mebibytes(relaying))
	if idle > idleMemory {
		t.Errorf("the idle daemon had %.1f MiB, %.1f are allowed", mebibytes(idle), mebibytes(idleMemory))
	}
	if relaying > relayMemory {
		t.Errorf("the daemon had %.1f MiB with ten viewers, %.1f are allowed", mebibytes(relaying), mebibytes(relayMemory))
	}
}

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }

// mostMemory is what the process ever had resident, in bytes.
func (x *box) mostMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	_, after, _ := strings.Cut(string(text), "\nVmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &kib); err != nil {
		t.Fatalf("/proc/PID/status: %v\n%s", err, text)
	}
	return kib << 10
}

// feedFast is an encoder of relayBitrate, until the test ends.
func feedFast(t *testing.T, port int) {
	t.Helper()
	var pipe io.WriteCloser
	uri := fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=%d", port, srtLatency)
	p := harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", "file://con", uri}, func(cmd *exec.Cmd) {
		var err error
		if pipe, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	})
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer pipe.Close()
		stream, begin := relaytest.NewTS(1), time.Now()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			for due := uint64(time.Since(begin).Seconds() * relayBitrate / 8 / relaytest.DatagramSize); stream.Sequence() < due; {
				if _, err := pipe.Write(stream.Next()); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(quit)
		p.Stop() // a blocked write ends with the reader
		<-done
	})
}

// watchSRT is a viewer who keeps nothing.
func watchSRT(t *testing.T, port int) {
	t.Helper()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nowhere.Close() })
	uri := fmt.Sprintf("srt://127.0.0.1:%d?latency=%d", port, srtLatency)
	harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = nowhere
	})
}
