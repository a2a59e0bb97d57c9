package rtmp

import (
	"slices"
	"testing"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
)

// TestFrameIsNotHeldBack has a frame come together with a message that is not
// media: it is published although nothing follows.
func TestFrameIsNotHeldBack(t *testing.T) {
	t.Parallel()
	frame := appendMessage(nil, 4096, message{kind: rtmpmsg.TypeIDVideoMessage, stream: 1, data: []byte{0x17, 1, 0, 0, 0, 1, 2, 3}})
	for name, second := range map[string][]byte{
		"acknowledgement": appendMessage(nil, 4096, encodeControl(&rtmpmsg.Ack{SequenceNumber: 1})),
		"command":         appendMessage(nil, 4096, call(0, "hello", 0)),
		"half a frame":    frame[:len(frame)-1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tap, in := r.tap(), r.input(r.publishHere())
			in.await(endpoint.Listening)
			c := r.called("in", func(c *client) error { return c.publish(endpoint.NewSecret("key"), 4096) })
			if _, err := c.link.tcp.Write(slices.Concat(frame, second)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the frame is there", func() bool { return tap.frames.Load() == 1 })
		})
	}
}
