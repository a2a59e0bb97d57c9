package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// TestLastWordsToPlayers has a player that is behind, and that still speaks when the
// output is stopped: it gets all of the stream, and is told that it is over.
func TestLastWordsToPlayers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.output(r.playHere())
	out.await(endpoint.Listening)
	c := r.called("live", func(c *client) error { return c.play(endpoint.NewSecret("stage")) })
	_ = c.link.tcp.SetReadBuffer(4 << 10)
	out.await(endpoint.Connected)
	frame := message{kind: rtmpmsg.TypeIDVideoMessage, data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 100<<10)...)}
	r.replay(out).send(frame, 0)

	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	ctx, stop := context.WithCancel(context.Background())
	spoken := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := c.answer(encodeControl(&rtmpmsg.Ack{SequenceNumber: 1})); err != nil {
				spoken <- err
				return
			}
			<-often.C
		}
		spoken <- nil
	}()
	out.stop()
	stop()
	if err := <-spoken; err != nil {
		t.Errorf("while it spoke: %v", err)
	}
	var got, told bool
	c.widen()
	for {
		m, err := c.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("it ended with %v", err)
			}
			break
		}
		got = got || m.kind == rtmpmsg.TypeIDVideoMessage
		if m.isCommand() {
			q, _ := parseCommand(m)
			_, code, _ := q.info()
			told = told || code == "NetStream.Play.UnpublishNotify"
		}
	}
	if !got || !told {
		t.Errorf("the frame came: %v, the end was told: %v", got, told)
	}
}
