package rtmp

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
)

// shaken is a handshake from a client that waits for nothing.
func shaken() []byte {
	b := make([]byte, 1+2*1536)
	b[0] = 3
	return b
}

// asking is a handshake and a connect command, and what follows it.
func asking(more ...[]byte) []byte {
	m := call(0, "connect", 1, map[string]any{"app": "in"})
	return slices.Concat(shaken(), appendMessage(nil, defaultChunkSize, m), slices.Concat(more...))
}

// commanding is a command in one chunk stream, of any bytes.
func commanding(data []byte) []byte {
	return appendMessage(nil, defaultChunkSize, message{kind: amf0Command, data: data})
}

// manyChunkStreams begins a message in each, with chunks of a size.
func manyChunkStreams(size int) (b []byte) {
	for i := range uint32(1000) {
		b = append(b, begun(64+i, size+1, size)...)
	}
	return b
}

// attacks are what a hostile client sends, and what is logged of it.
var attacks = []struct {
	name string
	b    []byte
	why  error
}{
	{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat(" ", 2000)), errVersion},
	{"bytes of any kind", bytes.Repeat([]byte{0xFF, 0, 0xC3}, 2000), errVersion},
	{"zeros", make([]byte, 4000), errVersion},
	{"1,000 chunk streams", asking(manyChunkStreams(defaultChunkSize)), errChunkStreams},
	{"a message of 16 MB", asking(begun(5, maxUint24, 128)), errTooLong},
	{"messages that are begun", asking(begun(5, 16000, 128), begun(6, 16000, 128), begun(7, 16000, 128)), errHeld},
	{"chunks of nothing", asking(chunkSize(0)), errChunk},
	{"a chunk stream that begins in its middle", asking(basic(3, 60)), errChunk},
	{"messages without a byte", asking(bytes.Repeat(type0(5, 0, 0, audio, 1), 1000)), errQuestions},
	{"commands without a byte", asking(bytes.Repeat(type0(5, 0, 0, amf0Command, 1), 1000)), errAMF},
	{"deep arrays", asking(commanding(append(said("play", 1), arrays(1500)...))), errAMFLimits},
	{"an array of 2^32", asking(commanding(append(said("play", 1, nil), append([]byte{10, 255, 255, 255, 255}, bytes.Repeat([]byte{5}, 9000)...)...))), errAMFLimits},
	{"many questions", asking(bytes.Repeat(commanding(said("createStream", 1, nil)), 1000)), errQuestions},
	{"much that is no question", asking(bytes.Repeat(appendMessage(nil, defaultChunkSize, message{kind: video, data: make([]byte, 1000)}), 1000)), errQuestions},
	{"a question before it connects", append(shaken(), commanding(said("createStream", 1, nil))...), errOrder},
	{"a key that is wrong", asking(commanding(said("createStream", 1, nil)), commanding(said("publish", 2, nil, "kex", "live"))), errNoStream},
}

// attack sends all of it, whatever the other end thinks of that.
func attack(c net.Conn, b []byte) {
	_, _ = c.Write(b)
}

// gone waits until the other end has hung up.
func gone(t *testing.T, name string, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Errorf("%s: it is not hung up on", name)
	}
}

// TestHostileStrangers sends each of the attacks, and more than once: it is
// hung up on, and there is a line in the log for each reason.
func TestHostileStrangers(t *testing.T) {
	t.Parallel()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.input(r.publishHere()).await(endpoint.Listening)
			var all sync.WaitGroup
			for range 3 {
				c := dialFrom(t, "127.0.0.2", r.port)
				all.Go(func() {
					attack(c, a.b)
					gone(t, a.name, c, patience)
				})
			}
			all.Wait()
			eventually(t, "it is logged", func() bool { return strings.Contains(r.log.String(), a.why.Error()) })
			if n := strings.Count(r.log.String(), "turned away"); n != 1 {
				t.Errorf("%d lines", n)
			}
			r.publisher().pictures(1)
			eventually(t, "a real one is let in", func() bool { return r.flow.Next() == 1 })
		})
	}
}

// TestSlowStrangers shake half a hand, or slowly, or do not go on: they have
// seconds for that, however busy they are.
func TestSlowStrangers(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	r := newRig(t)
	r.input(r.publishHere()).await(endpoint.Listening)
	began := time.Now()
	var all sync.WaitGroup
	for name, b := range map[string][]byte{
		"nothing": nil, "a byte": {3}, "half a handshake": shaken()[:1000], "two thirds of a handshake": shaken()[:1537+500],
	} {
		c := dialFrom(t, "127.0.0.2", r.port)
		all.Go(func() {
			attack(c, b)
			gone(t, name, c, patience)
		})
	}
	slow := dialFrom(t, "127.0.0.3", r.port)
	all.Go(func() {
		stop := make(chan struct{})
		var writing sync.WaitGroup
		writing.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
					_, _ = slow.Write(shaken()[i : i+1])
				}
			}
		})
		gone(t, "byte by byte", slow, patience)
		close(stop)
		writing.Wait()
	})
	all.Wait()
	if took := time.Since(began); took < handshakeTime-time.Second || took > 2*handshakeTime {
		t.Errorf("they had %v", took)
	}
	if n := strings.Count(r.log.String(), "turned away"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestHostilePeers are known, and then break the rules: their session alone
// ends, and says why.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	const large = 1 << 20
	kept := chunkSize(large) // more than may be held
	for i := range uint32(source.held/large + 1) {
		kept = append(kept, begun(10+i, source.message, large)...)
	}
	for _, a := range []struct {
		name string
		b    []byte
	}{
		{"1,000 chunk streams", append(chunkSize(128), manyChunkStreams(128)...)},
		{"a message of 16 MB", begun(5, maxUint24, 128)},
		{"messages that are begun", kept},
		{"chunks of nothing", chunkSize(0)},
		{"garbage", bytes.Repeat([]byte{0xFF, 0xFF, 0xFF}, 1000)},
		{"commands without a byte", bytes.Repeat(type0(5, 0, 0, amf0Command, 1), 10)},
		{"deep arrays", append(chunkSize(defaultChunkSize), commanding(append(said("play", 1), arrays(700)...))...)},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			r, in, out := serving(t)
			w := r.player()
			p := r.publisher()
			p.pictures(10)
			w.sees(9)
			bad := r.joining("127.0.0.2")
			attack(bad.link.tcp, a.b)
			bad.hungUp()
			p.pictures(10)
			w.sees(19)
			attack(p.link.tcp, a.b)
			p.hungUp()
			in.await(endpoint.Listening)
			if st := in.Status(); st.Reason == nil || st.Reason.Code != "peer_broken" || !strings.Contains(st.Reason.Message, "does not keep to the protocol") {
				t.Errorf("status: %v", st.Reason)
			}
			again := r.publisher()
			again.n = 20
			again.gop = 1
			again.pictures(5)
			w.sees(24)
			w.intact()
			out.stop()
			in.stop()
			balanced(t, in.ledger)
			balanced(t, out.ledger)
		})
	}
}

// TestZeroLengthMessages is a publisher whose messages have not a byte: they
// cost little, and are not passed on as video.
func TestZeroLengthMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := r.input(r.publishHere())
	in.await(endpoint.Listening)
	p := r.publisher()
	attack(p.link.tcp, bytes.Repeat(type0(20, 0, 0, video, 1), 100_000))
	p.pictures(1)
	eventually(t, "what follows comes", func() bool { return r.flow.Next() == 1 })
	if n := in.ledger.Dropped()["wrong_format"]; n != 100_000 {
		t.Errorf("%d are counted", n)
	}
	in.stop()
	balanced(t, in.ledger)
}

// TestPlayerThatAsks is one that pings and never reads: what waits for it has a
// bound, and then it is let go.
func TestPlayerThatAsks(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	r, _, out := serving(t)
	w := r.player()
	p := r.publisher()
	p.pictures(10)
	bad := r.joining("127.0.0.2")
	_ = bad.link.tcp.SetReadBuffer(16 << 10)
	pings := bytes.Repeat(appendMessage(nil, bad.size, encodeControl(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingRequest{Timestamp: 1}})), 1000)
	for range 20_000 {
		if _, err := bad.link.Write(pings); err != nil {
			break
		}
	}
	eventually(t, "it is let go", func() bool { return len(out.Status().Sessions) == 1 })
	// On a slow machine it has taken nothing for too long before.
	if said := r.log.String(); !strings.Contains(said, errAnswers.Error()) && !strings.Contains(said, errPeerStuck.Error()) {
		t.Error("the log does not say why")
	}
	p.pictures(10)
	w.sees(19)
	w.intact()
}

// memory is what is in use, stacks included.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// resident is the memory of the process, as the kernel has it.
func resident(t *testing.T) (bytes int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// A flood is many connections from two hosts, of all kinds, that stay for as
// long as they are let.
func flood(t *testing.T, port, n int, hello func(i int) []byte) {
	t.Helper()
	const together = 16
	var made atomic.Int32
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	for range together {
		all.Go(func() {
			for i := int(made.Add(1)); i <= n; i = int(made.Add(1)) {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%2))}, Timeout: patience}
				c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Errorf("the port does not answer: %v", err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				attack(c, hello(i))
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, c := range open {
			_ = c.Close()
		}
	})
}

// TestFlood floods a server while a real publisher and its player are there:
// they lose nothing, others get in, and memory and the log hardly grow.
func TestFlood(t *testing.T) {
	takesSeconds(t)
	const n, most = 2000, 8 << 20
	r, in, out := serving(t)
	p, w := r.publisher(), r.player()
	stop := p.live()
	w.sees(50)
	// Each holds as much as it may.
	costly := asking(begun(5, stranger.message, 128), begun(6, stranger.message, 128))
	hellos := [][]byte{nil, shaken()[:100], shaken(), costly, costly, costly}
	for _, a := range attacks {
		hellos = append(hellos, a.b)
	}
	began, before, pages, lines := time.Now(), memory(), resident(t), strings.Count(r.log.String(), "\n")
	flood(t, r.port, n, func(i int) []byte { return hellos[rand.IntN(len(hellos))] })
	flood(t, r.port, 200, func(i int) []byte { return costly })
	r.player().awaits("another gets in", func() bool { return true })
	after := memory()
	// What the flood itself takes is some of it: its ends are in this process.
	if after > before+most {
		t.Errorf("%d KiB are in use, %d before", after>>10, before>>10)
	}
	if now := resident(t); now > pages+64<<20 {
		t.Errorf("%d MiB are resident, %d before", now>>20, pages>>20)
	}
	_, last := w.seen()
	w.sees(last + 50)
	w.intact()
	if err := stop(); err != nil {
		t.Error(err)
	}
	turned := 0
	why := make(map[string]int)
	for line := range strings.Lines(r.log.String()) {
		if _, reason, ok := strings.Cut(line, `msg="connection turned away"`); ok {
			_, reason, _ = strings.Cut(reason, "reason=")
			why[reason]++
			turned++
		}
	}
	for reason, n := range why {
		if n > 1 && time.Since(began) < endpoint.RepeatedEvery {
			t.Errorf("%d lines for one reason: %s", n, reason)
		}
	}
	if grown := strings.Count(r.log.String(), "\n") - lines; turned == 0 || grown > turned+4 {
		t.Errorf("%d lines in the log, %d of them that somebody was turned away", grown, turned)
	}
	t.Logf("%d KiB more in use after %v, %d lines", (int(after)-int(before))>>10, time.Since(began), turned)
	out.stop()
	in.stop()
	balanced(t, in.ledger)
	balanced(t, out.ledger)
}

// TestTLSFlood does the same to a port with TLS.
func TestTLSFlood(t *testing.T) {
	takesSeconds(t)
	ca := newAuthority(t)
	cert, key := ca.forLoopback()
	r := newRig(t, func(o *Options) {
		o.Certificate = func() (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
		}
	})
	publish, play := r.publishHere(), r.playHere()
	publish.TLS, play.TLS = true, true
	in, out := r.input(publish), r.output(play)
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	c := r.callOver("127.0.0.1", "in", ca.roots())
	if err := c.publishes("key"); err != nil {
		t.Fatal(err)
	}
	p := &broadcaster{caller: c, gop: 25, size: 500}
	p.begins()
	w := &watcher{caller: r.callOver("127.0.0.1", "live", ca.roots()), done: make(chan struct{})}
	if err := w.plays("stage"); err != nil {
		t.Fatal(err)
	}
	go w.watch()
	stop := p.live()
	w.sees(50)
	// A record of a ClientHello that never ends, a record that is none, RTMP in
	// clear, and nothing.
	hellos := [][]byte{{22, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC, 3, 3}, bytes.Repeat([]byte{22, 3, 3, 0, 4, 9, 9, 9, 9}, 100), shaken(), []byte("GET / HTTP/1.1\r\n\r\n"), nil}
	before := memory()
	flood(t, r.port, 400, func(i int) []byte { return hellos[i%len(hellos)] })
	if after := memory(); after > before+8<<20 {
		t.Errorf("%d KiB are in use, %d before", after>>10, before>>10)
	}
	if _, err := r.tryCall("127.0.0.1", "live", ca.roots()); err != nil {
		t.Errorf("another does not get in: %v", err)
	}
	_, last := w.seen()
	w.sees(last + 50)
	w.intact()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "it does not speak TLS") || strings.Count(r.log.String(), "turned away") > 4 {
		t.Error("the log does not say it, or too often")
	}
	out.stop()
	in.stop()
	balanced(t, in.ledger)
	balanced(t, out.ledger)
}
