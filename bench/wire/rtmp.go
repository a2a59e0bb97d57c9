package wire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What publishers and players ask RTMP servers for.
const (
	RTMPApp    = "live"
	RTMPStream = "bench"
)

// ChunkSize is that of what we send.
const ChunkSize = 4096

// Chunk streams of what we send: which is which is up to the sender.
const (
	onControl  = 2
	onCommands = 3
	onMedia    = 6
)

// answerTime is how long a server may take for each answer.
const answerTime = 5 * time.Second

// An RTMP is a client's connection to a server on the loopback (Adobe RTMP
// 1.0). Make it with Publish or Play.
type RTMP struct {
	conn   *net.TCPConn
	fd     int
	chunks *chunks
	stream uint32 // the message stream that was created
	out    []byte
	// The server wants to hear of every window of bytes that arrived.
	window, received, told uint32
	control                [64]byte
}

// Publish connects to a server and begins a stream, which Send then sends.
func Publish(ctx context.Context, port int) (*RTMP, error) {
	return dial(ctx, port, "NetStream.Publish.Start", "publish", 3.0, nil, RTMPStream, "live")
}

// Play connects to a server and asks for the stream, which Poll then receives.
func Play(ctx context.Context, port int) (*RTMP, error) {
	return dial(ctx, port, "NetStream.Play.Start", "play", 3.0, nil, RTMPStream)
}

// dial connects to a server's application and sends a command there.
func dial(ctx context.Context, port int, want string, command ...any) (*RTMP, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := &RTMP{conn: conn.(*net.TCPConn), chunks: newChunks()}
	err = c.open(port)
	if err == nil {
		_, err = c.ask(want, onMedia, c.stream, command...)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *RTMP) open(port int) error {
	c.fd = Descriptor(c.conn)
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if err := c.greet(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	b := appendMessage(nil, ChunkSize, onControl, setChunkSize, 0, 0, binary.BigEndian.AppendUint32(nil, ChunkSize))
	if _, err := c.conn.Write(b); err != nil {
		return err
	}
	url := fmt.Sprintf("rtmp://127.0.0.1:%d/%s", port, RTMPApp)
	connect := []property{{"app", RTMPApp}, {"type", "nonprivate"}, {"flashVer", "LNX 9,0,124,2"}, {"tcUrl", url}}
	if _, err := c.ask("_result", onCommands, 0, "connect", 1.0, connect); err != nil {
		return err
	}
	answer, err := c.ask("_result", onCommands, 0, "createStream", 2.0, nil)
	if err != nil {
		return err
	}
	id, ok := lastNumber(answer)
	if !ok {
		return errors.New("createStream: the answer has no number")
	}
	c.stream = uint32(id)
	return nil
}

// greet shakes hands (section 5.2): a version, 1,536 bytes each way, and
// those of the other side back.
func (c *RTMP) greet() error {
	const size = 1536
	c.limit()
	hello := make([]byte, 1+size)
	hello[0] = 3
	_, _ = rand.Read(hello[9:])
	if _, err := c.conn.Write(hello); err != nil {
		return err
	}
	theirs := make([]byte, 1+2*size)
	if _, err := io.ReadFull(c.conn, theirs); err != nil {
		return err
	}
	_, err := c.conn.Write(theirs[1 : 1+size])
	return err
}

// limit sets the time until which a server must have answered.
func (c *RTMP) limit() { _ = c.conn.SetDeadline(time.Now().Add(answerTime)) }

// ask sends a command and waits for its answer, a command of the name want or
// a status of that code. It returns what follows the answer's name.
func (c *RTMP) ask(want string, chunk byte, stream uint32, values ...any) (answer []byte, err error) {
	c.limit()
	defer func() { _ = c.conn.SetDeadline(time.Time{}) }()
	if _, err := c.conn.Write(appendMessage(nil, ChunkSize, chunk, commands, stream, 0, amf(values...))); err != nil {
		return nil, fmt.Errorf("%v: %w", values[0], err)
	}
	b := make([]byte, 8192)
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", values[0], err)
		}
		var refused error
		err = c.feed(b[:n], func(m Message) {
			if m.Type != commands || answer != nil {
				return // media may have begun, which counts later
			}
			name, rest := command(m.Payload)
			switch {
			case name == "_error", find(rest, "level") == "error":
				refused = fmt.Errorf("refused: %s %s", find(rest, "code"), find(rest, "description"))
			case name == want, find(rest, "code") == want:
				answer = append([]byte{}, rest...)
			}
		})
		if err = errors.Join(err, refused); err != nil {
			return nil, fmt.Errorf("%v: %w", values[0], err)
		}
		if answer != nil {
			return answer, nil
		}
	}
}

// Send sends a message with one system call. It waits while the server does
// not read.
func (c *RTMP) Send(kind byte, timestamp uint32, payload []byte) error {
	c.out = appendMessage(c.out[:0], ChunkSize, onMedia, kind, c.stream, timestamp, payload)
	_, err := c.conn.Write(c.out)
	return err
}

// SendMetadata sends what a stream says of itself.
func (c *RTMP) SendMetadata() error {
	return c.Send(Metadata, 0, amf("@setDataFrame", "onMetaData", []property{{"encoder", "bench"}}))
}

// Poll hands over the messages that have come, without waiting. at is when the
// kernel received the end of what a message was read with, in nanoseconds
// since 1970.
func (c *RTMP) Poll(buffer []byte, take func(m Message, at int64)) error {
	for {
		n, at, err := c.receive(buffer)
		if n == 0 || err != nil {
			return err
		}
		// Acknowledged at once, as TCP does where a frame is many segments: on
		// the loopback it is one, which would wait 40 ms, and the server's
		// next one with it.
		if err := unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := c.feed(buffer[:n], func(m Message) { take(m, at) }); err != nil {
			return err
		}
		if n < len(buffer) {
			return nil
		}
	}
}

// receive reads what is there; n is 0 where there is nothing.
func (c *RTMP) receive(buffer []byte) (n int, at int64, err error) {
	n, oob, _, _, err := unix.Recvmsg(c.fd, buffer, c.control[:], unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, 0, nil
	case err != nil:
		return 0, 0, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return 0, 0, io.EOF
	}
	if at = timestamp(c.control[:oob]); at == 0 {
		at = time.Now().UnixNano()
	}
	return n, at, nil
}

// feed hands over messages, but for those that only keep a connection going,
// and tells the server what has arrived.
func (c *RTMP) feed(b []byte, take func(Message)) error {
	const pingRequest, pingResponse = 6, 7
	c.received += uint32(len(b))
	var reply []byte
	err := c.chunks.feed(b, func(m Message) {
		switch {
		case m.Type == windowSize && len(m.Payload) == 4:
			c.window = binary.BigEndian.Uint32(m.Payload)
		case m.Type == userControl && len(m.Payload) == 6 && m.Payload[1] == pingRequest:
			pong := append([]byte{0, pingResponse}, m.Payload[2:]...)
			reply = appendMessage(reply, ChunkSize, onControl, userControl, 0, 0, pong)
		default:
			take(m)
		}
	})
	// Players do so twice in a window (section 5.4.3 asks for once).
	if c.window > 0 && c.received-c.told >= c.window/2 {
		c.told = c.received
		reply = appendMessage(reply, ChunkSize, onControl, acknowledgement, 0, 0, binary.BigEndian.AppendUint32(nil, c.received))
	}
	if err == nil && reply != nil {
		_, err = c.conn.Write(reply)
	}
	return err
}

// Abort makes Send fail, even one that waits.
func (c *RTMP) Abort() { _ = c.conn.SetWriteDeadline(time.Unix(1, 0)) }

// Close ends the connection. It is for whoever calls Send and Poll.
func (c *RTMP) Close() { c.conn.Close() }
