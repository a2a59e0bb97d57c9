package e2e

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/test/harness"
)

// srtLatency is long, in ms, so that a machine that is busy with other tests
// does not make an SRT library drop packets as too late.
const srtLatency = 2000

// A feeder is an encoder: srt-live-transmit calls an SRT input and sends a
// generated stream in which every datagram can be told from every other.
type feeder struct {
	seed uint64
	sent atomic.Uint64 // datagrams
	stop func()
}

// feed begins to send into the SRT input at a port, until the test ends or
// stop is called.
func feed(t *testing.T, port int, seed uint64) *feeder {
	t.Helper()
	f := &feeder{seed: seed}
	var pipe io.WriteCloser
	uri := fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=%d", port, srtLatency)
	p := harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", "file://con", uri}, func(cmd *exec.Cmd) {
		var err error
		if pipe, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	})
	quit := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer pipe.Close()
		harness.Play(seed, quit, func(datagram []byte) error {
			_, err := pipe.Write(datagram)
			if err == nil {
				f.sent.Add(1)
			}
			return err
		})
	}()
	f.stop = sync.OnceFunc(func() {
		close(quit)
		p.Stop() // a blocked write ends with the reader
		<-done
	})
	t.Cleanup(f.stop)
	return f
}

// viewSRT is srt-live-transmit, which calls an SRT listener output, or with
// mode=listener waits for an SRT caller output. options follow in the URI.
func (f *feeder) viewSRT(t *testing.T, what string, port int, options string) *harness.Viewer {
	t.Helper()
	v := harness.NewViewer(what, f.seed)
	playSRT(t, v, port, options)
	return v
}

// playSRT is the same for a viewer.
func playSRT(t *testing.T, v *harness.Viewer, port int, options string) *harness.Process {
	t.Helper()
	uri := fmt.Sprintf("srt://127.0.0.1:%d?latency=%d&%s", port, srtLatency, options)
	return harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = v
	})
}

// viewUDP is a socket of the test's own that an RTP or UDP output sends to.
// header is how many bytes come before the payload: 12 for RTP.
func (f *feeder) viewUDP(t *testing.T, what string, port, header int) *harness.Viewer {
	t.Helper()
	v := harness.NewViewer(what, f.seed)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	v.Watch(t, conn, header)
	return v
}
