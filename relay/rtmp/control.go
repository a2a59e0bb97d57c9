package rtmp

import (
	"bytes"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// decodeControl reads a message about the connection (sections 5.4 and 6.2):
// these are as long as they are, so that go-rtmp can be trusted with them.
func decodeControl(m message) (c rtmpmsg.Message, err error) {
	err = rtmpmsg.NewDecoder(bytes.NewReader(m.data)).Decode(m.kind, &c)
	return c, err
}

// encodeControl returns a message about the connection.
func encodeControl(c rtmpmsg.Message) message {
	var b bytes.Buffer
	_ = rtmpmsg.NewEncoder(&b).Encode(c) // a buffer takes everything
	return message{kind: c.TypeID(), data: b.Bytes()}
}
