package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
)

// called connects to the rig's own port as a client.
func (r *rig) called(app string, then func(*client) error) *client {
	r.t.Helper()
	c, err := r.transport.call(context.Background(), r.env(), targetOf(fmt.Sprintf("rtmp://127.0.0.1:%d/%s", r.port, app)), credentials{}, then)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.link.close)
	return c
}

// A listener is who is sent a stream, and speaks all the time, but does not
// read before it is told to.
type listener struct {
	reads chan struct{}
	frame bool   // it came
	last  string // command
	err   error
	over  chan struct{}
}

func newListener() *listener { return &listener{reads: make(chan struct{}), over: make(chan struct{})} }

// listen is that, on a connection.
func (l *listener) listen(c *conn) {
	defer close(l.over)
	ctx, stop := context.WithCancel(context.Background())
	var speaking sync.WaitGroup
	speaking.Go(func() {
		often := time.NewTicker(time.Millisecond)
		defer often.Stop()
		for ctx.Err() == nil && c.answer(encodeControl(&rtmpmsg.Ack{SequenceNumber: 1})) == nil {
			<-often.C
		}
	})
	defer speaking.Wait()
	defer stop()
	<-l.reads
	c.widen()
	for {
		var m message
		if m, l.err = c.next(); l.err != nil {
			return
		}
		l.frame = l.frame || m.kind == rtmpmsg.TypeIDVideoMessage
		if q, err := parseCommand(m); err == nil && m.isCommand() {
			_, code, _ := q.info()
			l.last = q.name + code
		}
	}
}

// gets sends a frame to an output that has it as its peer, and stops it: the
// peer gets all of it.
func (l *listener) gets(r *rig, out outputRun, last string) {
	r.t.Helper()
	out.await(endpoint.Connected)
	r.replay(out).send(message{kind: rtmpmsg.TypeIDVideoMessage, data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 300<<10)...)}, 0)
	out.cancel(nil)
	close(l.reads)
	if err := out.wait(); err != nil {
		r.t.Error(err)
	}
	<-l.over
	if !errors.Is(l.err, io.EOF) || !l.frame || l.last != last {
		r.t.Errorf("it ended with %v, the frame came: %v, and last was %q", l.err, l.frame, l.last)
	}
}

// TestLastWords has a peer that is behind, and still speaks when an output is
// stopped: it gets all of the stream, and is told that it is over.
func TestLastWords(t *testing.T) {
	t.Run("to a player", func(t *testing.T) {
		t.Parallel()
		r, l := newRig(t), newListener()
		out := r.output(r.playHere())
		out.await(endpoint.Listening)
		c := r.called("live", func(c *client) error { return c.play(endpoint.NewSecret("stage")) })
		_ = c.link.tcp.SetReadBuffer(64 << 10)
		go l.listen(c.conn)
		l.gets(r, out, "onStatusNetStream.Play.UnpublishNotify")
	})
	t.Run("to a server", func(t *testing.T) {
		t.Parallel()
		r, l := newRig(t), newListener()
		server := hosts(t, func(h *host) {
			_ = h.link.tcp.SetReadBuffer(64 << 10)
			h.publishes(nil)
			l.listen(h.conn)
		})
		l.gets(r, r.output(pushTo("rtmp://"+server+"/down")), "deleteStream")
	})
}
