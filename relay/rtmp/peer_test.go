package rtmp

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
)

// patience is how long a test waits for what should happen soon.
const patience = 15 * time.Second

// dialFrom connects to a port from an address of the loopback.
func dialFrom(t testing.TB, from string, port int) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	return c.(*net.TCPConn)
}

// A caller is a client in the hands of a test.
type caller struct {
	t testing.TB
	*client
}

// callFrom connects to an application.
func (r *rig) callFrom(from, app string) *caller {
	r.t.Helper()
	return r.callOver(from, app, nil)
}

func (r *rig) callOver(from, app string, roots *x509.CertPool) *caller {
	r.t.Helper()
	c, err := r.tryCall(from, app, roots)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) tryCall(from, app string, roots *x509.CertPool) (*caller, error) {
	r.t.Helper()
	tcp := dialFrom(r.t, from, r.port)
	c := &client{conn: newConn(newLink(tcp)), target: target{address: tcp.RemoteAddr().String(), host: "127.0.0.1", app: app, tls: roots != nil}}
	c.widen()
	return &caller{r.t, c}, c.begin(context.Background(), roots, "")
}

// say sends messages, whatever the connection is doing.
func (c *caller) say(messages ...message) error {
	var b []byte
	for _, m := range messages {
		b = appendMessage(b, c.size, m)
	}
	_, err := c.link.Write(b)
	return err
}

// publishes publishes under a key, and returns why that is refused.
func (c *caller) publishes(key string) error { return c.publish(endpoint.NewSecret(key), 4096) }

// plays does the same with playing.
func (c *caller) plays(key string) error { return c.play(endpoint.NewSecret(key)) }

// A broadcaster publishes to the rig: pictures that are numbered, a key frame every
// so many.
type broadcaster struct {
	*caller
	n    uint32
	time uint32
	gop  uint32
	size int
}

// publisher lets a client publish to the rig's input.
func (r *rig) publisher() *broadcaster {
	r.t.Helper()
	return r.publisherFrom("127.0.0.1")
}

func (r *rig) publisherFrom(from string) *broadcaster {
	r.t.Helper()
	s := &broadcaster{caller: r.callFrom(from, "in"), gop: 25, size: 500}
	if err := s.publishes("key"); err != nil {
		r.t.Fatal(err)
	}
	s.begins()
	return s
}

// begins sends what stands before media.
func (s *broadcaster) begins() {
	s.t.Helper()
	meta := append(said("@setDataFrame"), said("onMetaData", map[string]any{"width": 320})...)
	if err := s.say(
		message{kind: amf0Data, stream: s.stream, data: meta},
		message{kind: video, stream: s.stream, time: s.time, data: videoHeader(1)},
		message{kind: audio, stream: s.stream, time: s.time, data: audioHeader(1)},
	); err != nil {
		s.t.Fatal(err)
	}
}

// numbered is a picture with a number.
func numbered(n uint32, key bool, size int) []byte {
	b := binary.BigEndian.AppendUint32(picture(key, 0), n)
	return append(b, make([]byte, max(size-len(b), 0))...)
}

// picture sends the next picture, 40 ms after the one before.
func (s *broadcaster) picture() error {
	err := s.say(message{kind: video, stream: s.stream, time: s.time, data: numbered(s.n, s.n%s.gop == 0, s.size)})
	s.n++
	s.time += 40
	return err
}

// pictures sends the next n.
func (s *broadcaster) pictures(n int) {
	s.t.Helper()
	for range n {
		if err := s.picture(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// live sends pictures, a hundred in a second, until stop is called, which
// returns how sending went. Nothing else may send meanwhile.
func (s *broadcaster) live() (stop func() error) {
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				done <- nil
				return
			case <-tick.C:
			}
			if err := s.picture(); err != nil {
				done <- err
				return
			}
		}
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			close(ended)
			err = <-done
		})
		return err
	}
	s.t.Cleanup(func() { _ = stop() })
	return stop
}

// A watcher plays numbered pictures, and notes what it gets.
type watcher struct {
	*caller
	done chan struct{} // closed when it reads no more

	mu       sync.Mutex
	got      int
	last     uint32 // number
	lost     int    // numbers left out
	gaps     int
	mid      int // pictures after a gap, or first, that are no key frame
	back     int // times that went back
	time     uint32
	meta     int
	headers  int
	statuses []string
	err      error
}

// player plays the rig's output.
func (r *rig) player() *watcher {
	r.t.Helper()
	w := r.joining("127.0.0.1")
	go w.watch()
	return w
}

// joining has asked to play, and reads nothing yet.
func (r *rig) joining(from string) *watcher {
	r.t.Helper()
	w := &watcher{caller: r.callFrom(from, "live"), done: make(chan struct{})}
	if err := w.plays("stage"); err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (w *watcher) watch() {
	defer close(w.done)
	for w.read() {
	}
}

// read takes one message, and reports whether there was one.
func (w *watcher) read() bool {
	m, err := w.next()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.err = err
		return false
	case m.kind == amf0Command:
		q, _ := parseCommand(m)
		_, code, _ := q.info()
		w.statuses = append(w.statuses, code)
	case m.kind == amf0Data:
		w.meta++
	case m.kind == audio || len(m.data) < 9:
		w.headers++
	case m.kind == video:
		n, key := binary.BigEndian.Uint32(m.data[5:]), m.data[0] == 0x17
		if w.got > 0 && int32(m.time-w.time) < 0 {
			w.back++
		}
		if w.got > 0 && n != w.last+1 {
			w.gaps++
			w.lost += int(n - w.last - 1)
		}
		if (w.got == 0 || n != w.last+1) && !key {
			w.mid++
		}
		w.got++
		w.last, w.time = n, m.time
	}
	return true
}

// seen returns how many pictures it has got, and the number of the last.
func (w *watcher) seen() (got int, last uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got, w.last
}

// sees waits until a picture has come.
func (w *watcher) sees(n uint32) {
	w.t.Helper()
	w.awaits(fmt.Sprintf("picture %d comes", n), func() bool { return w.got > 0 && w.last >= n })
}

// awaits waits for what it has noted; what holds is asked with the lock held.
func (w *watcher) awaits(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		w.mu.Lock()
		ok := holds()
		got, last, err := w.got, w.last, w.err
		w.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("it did not come true that %s: %d pictures to %d, %v", what, got, last, err)
		}
	}
}

// intact checks that nothing is missing and nothing was out of order.
func (w *watcher) intact() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != 0 || w.gaps != 0 || w.mid != 0 || w.back != 0 || w.got == 0 {
		w.t.Errorf("of %d pictures %d are missing, in %d gaps; %d after one are no key frame, %d go back in time", w.got, w.lost, w.gaps, w.mid, w.back)
	}
}

// over waits until it reads no more.
func (w *watcher) over() error {
	w.t.Helper()
	select {
	case <-w.done:
		return w.err
	case <-time.After(patience):
		w.t.Fatal("the player is not let go")
		return nil
	}
}

// hungUp waits until the other end has closed the connection.
func (c *caller) hungUp() {
	c.t.Helper()
	_ = c.link.tcp.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := c.next(); err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				c.t.Error("it does not hang up")
			}
			return
		}
	}
}

// A host is a server in the hands of a test: one connection of it.
type host struct {
	t *testing.T
	*conn
}

// hosts serves connections as a script does, one after the other or together,
// until the test ends. It returns host:port.
func hosts(t *testing.T, script func(h *host)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * patience))
				h := &host{t, newConn(newLink(c.(*net.TCPConn)))}
				h.widen()
				script(h)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// hears returns the next command of a name; ok is false where the client has
// left.
func (h *host) hears(name string) (q command, ok bool) {
	for {
		m, err := h.next()
		if err != nil {
			return q, false
		}
		if m.kind != amf0Command {
			continue
		}
		if q, err = parseCommand(m); err != nil {
			h.t.Errorf("a command of ours cannot be read: %v", err)
			return q, false
		}
		if q.name == name {
			return q, true
		}
	}
}

// accepts shakes hands and answers connect; more is said with its result.
func (h *host) accepts(more map[string]any) (connect command, ok bool) {
	if h.greet() != nil {
		return connect, false
	}
	if connect, ok = h.hears("connect"); !ok {
		return connect, false
	}
	info := map[string]any{"level": "status", "code": "NetConnection.Connect.Success", "description": "ok"}
	for k, v := range more {
		info[k] = v
	}
	return connect, h.answer(
		encodeControl(&rtmpmsg.WinAckSize{Size: ackWindow}), call(0, "_result", connect.id, map[string]any{"fmsVer": "x"}, info),
	) == nil
}

// makesStream goes on to the stream.
func (h *host) makesStream(more map[string]any) bool {
	if _, ok := h.accepts(more); !ok {
		return false
	}
	q, ok := h.hears("createStream")
	return ok && h.answer(call(0, "_result", q.id, nil, 7)) == nil
}

// publishes goes on to where the client publishes.
func (h *host) publishes(more map[string]any) bool {
	if !h.makesStream(more) {
		return false
	}
	_, ok := h.hears("publish")
	return ok && h.answer(onStatus(7, status{"status", "NetStream.Publish.Start", "go"})) == nil
}

// drains reads until the client has left, and returns what it sent.
func (h *host) drains() (all []message, err error) {
	for {
		m, err := h.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}
