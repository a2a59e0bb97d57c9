package wire

import (
	"encoding/binary"
	"fmt"
)

// Types of RTMP messages (Adobe RTMP 1.0, sections 5.4 and 7.1).
const (
	setChunkSize    = 1
	acknowledgement = 3
	userControl     = 4
	windowSize      = 5
	Video           = 9
	Metadata        = 18
	commands        = 20
)

// A Message is what chunks were put together to. Its payload is good until the
// next one comes.
type Message struct {
	Type    byte
	Payload []byte
}

// maxMessage is the longest message that is taken, in bytes.
const maxMessage = 4 << 20

// extended is the timestamp of a header that has a longer one behind it.
const extended = 0xFFFFFF

// A chunkStream is one of the sequences of messages in a connection.
type chunkStream struct {
	length   int
	kind     byte
	extended bool // its headers end with a timestamp of four bytes
	payload  []byte
}

// chunks takes a connection apart into messages (section 5.3). Make it with
// newChunks.
type chunks struct {
	size    int // of a chunk, at most
	streams map[uint32]*chunkStream
	header  []byte       // the beginning of one that is not complete
	into    *chunkStream // of the chunk that is not complete
	want    int          // bytes of it that are to come
}

func newChunks() *chunks { return &chunks{size: 128, streams: map[uint32]*chunkStream{}} }

// feed takes what was read next, and calls take for each message that it
// completes.
func (c *chunks) feed(b []byte, take func(Message)) error {
	if len(c.header) > 0 {
		b = append(c.header, b...)
		c.header = nil
	}
	for {
		if c.into == nil {
			n, err := c.begin(b)
			if err != nil {
				return err
			}
			if n == 0 {
				c.header = append(c.header, b...)
				return nil
			}
			b = b[n:]
		}
		n := min(c.want, len(b))
		s := c.into
		s.payload = append(s.payload, b[:n]...)
		b = b[n:]
		if c.want -= n; c.want > 0 {
			return nil
		}
		c.into = nil
		if len(s.payload) < s.length {
			continue
		}
		m := Message{Type: s.kind, Payload: s.payload}
		s.payload = s.payload[:0]
		if m.Type != setChunkSize {
			take(m)
		} else if len(m.Payload) == 4 {
			c.size = int(binary.BigEndian.Uint32(m.Payload) & 0x7FFFFFFF)
		}
		if c.size < 1 {
			return fmt.Errorf("chunk size %d", c.size)
		}
	}
}

// begin reads the header of a chunk and returns its length, 0 where it is not
// all there.
func (c *chunks) begin(b []byte) (n int, err error) {
	if len(b) < 1 {
		return 0, nil
	}
	format, id := b[0]>>6, uint32(b[0]&0x3F)
	n = 1
	if id < 2 { // one or two bytes more
		n += int(id) + 1
		if len(b) < n {
			return 0, nil
		}
		if id = 64 + uint32(b[1]); n == 3 {
			id += uint32(b[2]) << 8
		}
	}
	s := c.streams[id]
	if s == nil {
		if format != 0 {
			return 0, fmt.Errorf("chunk stream %d begins with a header of format %d", id, format)
		}
		s = &chunkStream{}
	}
	h := b[n:]
	size := [...]int{11, 7, 3, 0}[format]
	if len(h) < size {
		return 0, nil
	}
	long := s.extended
	if size > 0 {
		long = uint24(h) == extended
	}
	n += size
	if long {
		n += 4
	}
	if len(b) < n {
		return 0, nil
	}
	if s.extended = long; size >= 7 {
		s.length, s.kind = uint24(h[3:]), h[6]
	}
	if s.length > maxMessage {
		return 0, fmt.Errorf("a message of %d bytes", s.length)
	}
	c.streams[id] = s
	c.into, c.want = s, min(s.length-len(s.payload), c.size)
	if c.want < 0 {
		return 0, fmt.Errorf("chunk stream %d: a message that is longer than it said", id)
	}
	return n, nil
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// appendMessage appends a message cut into chunks of a size.
func appendMessage(b []byte, size int, chunk, kind byte, stream, timestamp uint32, payload []byte) []byte {
	t := min(timestamp, extended)
	n := len(payload)
	b = append(b, chunk, byte(t>>16), byte(t>>8), byte(t), byte(n>>16), byte(n>>8), byte(n), kind)
	b = binary.LittleEndian.AppendUint32(b, stream)
	for {
		if t == extended {
			b = binary.BigEndian.AppendUint32(b, timestamp)
		}
		k := min(len(payload), size)
		b = append(b, payload[:k]...)
		if payload = payload[k:]; len(payload) == 0 {
			return b
		}
		b = append(b, 0xC0|chunk)
	}
}
