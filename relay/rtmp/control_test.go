package rtmp

import (
	"bytes"
	"reflect"
	"testing"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// TestControlMessages compares what is sent with the bytes that sections 5.4
// and 6.2 want, and reads them again.
func TestControlMessages(t *testing.T) {
	for _, c := range []struct {
		message rtmpmsg.Message
		kind    rtmpmsg.TypeID
		bytes   []byte
	}{
		{&rtmpmsg.SetChunkSize{ChunkSize: 4096}, 1, []byte{0, 0, 16, 0}},
		{&rtmpmsg.AbortMessage{ChunkStreamID: 5}, 2, []byte{0, 0, 0, 5}},
		{&rtmpmsg.Ack{SequenceNumber: 1<<32 - 2}, 3, []byte{0xFF, 0xFF, 0xFF, 0xFE}},
		{&rtmpmsg.WinAckSize{Size: 2500000}, 5, []byte{0, 0x26, 0x25, 0xA0}},
		{&rtmpmsg.SetPeerBandwidth{Size: 2500000, Limit: rtmpmsg.LimitTypeDynamic}, 6, []byte{0, 0x26, 0x25, 0xA0, 2}},
		{&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamBegin{StreamID: 1}}, 4, []byte{0, 0, 0, 0, 0, 1}},
		{&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamEOF{StreamID: 1}}, 4, []byte{0, 1, 0, 0, 0, 1}},
		{&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventSetBufferLength{StreamID: 1, LengthMs: 3000}}, 4, []byte{0, 3, 0, 0, 0, 1, 0, 0, 0x0B, 0xB8}},
		{&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingRequest{Timestamp: 7}}, 4, []byte{0, 6, 0, 0, 0, 7}},
		{&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingResponse{Timestamp: 7}}, 4, []byte{0, 7, 0, 0, 0, 7}},
	} {
		m := encodeControl(c.message)
		if m.kind != c.kind || !bytes.Equal(m.data, c.bytes) || m.stream != 0 || chunkStreamOf(m.kind) != onControl {
			t.Errorf("%T: type %d, % x", c.message, m.kind, m.data)
		}
		if got, err := decodeControl(m); err != nil || !reflect.DeepEqual(got, c.message) {
			t.Errorf("%T comes back as %#v, %v", c.message, got, err)
		}
		for n := range len(c.bytes) {
			if got, err := decodeControl(message{kind: c.kind, data: c.bytes[:n]}); err == nil {
				t.Errorf("%d bytes of %T are read as %#v", n, c.message, got)
			}
		}
	}
	for _, b := range [][]byte{{0, 5, 0, 0, 0, 0}, {0, 31, 0, 0, 0, 0}, {0xFF, 0xFF}} { // events that only Flash knows
		if got, err := decodeControl(message{kind: rtmpmsg.TypeIDUserCtrl, data: b}); err == nil {
			t.Errorf("% x is read as %#v", b, got)
		}
	}
}
