package rtmp

import (
	"encoding/binary"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// The chunk streams of what we send: which is which is up to the sender.
const (
	onControl  = 2 // as section 5.4 wants it
	onCommands = 3
	onAudio    = 4
	onData     = 5
	onVideo    = 6
)

// headerSize is the size of a header of type 0 with one byte of basic header.
const headerSize = 12

// chunkStreamOf returns where messages of a type go.
func chunkStreamOf(kind rtmpmsg.TypeID) byte {
	switch kind {
	case rtmpmsg.TypeIDAudioMessage:
		return onAudio
	case rtmpmsg.TypeIDVideoMessage:
		return onVideo
	case rtmpmsg.TypeIDDataMessageAMF0, rtmpmsg.TypeIDDataMessageAMF3:
		return onData
	case rtmpmsg.TypeIDCommandMessageAMF0:
		return onCommands
	}
	return onControl
}

// appendMessage appends a message cut into chunks of a size (section 5.3): the
// first with a header of type 0, which depends on nothing that was sent before,
// and the rest with one of type 3. Times above 24 bits stand behind each header.
func appendMessage(b []byte, size int, m message) []byte {
	on := chunkStreamOf(m.kind)
	time, n, data := min(m.time, maxUint24), len(m.data), m.data
	b = append(b, on, byte(time>>16), byte(time>>8), byte(time), byte(n>>16), byte(n>>8), byte(n), byte(m.kind))
	b = binary.LittleEndian.AppendUint32(b, m.stream)
	for {
		if time == maxUint24 {
			b = binary.BigEndian.AppendUint32(b, m.time)
		}
		k := min(len(data), size)
		b = append(b, data[:k]...)
		if data = data[k:]; len(data) == 0 {
			return b
		}
		b = append(b, 0xC0|on)
	}
}

// chunked returns the size of what appendMessage appends for n bytes.
func chunked(n, size int, time uint32) int {
	chunks := max(1, (n+size-1)/size)
	total := headerSize + n + chunks - 1
	if time >= maxUint24 {
		total += 4 * chunks
	}
	return total
}
