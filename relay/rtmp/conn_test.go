package rtmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/gate"
)

// ends returns both ends of a connection that have shaken hands.
func ends(t testing.TB) (near, far *conn) {
	t.Helper()
	near, other := pipe(t)
	far = newConn(newLink(other))
	for _, c := range []*conn{near, far} {
		c.widen()
		_ = c.link.tcp.SetDeadline(time.Now().Add(patience))
	}
	return near, far
}

// hearing has a connection read until it ends, and hands over what it returns.
func hearing(c *conn) <-chan []message {
	done := make(chan []message, 1)
	go func() {
		var all []message
		for {
			m, err := c.next()
			if err != nil {
				done <- all
				return
			}
			all = append(all, m)
		}
	}()
	return done
}

func control(m rtmpmsg.Message) []byte { return appendMessage(nil, defaultChunkSize, encodeControl(m)) }

// TestAcknowledgements: a peer that names a window hears of every half of it.
func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	const window, size, n = 10_000, 1000, 100
	near, far := ends(t)
	done := hearing(near)
	b := control(&rtmpmsg.WinAckSize{Size: window})
	for range n {
		b = appendMessage(b, defaultChunkSize, message{kind: video, data: make([]byte, size)})
	}
	if _, err := far.link.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = far.link.tcp.CloseWrite()
	if all := <-done; len(all) != n {
		t.Errorf("%d messages", len(all))
	}
	_ = near.link.tcp.CloseWrite()
	// Those are of no interest to far itself: they are read by their bytes.
	raw, err := io.ReadAll(far.link.tcp)
	if err != nil {
		t.Fatal(err)
	}
	const ack = headerSize + 4
	if len(raw)%ack != 0 {
		t.Fatalf("%d bytes", len(raw))
	}
	var last uint32
	for chunk := range slices.Chunk(raw, ack) {
		at := binary.BigEndian.Uint32(chunk[headerSize:])
		if chunk[0] != onControl || chunk[7] != byte(rtmpmsg.TypeIDAck) || at < last+window/2 || at > last+window/2+2*size {
			t.Errorf("after %d: % x", last, chunk)
		}
		last = at
	}
	if rest := uint32(len(b)) - last; rest > window/2+2*size {
		t.Errorf("nothing is said of the last %d bytes", rest)
	}
}

// TestAcknowledgementsWithinAMessage: a peer that sends no more than its window
// ahead is heard in the midst of a message that is longer.
func TestAcknowledgementsWithinAMessage(t *testing.T) {
	t.Parallel()
	near, far := ends(t)
	done := hearing(near)
	b := control(&rtmpmsg.WinAckSize{Size: 2000})
	b = appendMessage(b, defaultChunkSize, message{kind: video, data: make([]byte, 10_000)})
	if _, err := far.link.Write(b[:3000]); err != nil {
		t.Fatal(err)
	}
	_ = far.link.tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
	if m, err := far.in.next(); err != nil || m.kind != rtmpmsg.TypeIDAck {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := far.link.Write(b[3000:]); err != nil {
		t.Fatal(err)
	}
	_ = far.link.tcp.CloseWrite()
	if all := <-done; len(all) != 1 || len(all[0].data) != 10_000 {
		t.Errorf("%d messages", len(all))
	}
}

// TestNoWindow: who names none hears nothing.
func TestNoWindow(t *testing.T) {
	t.Parallel()
	for _, size := range []int32{0, -1} {
		near, far := ends(t)
		done := hearing(near)
		b := control(&rtmpmsg.WinAckSize{Size: 1000})
		b = append(b, control(&rtmpmsg.WinAckSize{Size: size})...)
		b = appendMessage(b, defaultChunkSize, message{kind: video, data: make([]byte, 100_000)})
		if _, err := far.link.Write(b); err != nil {
			t.Fatal(err)
		}
		_ = far.link.tcp.CloseWrite()
		<-done
		_ = near.link.tcp.CloseWrite()
		if raw, err := io.ReadAll(far.link.tcp); err != nil || len(raw) != 0 {
			t.Errorf("a window of %d: % x, %v", size, raw, err)
		}
	}
}

// TestAnswers are given to what a peer asks of the connection, and to nothing
// else.
func TestAnswers(t *testing.T) {
	t.Parallel()
	ping := func(n uint32) []byte {
		return control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingRequest{Timestamp: n}})
	}
	event := func(b ...byte) []byte {
		return appendMessage(nil, defaultChunkSize, message{kind: rtmpmsg.TypeIDUserCtrl, data: b})
	}
	for _, c := range []struct {
		name        string
		says, hears []byte
	}{
		{"pings", append(ping(7), ping(1<<32-1)...), append(
			control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingResponse{Timestamp: 7}}),
			control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingResponse{Timestamp: 1<<32 - 1}})...)},
		{"a bandwidth", control(&rtmpmsg.SetPeerBandwidth{Size: 5000, Limit: rtmpmsg.LimitTypeHard}), control(&rtmpmsg.WinAckSize{Size: 5000})},
		{"an acknowledgement", control(&rtmpmsg.Ack{SequenceNumber: 5}), nil},
		{"other events", slices.Concat(
			control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventStreamBegin{StreamID: 1}}),
			control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingResponse{Timestamp: 1}}),
			event(0, 31, 0, 0, 0, 0), event(0, 32), event(), event(9)), nil},
		{"half a ping", event(0, 6, 0), nil},
		{"half a window", appendMessage(nil, defaultChunkSize, message{kind: rtmpmsg.TypeIDWinAckSize, data: []byte{0, 1}}), nil},
	} {
		near, far := ends(t)
		done := hearing(near)
		if _, err := far.link.Write(append(c.says, control(&rtmpmsg.Ack{})...)); err != nil {
			t.Fatal(err)
		}
		_ = far.link.tcp.CloseWrite()
		if all := <-done; len(all) != 0 {
			t.Errorf("%s: it is handed on: %+v", c.name, all)
		}
		_ = near.link.tcp.CloseWrite()
		if raw, err := io.ReadAll(far.link.tcp); err != nil || !bytes.Equal(raw, c.hears) {
			t.Errorf("%s: it hears % x, %v", c.name, raw, err)
		}
	}
}

// TestAnswersAreBounded: what waits for who sends media is no more than a peer
// may ask for without reading.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	near, far := ends(t)
	nudged := 0
	near.hold(func() { nudged++ })
	ended := make(chan error, 1)
	go func() {
		_, err := near.next()
		ended <- err
	}()
	pings := bytes.Repeat(control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingRequest{}}), 100)
	for range 100 {
		if _, err := far.link.Write(pings); err != nil {
			break
		}
	}
	if err := <-ended; !errors.Is(err, errAnswers) {
		t.Errorf("it ends with %v", err)
	}
	if n := len(near.waiting()); n < mostAnswer || n > mostAnswer+100 || nudged == 0 {
		t.Errorf("%d bytes wait, of which was told %d times", n, nudged)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	const id = 5
	result := call(0, "_result", id, nil, 7)
	fault := call(0, "_error", id, nil, status{"error", "No", "no"})
	started := onStatus(1, status{"status", "Start", "go"})
	refused := onStatus(1, status{"error", "No", "no"})
	data := func(n byte) message { return message{kind: amf0Data, data: []byte{n}} }
	frame := message{kind: video, time: 3, data: []byte{3}}
	for _, c := range []struct {
		name   string
		code   string
		says   []message
		answer string // command
		ok     bool
		kept   []message
		err    error
	}{
		{"result", "", []message{result}, "_result", true, nil, nil},
		{"result of AMF3", "", []message{{kind: amf3Command, data: append([]byte{0}, result.data...)}}, "_result", true, nil, nil},
		{"error", "", []message{fault}, "_error", true, nil, nil},
		{"that of another call before", "", []message{call(0, "_result", 4, nil, 9), call(0, "_error", 4, nil), result}, "_result", true, nil, nil},
		{"statuses before", "", []message{started, call(0, "onBWDone", 0), result}, "_result", true, nil, nil},
		{"an error status instead", "", []message{refused}, "onStatus", true, nil, nil},
		{"media before, which is not kept", "", []message{data(1), frame, result}, "_result", true, nil, nil},
		{"status", "Start", []message{started}, "onStatus", true, nil, nil},
		{"a result before a status", "Start", []message{result, started}, "onStatus", true, nil, nil},
		{"another status before", "Start", []message{onStatus(1, status{"status", "Reset", "x"}), started}, "onStatus", true, nil, nil},
		{"an error status", "Start", []message{refused}, "onStatus", true, nil, nil},
		{"an error instead of a status", "Start", []message{fault}, "_error", true, nil, nil},
		{"the error of another call", "Start", []message{call(0, "_error", 4, nil), started}, "onStatus", true, nil, nil},
		{"data before a status", "Start", []message{data(1), data(2), started}, "onStatus", true, []message{data(1), data(2)}, nil},
		{"media instead of a status", "Start", []message{data(1), frame}, "", false, []message{data(1), frame}, nil},
		{"a command that is none", "", []message{{kind: amf0Command, data: []byte{9}}}, "", false, nil, errCommand},
		{"nothing", "", nil, "", false, nil, io.EOF},
		{"much and no answer", "", slices.Repeat([]message{call(0, "onBWDone", 0)}, mostAnswers), "", false, nil, errNoAnswer},
		{"an answer at last", "", append(slices.Repeat([]message{call(0, "onBWDone", 0)}, mostAnswers-1), result), "_result", true, nil, nil},
	} {
		near, far := ends(t)
		for _, m := range c.says {
			if _, err := far.link.Write(appendMessage(nil, far.size, m)); err != nil {
				t.Fatal(err)
			}
		}
		last := message{kind: video, data: []byte("last")}
		if c.err == nil {
			_, _ = far.link.Write(appendMessage(nil, far.size, last))
		}
		_ = far.link.tcp.CloseWrite()
		answer, ok, err := near.request(call(0, "x", id, nil), id, c.code)
		if ok != c.ok || c.ok && answer.name != c.answer || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %+v, %v, %v", c.name, answer, ok, err)
		}
		if c.err != nil {
			continue
		}
		for _, want := range append(c.kept, last) {
			if m, err := near.next(); err != nil || m.kind != want.kind || m.time != want.time || !bytes.Equal(m.data, want.data) {
				t.Errorf("%s: then comes %+v, %v; want %+v", c.name, m, err, want)
			}
		}
	}
}

// TestHandshakes shakes hands with peers that do it in different ways.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	for version, ok := range map[byte]bool{0: false, 2: false, 3: true, 6: true, 31: true, 32: false, 'G': false, 0xFF: false} {
		near, far := ends(t)
		b := shaken()
		b[0] = version
		for i := range b[1:1537] {
			b[1+i] = byte(i * 7)
		}
		if _, err := far.link.Write(b); err != nil {
			t.Fatal(err)
		}
		err := near.greet()
		if (err == nil) != ok || !ok && !errors.Is(err, errVersion) {
			t.Errorf("version %d: %v", version, err)
		}
		if !ok {
			continue
		}
		got := make([]byte, 1+2*1536)
		if _, err := io.ReadFull(far.link.tcp, got); err != nil || got[0] != 3 {
			t.Errorf("version %d is answered with %d, %v", version, got[0], err)
		}
		echo := got[1537:]
		if !bytes.Equal(echo[:4], b[1:5]) || !bytes.Equal(echo[8:], b[9:1537]) {
			t.Errorf("version %d: what it sent is not echoed", version)
		}
	}
	near, far := ends(t)
	done := make(chan error, 1)
	go func() { done <- near.greet() }()
	if err := errors.Join(far.introduce(), <-done); err != nil {
		t.Errorf("both ends are ours: %v", err)
	}
}

// TestEndOfSession: the first cause counts, and whether there is time to say
// goodbye.
func TestEndOfSession(t *testing.T) {
	t.Parallel()
	near, _ := ends(t)
	s := newSession(near)
	s.End(gate.ErrKicked)
	s.End(context.Canceled)
	if err := s.over(io.EOF); err != gate.ErrKicked || !s.Gone() {
		t.Errorf("it ended with %v", err)
	}
	near, far := ends(t)
	s = newSession(near)
	waits := make(chan error, 1)
	go func() {
		_, err := near.next()
		waits <- err
	}()
	s.End(context.Canceled)
	if err := <-waits; broken(err) != endpoint.ErrPeerSilent {
		t.Errorf("a read that waits ends with %v", err)
	}
	if err := near.answer(call(0, "goodbye", 0)); err != nil {
		t.Errorf("there is no time to say goodbye: %v", err)
	}
	if m, err := far.next(); err != nil || m.kind != amf0Command {
		t.Errorf("the goodbye: %+v, %v", m, err)
	}
	if err := s.over(io.EOF); err != context.Canceled {
		t.Errorf("it ended with %v", err)
	}
}
