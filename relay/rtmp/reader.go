package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// The sizes that a peer may make us keep.
const (
	defaultChunkSize = 128      // until the peer sets another (section 5.4.1)
	mostChunkStreams = 32       // in one connection: programs use fewer than ten
	firstGrowth      = 64 << 10 // memory for a message before its bytes are there
)

// limits bound what a connection may send.
type limits struct {
	message int // bytes of a message
	held    int // bytes of messages that are not complete
}

var (
	// stranger is what a peer may send before it is known to be welcome.
	stranger = limits{message: 16 << 10, held: 32 << 10}
	// source is what a publisher may send, or a server that we play from. A key
	// frame at 100 Mbit/s has about 3 MB.
	source = limits{message: 6 << 20, held: 7 << 20}
)

// Why a connection is not gone on with: its other end does not keep to the
// protocol, or sends more than it may.
var (
	errTooLong      = errors.New("a message is too long")
	errHeld         = errors.New("too many messages are begun and not ended")
	errChunkStreams = errors.New("there are too many chunk streams")
	errChunk        = errors.New("the chunk stream is damaged")
)

// A message is what chunks were put together to (section 6.1).
type message struct {
	kind   rtmpmsg.TypeID
	stream uint32 // message stream
	time   uint32 // ms, wraps
	data   []byte // the receiver's to keep
}

// A chunkStream is one of the sequences of messages in a connection.
type chunkStream struct {
	message
	known    bool   // there has been a header
	delta    uint32 // ms, for a header without a time
	extended bool   // its headers end with a time of four bytes
	long     uint32 // that time
	length   int
	pending  bool // a message has begun
}

// A reader takes a connection apart into messages (Adobe RTMP 1.0, section 5.3).
type reader struct {
	src     *bufio.Reader
	limits  limits
	size    int // of a chunk, at most
	streams map[uint32]*chunkStream
	held    int          // bytes that incomplete messages have memory for
	count   uint64       // bytes so far
	idle    func()       // called before more bytes are waited for; nil: nothing is
	each    func() error // called after each chunk; nil: nothing is
}

func newReader(src *bufio.Reader) *reader {
	return &reader{src: src, limits: stranger, size: defaultChunkSize, streams: make(map[uint32]*chunkStream)}
}

// next returns the next message. What concerns chunks alone is dealt with here.
func (r *reader) next() (message, error) {
	for {
		m, whole, err := r.chunk()
		if err == nil && r.each != nil {
			err = r.each()
		}
		switch {
		case err != nil:
			return message{}, err
		case !whole:
			continue
		}
		own, err := r.obey(m)
		if err != nil || !own {
			return m, err
		}
	}
}

// obey does what a message says about the chunks that follow (section 5.4.1
// and 5.4.2).
func (r *reader) obey(m message) (own bool, err error) {
	if m.kind != rtmpmsg.TypeIDSetChunkSize && m.kind != rtmpmsg.TypeIDAbortMessage {
		return false, nil
	}
	c, err := decodeControl(m)
	if err != nil { // of go-rtmp's own, or the end of a message that is too short
		return true, fmt.Errorf("%w: %v", errChunk, err)
	}
	switch c := c.(type) {
	case *rtmpmsg.SetChunkSize:
		// No message is longer, so that a larger size says nothing more.
		r.size = int(min(c.ChunkSize, maxUint24))
	case *rtmpmsg.AbortMessage:
		if s := r.streams[c.ChunkStreamID]; s != nil {
			r.drop(s)
		}
	}
	return true, nil
}

// chunk reads one chunk. whole tells that it completes a message.
func (r *reader) chunk() (m message, whole bool, err error) {
	format, s, err := r.basicHeader()
	if err != nil {
		return m, false, err
	}
	if err := r.messageHeader(s, format); err != nil {
		return m, false, err
	}
	if !s.pending {
		if s.length > r.limits.message {
			return m, false, fmt.Errorf("%w: %d bytes, %d are taken", errTooLong, s.length, r.limits.message)
		}
		s.pending, s.data = true, nil
	}
	if err := r.payload(s, min(s.length-len(s.data), r.size)); err != nil {
		return m, false, err
	}
	if len(s.data) < s.length {
		return m, false, nil
	}
	m = s.message
	r.drop(s)
	return m, true, nil
}

// drop forgets the message that a chunk stream has begun.
func (r *reader) drop(s *chunkStream) {
	r.held -= cap(s.data)
	s.pending, s.data = false, nil
}

// basicHeader reads the first one to three bytes (section 5.3.1.1).
func (r *reader) basicHeader() (format byte, s *chunkStream, err error) {
	b, err := r.byte()
	if err != nil {
		return 0, nil, err
	}
	format = b >> 6
	id := uint32(b & 0x3F)
	if id < 2 {
		low, err := r.byte()
		if err != nil {
			return 0, nil, cut(err)
		}
		wide := id == 1
		if id = 64 + uint32(low); wide {
			high, err := r.byte()
			if err != nil {
				return 0, nil, cut(err)
			}
			id += uint32(high) << 8
		}
	}
	if s = r.streams[id]; s == nil {
		if len(r.streams) >= mostChunkStreams {
			return 0, nil, fmt.Errorf("%w: %d are taken", errChunkStreams, mostChunkStreams)
		}
		s = &chunkStream{}
		r.streams[id] = s
	}
	return format, s, nil
}

// maxUint24 is the longest message, and the time that says that there is a
// longer one behind it.
const maxUint24 = 0xFFFFFF

// messageHeader reads what follows (sections 5.3.1.2 and 5.3.1.3).
func (r *reader) messageHeader(s *chunkStream, format byte) error {
	if format == 3 {
		return r.repeated(s)
	}
	if format != 0 && !s.known {
		return fmt.Errorf("%w: it begins with a header of type %d", errChunk, format)
	}
	size := [...]int{11, 7, 3}[format]
	h, err := r.peek(size)
	if err != nil {
		return err
	}
	r.drop(s) // of one that was begun there is no more
	s.known = true
	time := uint24(h)
	if format < 2 {
		s.length, s.kind = int(uint24(h[3:])), rtmpmsg.TypeID(h[6])
	}
	if format == 0 {
		s.stream = binary.LittleEndian.Uint32(h[7:])
	}
	r.discard(size)
	if s.extended = time == maxUint24; s.extended {
		h, err := r.peek(4)
		if err != nil {
			return err
		}
		time = binary.BigEndian.Uint32(h)
		s.long = time
		r.discard(4)
	}
	if format == 0 {
		s.time, s.delta = time, 0
	} else {
		s.delta = time
		s.time += time
	}
	return nil
}

// repeated reads a header of type 3. It has nothing but the longer time, where
// the header before had one; not all programs repeat it, so that it is only
// taken where it is the same. A message that begins so, after a header of type
// 0, is taken to have the same time: to add that time to itself, as the letter
// of section 5.3.1.2.4 has it, is what nobody means.
func (r *reader) repeated(s *chunkStream) error {
	if !s.known {
		return fmt.Errorf("%w: it begins with a header of type 3", errChunk)
	}
	if !s.pending {
		s.time += s.delta
	}
	if !s.extended {
		return nil
	}
	h, err := r.peek(4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(h) == s.long {
		r.discard(4)
	}
	return nil
}

// payload reads n bytes of a message. Its memory grows with what has come, so
// that a length alone costs nothing.
func (r *reader) payload(s *chunkStream, n int) error {
	have := len(s.data)
	if need := have + n; need > cap(s.data) {
		size := max(need, min(s.length, max(firstGrowth, 4*have)))
		if r.held += size - cap(s.data); r.held > r.limits.held {
			return fmt.Errorf("%w: %d bytes, %d are taken", errHeld, r.held, r.limits.held)
		}
		grown := make([]byte, have, size)
		copy(grown, s.data)
		s.data = grown
	}
	s.data = s.data[:have+n]
	r.expect(n)
	read, err := io.ReadFull(r.src, s.data[have:])
	r.count += uint64(read)
	return cut(err)
}

// expect tells idle where the next n bytes are not there yet.
func (r *reader) expect(n int) {
	if r.idle != nil && r.src.Buffered() < n {
		r.idle()
	}
}

func (r *reader) byte() (byte, error) {
	r.expect(1)
	b, err := r.src.ReadByte()
	if err == nil {
		r.count++
	}
	return b, err
}

// peek returns the next n bytes, until they are discarded.
func (r *reader) peek(n int) ([]byte, error) {
	r.expect(n)
	b, err := r.src.Peek(n)
	return b, cut(err)
}

func (r *reader) discard(n int) {
	_, _ = r.src.Discard(n) // they are there
	r.count += uint64(n)
}

// cut tells an end within a message from one between two.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
