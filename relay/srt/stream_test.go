package srt

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// A generated stream is that of seed 1, sent in real time.
type generated struct {
	every time.Duration         // from one datagram to the next; 0: as its clock says
	sent  func(sequence uint64) // told of each before it is sent, or nil
}

// atMbps is from one datagram to the next at a bitrate.
func atMbps(mbps float64) time.Duration {
	return time.Duration(relaytest.DatagramSize * 8 / mbps * float64(time.Microsecond))
}

// live publishes the stream in real time until the test ends.
func live(t *testing.T) *flow.Flow { return generated{}.live(t) }

// source is the standard input of a program that sends the stream, in real
// time, until the test ends.
func source(t *testing.T) io.Reader { return generated{}.source(t) }

// limits are more than any latency of the tests needs.
var limits = flow.Limits{Retain: 5 * time.Second, MaxBytes: flow.DefaultLimits.MaxBytes}

func (g generated) live(t *testing.T) *flow.Flow {
	f := flow.New(limits)
	g.publish(t, f)
	return f
}

func (g generated) publish(t *testing.T, f *flow.Flow) {
	format := &media.Format{Kind: media.TS}
	g.run(t, func(b []byte) error {
		f.Publish([]media.Packet{{Format: format, Arrival: time.Now(), Data: b}})
		return nil
	})
}

func (g generated) source(t *testing.T) io.Reader {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// A program that waits for its peer is not to send a burst when it comes.
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 8192); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	g.run(t, func(b []byte) error {
		_, err := w.Write(b)
		return err
	})
	t.Cleanup(func() { _ = w.Close(); _ = r.Close() })
	return r
}

// run sends the stream in the background until the test ends.
func (g generated) run(t *testing.T, send func([]byte) error) {
	background(t, func(ctx context.Context) error { return g.send(ctx, send) })
}

// send sends the stream until ctx is done.
func (g generated) send(ctx context.Context, send func([]byte) error) error {
	if g.every == 0 {
		g.every = tape.ts.Interval()
	}
	n := uint64(0)
	return paced(ctx, g.every, func() error {
		b := tape.at(n)
		if g.sent != nil {
			g.sent(n)
		}
		n++
		return send(b)
	})
}

// tape is the stream as far as it was ever sent. Many tests send it at the same
// time, and to make it anew for each would be most of their work.
var tape = recording{ts: relaytest.NewTS(1)}

type recording struct {
	mu   sync.Mutex
	ts   *relaytest.TS
	made [][]byte
}

func (r *recording) at(n uint64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uint64(len(r.made)) <= n {
		r.made = append(r.made, r.ts.Next())
	}
	return r.made[n]
}

// paced calls do once in each interval on average. Where do was held up, what
// is overdue is not made good in a burst.
func paced(ctx context.Context, interval time.Duration, do func() error) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	start := time.Now()
	for n := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for ; n*interval < time.Since(start); n++ {
			began := time.Now()
			if err := do(); err != nil {
				return err
			}
			if held := time.Since(began); held > 20*time.Millisecond {
				start = start.Add(held)
			}
		}
	}
}
