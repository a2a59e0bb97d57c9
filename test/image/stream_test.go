package image

import (
	"fmt"
	"io"
	"os/exec"
	"testing"

	"sluice/test/harness"
)

// srtLatency is long, in ms: both the machine and the host are busy.
const srtLatency = 4000

// feed is an encoder: srt-live-transmit calls an SRT input of the machine.
func feed(t *testing.T, address string, port int, seed uint64) {
	t.Helper()
	var pipe io.WriteCloser
	uri := fmt.Sprintf("srt://%s:%d?mode=caller&latency=%d", address, port, srtLatency)
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
		harness.Play(seed, quit, func(datagram []byte) error {
			_, err := pipe.Write(datagram)
			return err
		})
	}()
	t.Cleanup(func() {
		close(quit)
		p.Stop() // a blocked write ends with the reader
		<-done
	})
}

// view is a player: srt-live-transmit waits for an SRT caller output.
func view(t *testing.T, v *harness.Viewer, address string, port int) {
	t.Helper()
	uri := fmt.Sprintf("srt://%s:%d?mode=listener&latency=%d", address, port, srtLatency)
	harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = v
	})
}
