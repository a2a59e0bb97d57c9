package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAMF(t *testing.T) {
	b := amf("connect", 1.0, nil, []property{{"app", "live"}, {"code", "a.b"}}, 2.5)
	want := "\x02\x00\x07connect" + "\x00\x3f\xf0\x00\x00\x00\x00\x00\x00" + "\x05" +
		"\x03\x00\x03app\x02\x00\x04live\x00\x04code\x02\x00\x03a.b\x00\x00\x09" + "\x00\x40\x04\x00\x00\x00\x00\x00\x00"
	if string(b) != want {
		t.Errorf("%q\nwant %q", b, want)
	}
	if name, rest := command(b); name != "connect" || find(rest, "code") != "a.b" || find(rest, "none") != "" {
		t.Errorf("%q: %q, %q", name, find(rest, "code"), find(rest, "none"))
	}
	if n, ok := lastNumber(b); n != 2.5 || !ok {
		t.Errorf("%v, %v", n, ok)
	}
	for n := range b { // cut off anywhere
		_, rest := command(b[:n])
		find(rest, "code")
		lastNumber(b[:n])
	}
}

// received feeds b in pieces of n bytes, and returns the messages as text.
func received(t *testing.T, b []byte, n int) (all []string) {
	t.Helper()
	c := newChunks()
	for part := range slices.Chunk(b, n) {
		if err := c.feed(part, func(m Message) { all = append(all, fmt.Sprintf("%d:%s", m.Type, m.Payload)) }); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestChunks(t *testing.T) {
	long := strings.Repeat("0123456789", 50)
	setSize := binary.BigEndian.AppendUint32(nil, 200)
	for name, c := range map[string]struct {
		stream []byte
		want   []string
	}{
		"whole": {appendMessage(nil, 128, 3, 9, 1, 0, []byte("short")), []string{"9:short"}},
		"empty": {appendMessage(nil, 128, 3, 9, 1, 0, nil), []string{"9:"}},
		"cut":   {appendMessage(nil, 128, 3, 9, 1, 0, []byte(long)), []string{"9:" + long}},
		"chunk size": {
			slices.Concat(appendMessage(nil, 128, 2, setChunkSize, 0, 0, setSize), appendMessage(nil, 200, 3, 9, 1, 5, []byte(long))),
			[]string{"9:" + long},
		},
		"long timestamp":           {appendMessage(nil, 128, 3, 9, 1, extended, []byte(long)), []string{"9:" + long}},
		"longer timestamp, in all": {appendMessage(nil, 128, 3, 9, 1, 1<<31, []byte(long)), []string{"9:" + long}},
		"headers of every format": {
			[]byte("\x04\x00\x00\x01\x00\x00\x03\x08\x01\x00\x00\x00abc" + "\x44\x00\x00\x01\x00\x00\x02\x09de" + "\x84\x00\x00\x02fg" + "\xC4hi"),
			[]string{"8:abc", "9:de", "9:fg", "9:hi"},
		},
		"longer chunk stream ids": {
			[]byte("\x00\x01\x00\x00\x00\x00\x00\x01\x08\x01\x00\x00\x00a" + "\x01\x01\x01\x00\x00\x00\x00\x00\x01\x09\x01\x00\x00\x00b" + "\xC0\x01c" + "\xC1\x01\x01d"),
			[]string{"8:a", "9:b", "8:c", "9:d"},
		},
		"in between": {
			[]byte("\x04\x00\x00\x01\x00\x00\x82\x08\x01\x00\x00\x00" + long[:128] + "\x05\x00\x00\x01\x00\x00\x01\x09\x01\x00\x00\x00x" + "\xC4" + long[128:130]),
			[]string{"9:x", "8:" + long[:130]},
		},
	} {
		for _, n := range []int{1, 7, 10_000} {
			if got := received(t, c.stream, n); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d bytes at a time: %q", name, n, got)
			}
		}
	}
}

func TestChunksRefuse(t *testing.T) {
	for name, b := range map[string]string{
		"no full header first": "\xC4abc",
		"too long":             "\x04\x00\x00\x01\xFF\xFF\xFF\x08\x01\x00\x00\x00",
		"chunks of nothing":    "\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		"shorter than it was":  "\x04\x00\x00\x01\x00\x00\x82\x08\x01\x00\x00\x00" + strings.Repeat("a", 128) + "\x44\x00\x00\x01\x00\x00\x02\x09",
	} {
		if newChunks().feed([]byte(b), func(Message) {}) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzChunks(f *testing.F) {
	f.Add(appendMessage(nil, 128, 3, 9, 1, 1<<31, bytes.Repeat([]byte("payload"), 100)), 10)
	f.Add([]byte("\x04\x00\x00\x01\x00\x00\x03\x08\x01\x00\x00\x00abc\xC4def"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		read := func(n int) (messages [][]byte) {
			c := newChunks()
			for part := range slices.Chunk(b, max(n, 1)) {
				if c.feed(part, func(m Message) { messages = append(messages, bytes.Clone(m.Payload)) }) != nil {
					break
				}
			}
			return messages
		}
		if !slices.EqualFunc(read(n), read(len(b)), bytes.Equal) {
			t.Error("how it is cut makes a difference")
		}
	})
}

// A server answers each of a client's commands with messages.
type server struct {
	port   int
	said   chan Message  // all but commands
	conn   chan net.Conn // the client's
	answer map[string][]byte
}

// serve serves one client.
func serve(t *testing.T, answer map[string][]byte) *server {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{port: l.Addr().(*net.TCPAddr).Port, said: make(chan Message, 16), conn: make(chan net.Conn, 1), answer: answer}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		s.conn <- conn
		_ = s.talk(conn)
	}()
	return s
}

func (s *server) talk(conn net.Conn) error {
	hello := make([]byte, 1537)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return err
	}
	if _, err := conn.Write(slices.Concat([]byte{3}, make([]byte, 1536), hello[1:])); err != nil {
		return err
	}
	back := make([]byte, 1536)
	if _, err := io.ReadFull(conn, back); err != nil || !bytes.Equal(back, make([]byte, 1536)) {
		return errors.New("not what was sent")
	}
	c, b := newChunks(), make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		err = c.feed(b[:n], func(m Message) {
			if m.Type != commands {
				s.said <- Message{m.Type, bytes.Clone(m.Payload)}
				return
			}
			name, _ := command(m.Payload)
			_, _ = conn.Write(s.answer[name])
		})
		if err != nil {
			return err
		}
	}
}

// next returns the next message of a type that the client said.
func (s *server) next(t *testing.T, kind byte) []byte {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case m := <-s.said:
			if m.Type == kind {
				return m.Payload
			}
		case <-late:
			t.Fatalf("no message of type %d", kind)
		}
	}
}

func says(values ...any) []byte { return appendMessage(nil, 128, 3, commands, 0, 0, amf(values...)) }

// accepting are the answers of a server that takes a player.
func accepting() map[string][]byte {
	return map[string][]byte{
		"connect":      says("_result", 1.0, nil, []property{{"level", "status"}, {"code", "NetConnection.Connect.Success"}}),
		"createStream": says("_result", 2.0, nil, 1.0),
		"play": slices.Concat(
			says("onStatus", 0.0, nil, []property{{"level", "status"}, {"code", "NetStream.Play.Reset"}}),
			says("onStatus", 0.0, nil, []property{{"level", "status"}, {"code", "NetStream.Play.Start"}}),
		),
	}
}

// A player receives what a server sends, and says what keeps a connection up.
func TestPlay(t *testing.T) {
	answer := accepting()
	answer["play"] = slices.Concat(answer["play"],
		appendMessage(nil, 128, 2, windowSize, 0, 0, binary.BigEndian.AppendUint32(nil, 20_000)),
		appendMessage(nil, 128, 2, userControl, 0, 0, []byte{0, 6, 1, 2, 3, 4}),
		appendMessage(nil, 128, 4, Video, 1, 0, bytes.Repeat([]byte("v"), 30_000)),
	)
	s := serve(t, answer)
	before := time.Now()
	c, err := Play(t.Context(), s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buffer, frame := make([]byte, 1000), 0
	for deadline := time.Now().Add(10 * time.Second); frame == 0 && time.Now().Before(deadline); {
		err := c.Poll(buffer, func(m Message, at int64) {
			if m.Type == Video {
				frame = len(m.Payload)
			}
			if d := time.Unix(0, at).Sub(before); d < -time.Second || d > 20*time.Second {
				t.Errorf("it came %v after the beginning", d)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if frame != 30_000 {
		t.Fatalf("a frame of %d bytes", frame)
	}
	if pong := s.next(t, userControl); !bytes.Equal(pong, []byte{0, 7, 1, 2, 3, 4}) {
		t.Errorf("the answer to a ping is %x", pong)
	}
	if n := binary.BigEndian.Uint32(s.next(t, acknowledgement)); n < 10_000 || n > 40_000 {
		t.Errorf("%d bytes are acknowledged", n)
	}
}

func TestPlayEnds(t *testing.T) {
	s := serve(t, accepting())
	c, err := Play(t.Context(), s.port)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Poll(make([]byte, 100), func(Message, int64) {}); err != nil {
		t.Errorf("nothing has come: %v", err)
	}
	defer c.Close()
	(<-s.conn).Close()
	for deadline := time.Now().Add(10 * time.Second); err == nil; {
		if time.Now().After(deadline) {
			t.Fatal("a connection that is gone is read")
		}
		err = c.Poll(make([]byte, 100), func(Message, int64) {})
	}
}

// A server that reads nothing holds a publisher up, but not its end.
func TestAbort(t *testing.T) {
	answer := accepting()
	answer["publish"] = says("onStatus", 0.0, nil, []property{{"level", "status"}, {"code", "NetStream.Publish.Start"}})
	s := serve(t, answer)
	c, err := Publish(t.Context(), s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	failed := make(chan error)
	go func() {
		for err := error(nil); ; err = c.Send(Video, 0, make([]byte, 1<<20)) {
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for len(s.said) < cap(s.said) { // then it waits for somebody to take them
		<-time.After(time.Millisecond)
	}
	c.Abort()
	select {
	case <-failed:
	case <-time.After(10 * time.Second):
		t.Error("still sending")
	}
}

func TestRefusal(t *testing.T) {
	answer := accepting()
	answer["publish"] = says("onStatus", 0.0, nil, []property{{"level", "error"}, {"code", "NetStream.Publish.BadName"}, {"description", "taken"}})
	if _, err := Publish(t.Context(), serve(t, answer).port); err == nil || !strings.Contains(err.Error(), "publish: refused: NetStream.Publish.BadName taken") {
		t.Errorf("%v", err)
	}
	answer["connect"] = says("_error", 1.0, nil, []property{{"code", "NetConnection.Connect.Rejected"}})
	if _, err := Play(t.Context(), serve(t, answer).port); err == nil || !strings.Contains(err.Error(), "connect: refused: NetConnection.Connect.Rejected") {
		t.Errorf("%v", err)
	}
	// One that says nothing is left when the time is over.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Play(ctx, serve(t, nil).port); err == nil {
		t.Error("connected to a server that says nothing")
	}
}
