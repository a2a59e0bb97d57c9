package e2e

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/relay/relaytest"
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
	p := start(t, need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", "file://con", uri}, func(cmd *exec.Cmd) {
		var err error
		if pipe, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	})
	quit := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.write(pipe, quit)
	}()
	f.stop = sync.OnceFunc(func() {
		close(quit)
		p.stop() // a blocked write ends with the reader
		<-done
	})
	t.Cleanup(f.stop)
	return f
}

// write keeps the pace of the stream's own clock.
func (f *feeder) write(pipe io.WriteCloser, quit <-chan struct{}) {
	defer pipe.Close()
	stream := relaytest.NewTS(f.seed)
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for due := uint64(time.Since(begin) / stream.Interval()); stream.Sequence() < due; {
			if _, err := pipe.Write(stream.Next()); err != nil {
				return
			}
			f.sent.Add(1)
		}
	}
}

// A viewer receives the feeder's stream and knows what it misses.
type viewer struct {
	what     string
	verifier *relaytest.Verifier
	process  *process // nil for a socket of our own
}

func (f *feeder) viewer(what string) *viewer {
	return &viewer{what: what, verifier: relaytest.NewVerifier(f.seed)}
}

// viewSRT is srt-live-transmit, which calls an SRT listener output, or with
// mode=listener waits for an SRT caller output. options follow in the URI.
func (f *feeder) viewSRT(t *testing.T, what string, port int, options string) *viewer {
	t.Helper()
	v := f.viewer(what)
	uri := fmt.Sprintf("srt://127.0.0.1:%d?latency=%d&%s", port, srtLatency, options)
	v.process = start(t, need(t, "srt-live-transmit", "srt-tools"), []string{"-q", "-chunk", "1316", uri, "file://con"}, func(cmd *exec.Cmd) {
		cmd.Stdout = feedWriter{v.verifier}
	})
	return v
}

type feedWriter struct{ to *relaytest.Verifier }

func (w feedWriter) Write(b []byte) (int, error) {
	w.to.Feed(b)
	return len(b), nil
}

// viewUDP is a socket of the test's own that an RTP or UDP output sends to.
// header is how many bytes come before the payload: 12 for RTP.
func (f *feeder) viewUDP(t *testing.T, what string, port, header int) *viewer {
	t.Helper()
	v := f.viewer(what)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(4 << 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if n > header {
				v.verifier.Feed(b[header:n])
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return v
}

// receives waits until n more datagrams came.
func (v *viewer) receives(t *testing.T, n uint64, within time.Duration) {
	t.Helper()
	before := v.verifier.Report().Received
	deadline := time.Now().Add(within)
	for v.verifier.Report().Received < before+n {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not %d datagrams within %v: %+v, before %d", v.what, n, within, v.verifier.Report(), before)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// intact asserts that everything came from the moment of joining on, byte for
// byte.
func (v *viewer) intact(t *testing.T) {
	t.Helper()
	if err := v.verifier.Report().Intact(); err != nil {
		t.Errorf("%s: %v", v.what, err)
	}
}
