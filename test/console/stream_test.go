package console

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sluice/test/harness"
)

// srtLatency is long, in ms, so that a machine that is busy with other tests
// does not make an SRT library drop packets as too late.
const srtLatency = 2000

// A starter runs a program, here or on a host: harness.Start, or a Host's.
type starter func(t *testing.T, path string, args []string, prepare func(*exec.Cmd)) *harness.Process

// feed has srt-live-transmit send a generated stream into an SRT input, until
// the test ends. options follow in the URI.
func feed(t *testing.T, start starter, to, options string, seed uint64) {
	t.Helper()
	var pipe io.WriteCloser
	uri := fmt.Sprintf("srt://%s?mode=caller&latency=%d%s", to, srtLatency, options)
	p := start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", "file://con", uri}, func(cmd *exec.Cmd) {
		var err error
		pipe, err = cmd.StdinPipe()
		check(t, err)
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

// view is srt-live-transmit as a player of an SRT listener output, which knows
// what it misses.
func view(t *testing.T, start starter, at, options string, seed uint64) *harness.Viewer {
	t.Helper()
	v := harness.NewViewer("the player of "+at, seed)
	uri := fmt.Sprintf("srt://%s?mode=caller&latency=%d%s", at, srtLatency, options)
	start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = v
	})
	return v
}

// relays has a box relay a stream from SRT to SRT, and returns who watches it.
func (x *box) relays(t *testing.T, seed uint64) *harness.Viewer {
	t.Helper()
	in, out := udpPort(t), udpPort(t)
	document := filepath.Join(x.dir, "document")
	check(t, os.WriteFile(document, fmt.Appendf(nil, `{"schema": "sluice.config/v1", "state": {"flows": [{"id": "stage", "name": "Main stage",
  "inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": %d}}],
  "outputs": [{"id": "wall", "name": "Wall", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": %d}}]}]}}`,
		in, srtLatency, out, srtLatency), 0o600))
	x.Ctl(t, "apply", document)
	x.AwaitStates(t, 15*time.Second, map[string]string{"enc": "waiting", "wall": "waiting"})
	feed(t, harness.Start, fmt.Sprintf("127.0.0.1:%d", in), "", seed)
	v := view(t, harness.Start, fmt.Sprintf("127.0.0.1:%d", out), "", seed)
	x.AwaitStates(t, 30*time.Second, map[string]string{"enc": "receiving", "wall": "connected"})
	v.Receives(t, 50, 30*time.Second)
	return v
}

// listenRTP views the RTP that comes to a port of the host it is called on.
func listenRTP(t *testing.T, v *harness.Viewer, port int) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	check(t, err)
	v.Watch(t, conn, 12)
}
