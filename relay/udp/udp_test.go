package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

var four, six = netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()

func listen(t testing.TB, network string, o Options) *Conn {
	t.Helper()
	c, err := Listen(context.Background(), relaytest.NewUplink("lan0"), network, 0, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func at(a netip.Addr, c *Conn) netip.AddrPort { return netip.AddrPortFrom(a, c.LocalAddr().Port()) }

// collect reads n datagrams and returns copies of them.
func collect(t testing.TB, r *Reader, n int) (all []Datagram) {
	t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for len(all) < n {
		got, err := r.Read()
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(all), n, err)
		}
		for _, d := range got {
			d.Data = bytes.Clone(d.Data)
			all = append(all, d)
		}
	}
	return all
}

// numbered returns messages that can be told apart: numbered, of a size, the
// number in the header.
func numbered(n, size int, to netip.AddrPort) []Message {
	all := make([]Message, n)
	for i := range all {
		all[i] = Message{Header: fmt.Appendf(nil, "%06d", i), Payload: bytes.Repeat([]byte{byte(i)}, size-6), To: to}
	}
	return all
}

func check(t *testing.T, sent []Message, got []Datagram) {
	t.Helper()
	if len(sent) != len(got) {
		t.Fatalf("%d datagrams, want %d", len(got), len(sent))
	}
	for i, m := range sent {
		if want := append(bytes.Clone(m.Header), m.Payload...); !bytes.Equal(got[i].Data, want) {
			t.Fatalf("datagram %d: %d bytes %.20q, want %d bytes %.20q", i, len(got[i].Data), got[i].Data, len(want), want)
		}
	}
}

// What is written is read: every size of batch and datagram, with offload and
// without, both families, and IPv4 over an IPv6 socket.
func TestWriteRead(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		addr           netip.Addr
	}{
		{"IPv4", "udp4", "udp4", four},
		{"IPv6", "udp6", "udp6", six},
		{"IPv4 between sockets of both", "udp", "udp", four},
		{"IPv6 between sockets of both", "udp", "udp", six},
	} {
		for _, offload := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, offload %v", c.name, offload), func(t *testing.T) {
				from, to := listen(t, c.from, Options{}), listen(t, c.to, Options{Receive: 4 << 20})
				w, r := NewWriter(from, 32), NewReader(to, 32, 2000)
				w.conn.whole = w.conn.whole || !offload
				for _, n := range []int{1, 2, 16, 17, 33, 100} {
					messages := numbered(n, 1328, at(c.addr, to))
					messages[n-1].Payload = messages[n-1].Payload[:100] // the last may be shorter
					messages[n/2].Header = nil
					messages[n/3].Payload = nil
					if n == 1 && relaytest.Emulator() != "" {
						messages[0].Header = []byte{1} // an emulator does not send a datagram without any buffer
					}
					before := time.Now()
					if sent, err := w.Write(messages); sent != n || err != nil {
						t.Fatalf("wrote %d of %d: %v", sent, n, err)
					}
					got := collect(t, r, n)
					check(t, messages, got)
					for _, d := range got {
						if d.From != at(c.addr, from) || d.To != c.addr {
							t.Fatalf("from %s to %s, want from %s to %s", d.From, d.To, at(c.addr, from), c.addr)
						}
						if d.Arrival.Before(before.Add(-time.Second)) || d.Arrival.After(time.Now()) {
							t.Fatalf("arrived at %s, written at %s", d.Arrival, before)
						}
					}
				}
			})
		}
	}
}

// Datagrams for several peers keep their order for each of them.
func TestSeveralPeers(t *testing.T) {
	from := listen(t, "udp4", Options{})
	a, b := listen(t, "udp4", Options{}), listen(t, "udp4", Options{})
	forA, forB := numbered(20, 500, at(four, a)), numbered(20, 500, at(four, b))
	var all []Message
	for i := range forA {
		all = append(all, forA[i])
		if i%3 == 0 { // pairs and single ones
			all = append(all, forB[i])
		}
	}
	if sent, err := NewWriter(from, 64).Write(all); sent != len(all) || err != nil {
		t.Fatalf("wrote %d: %v", sent, err)
	}
	check(t, forA, collect(t, NewReader(a, 8, 2000), len(forA)))
	if got := collect(t, NewReader(b, 8, 2000), 7); string(got[6].Data[:6]) != "000018" {
		t.Errorf("b received %.6q last", got[6].Data)
	}
}

func TestAlike(t *testing.T) {
	to, other := netip.AddrPortFrom(four, 1), netip.AddrPortFrom(four, 2)
	m := func(to netip.AddrPort, header, payload int) Message {
		return Message{Header: make([]byte, header), Payload: make([]byte, payload), To: to}
	}
	many := make([]Message, 40)
	for i := range many {
		many[i] = m(to, 12, 1316)
	}
	moved := m(to, 12, 1316)
	moved.From = four
	for name, c := range map[string]struct {
		messages []Message
		want     int
	}{
		"one":                     {[]Message{m(to, 12, 1316)}, 1},
		"a burst":                 {many, burst},
		"a shorter one is last":   {[]Message{m(to, 0, 100), m(to, 0, 50), m(to, 0, 50)}, 2},
		"a longer one is not":     {[]Message{m(to, 0, 100), m(to, 0, 101)}, 1},
		"the sum counts":          {[]Message{m(to, 12, 88), m(to, 0, 100)}, 2},
		"another peer":            {[]Message{m(to, 0, 100), m(other, 0, 100)}, 1},
		"another source":          {[]Message{m(to, 12, 1316), moved}, 1},
		"nothing in them":         {[]Message{m(to, 0, 0), m(to, 0, 0)}, 1},
		"nothing in the last":     {[]Message{m(to, 0, 9), m(to, 0, 0)}, 1},
		"as much as IP can carry": {[]Message{m(to, 0, 30000), m(to, 0, 30000), m(to, 0, 30000)}, 2},
		"more than any can carry": {[]Message{m(to, 0, 60000), m(to, 0, 60000)}, 1},
	} {
		if got := alike(c.messages); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A NIC that refuses offload is found out, and nothing is lost or doubled.
func TestOffloadRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EIO, unix.EMSGSIZE} {
		from, to := listen(t, "udp4", Options{}), listen(t, "udp4", Options{})
		w := NewWriter(from, 32)
		if w.conn.whole {
			t.Skip("this kernel knows no segmentation offload")
		}
		write, refused := w.write, 0
		w.write = func(fd uintptr) bool {
			if w.groups[w.first] > 1 {
				w.sent, w.errno = 0, errno
				refused++
				return true
			}
			return write(fd)
		}
		messages := numbered(50, 1000, at(four, to))
		messages[0].To = at(four, from) // a single one before what is refused
		if sent, err := w.Write(messages); sent != 50 || err != nil {
			t.Fatalf("%v: wrote %d: %v", errno, sent, err)
		}
		check(t, messages[1:], collect(t, NewReader(to, 64, 2000), 49))
		if refused != 1 || !w.conn.whole {
			t.Errorf("%v: offload was tried %d times", errno, refused)
		}
	}
}

// The kernel's own refusal: segments that do not fit the MTU.
func TestTooLargeToSegment(t *testing.T) {
	from, to := listen(t, "udp4", Options{}), listen(t, "udp4", Options{})
	w := NewWriter(from, 32)
	big := numbered(2, 20000, at(four, to)) // each is fine, beside a control message that says otherwise
	if sent, err := w.Write(big); sent != 2 || err != nil {
		t.Fatalf("wrote %d: %v", sent, err)
	}
	check(t, big, collect(t, NewReader(to, 4, 1<<16), 2))
	// What no fallback helps is an error of that message, and only of it.
	three := numbered(3, 70000, at(four, to))
	three[0].Payload = three[0].Payload[:10]
	three[2].Payload = three[2].Payload[:10]
	sent, err := w.Write(three)
	if sent != 1 || !errors.Is(err, unix.EMSGSIZE) {
		t.Fatalf("wrote %d: %v", sent, err)
	}
	if sent, err := w.Write(three[2:]); sent != 1 || err != nil {
		t.Fatalf("after it: wrote %d: %v", sent, err)
	}
}

// An answer leaves from the address that was asked.
func TestSourceAddress(t *testing.T) {
	for _, network := range []string{"udp4", "udp"} {
		server, client := listen(t, network, Options{}), listen(t, network, Options{})
		asked := netip.MustParseAddr("127.0.0.77")
		if _, err := NewWriter(client, 1).Write(numbered(1, 10, at(asked, server))); err != nil {
			t.Fatal(err)
		}
		q := collect(t, NewReader(server, 4, 100), 1)[0]
		if q.To != asked {
			t.Fatalf("asked at %s, want %s", q.To, asked)
		}
		answer := numbered(2, 10, q.From)
		for i := range answer {
			answer[i].From = q.To
		}
		if _, err := NewWriter(server, 4).Write(answer); err != nil {
			t.Fatal(err)
		}
		for _, a := range collect(t, NewReader(client, 4, 100), 2) {
			if a.From != at(asked, server) {
				t.Errorf("%s: answered from %s, want %s", network, a.From, at(asked, server))
			}
		}
	}
}

func TestWrongFamily(t *testing.T) {
	c, to := listen(t, "udp4", Options{}), listen(t, "udp4", Options{})
	messages := numbered(3, 10, at(four, to))
	messages[1].To = at(six, to)
	if sent, err := NewWriter(c, 8).Write(messages); sent != 1 || !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("wrote %d: %v", sent, err)
	}
	messages[1].To = netip.AddrPort{}
	if sent, err := NewWriter(c, 8).Write(messages); sent != 1 || !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("wrote %d: %v", sent, err)
	}
}

// What does not fit the receive buffer is counted, and so is what does not fit
// the Reader.
func TestMissed(t *testing.T) {
	from, to := listen(t, "udp4", Options{}), listen(t, "udp4", Options{Receive: 16 << 10})
	var err error
	_ = to.raw.(syscall.RawConn).Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1) })
	relaytest.EmulatorLacks(t, "setsockopt(SO_RXQ_OVFL)", err)
	w, r := NewWriter(from, 64), NewReader(to, 64, 1500)
	if sent, err := w.Write(numbered(200, 1400, at(four, to))); sent != 200 || err != nil {
		t.Fatalf("wrote %d: %v", sent, err)
	}
	var got int
	for {
		if err := to.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		all, err := r.Read()
		if err != nil {
			break
		}
		got += len(all)
	}
	if got == 0 || got == 200 {
		t.Fatalf("%d datagrams of 200 fit", got)
	}
	// The kernel tells with the next one that fits.
	after := numbered(2, 1501, at(four, to))
	after[1].Payload = after[1].Payload[:1]
	if _, err := w.Write(after); err != nil {
		t.Fatal(err)
	}
	if d := collect(t, r, 1); len(d[0].Data) != 7 {
		t.Errorf("a datagram of %d bytes: want the long one left out", len(d[0].Data))
	}
	if want := uint64(200 - got + 1); to.Missed() != want {
		t.Errorf("%d missed, want %d", to.Missed(), want)
	}
}

func TestReadEnds(t *testing.T) {
	c := listen(t, "udp4", Options{})
	r := NewReader(c, 4, 100)
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the deadline: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.Read()
		ended <- err
	}()
	c.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("when closed: %v", err)
	}
	if _, err := NewWriter(c, 4).Write(numbered(1, 10, at(four, c))); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after closing: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	c := listen(t, "udp4", Options{})
	_, err := Listen(t.Context(), relaytest.NewUplink("lan0"), "udp4", int(c.LocalAddr().Port()), Options{})
	var e *endpoint.Error
	if !errors.As(err, &e) || e.Phase != endpoint.Unworkable || e.Reason.Code != "port_taken" {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	for network, level := range map[string][4]int{
		"udp4": {unix.IPPROTO_IP, unix.IP_TOS, unix.IP_TTL, unix.IP_MULTICAST_TTL},
		"udp6": {unix.IPPROTO_IPV6, unix.IPV6_TCLASS, unix.IPV6_UNICAST_HOPS, unix.IPV6_MULTICAST_HOPS},
	} {
		c := listen(t, network, Options{DSCP: 34, TTL: 7})
		_ = c.raw.(syscall.RawConn).Control(func(fd uintptr) {
			for i, want := range []int{34 << 2, 7, 7} {
				if got, err := unix.GetsockoptInt(int(fd), level[0], level[1+i]); got != want || err != nil {
					t.Errorf("%s: option %d is %d, %v: want %d", network, level[1+i], got, err, want)
				}
			}
		})
	}
}

// What an old kernel may lack, those of today have.
func TestSpareOptions(t *testing.T) {
	for network, options := range map[string][]option{
		"udp4": {{"IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, true}},
		"udp6": {{"IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, ipv6MulticastAll, 0, true}},
	} {
		c := listen(t, network, Options{})
		for _, o := range append(options, option{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, true},
			option{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1, true}) {
			got, err := get(t, c, o.level, o.option)
			relaytest.EmulatorLacks(t, o.name, err)
			if got != o.value {
				t.Errorf("%s: %s is %d, want %d", network, o.name, got, o.value)
			}
		}
	}
}

// get asks the kernel for an option of a socket.
func get(t *testing.T, c *Conn, level, option int) (value int, err error) {
	t.Helper()
	if failed := c.raw.(syscall.RawConn).Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) }); failed != nil {
		t.Fatal(failed)
	}
	return value, err
}

func TestBufferIsCut(t *testing.T) {
	var log bytes.Buffer
	listen(t, "udp4", Options{Receive: 1 << 30, Send: 4096, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := log.String(); unix.Geteuid() != 0 && !strings.Contains(got, "net.core.rmem_max") || strings.Contains(got, "wmem") {
		t.Errorf("logged %q", got)
	}
}

func TestCall(t *testing.T) {
	to := listen(t, "udp4", Options{})
	c, err := Call(t.Context(), relaytest.NewUplink("wan0"), at(four, to), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.LocalAddr().Addr() != four {
		t.Errorf("bound to %s", c.LocalAddr())
	}
	to.Close() // nobody there: no error, now or later
	w := NewWriter(c, 4)
	for range 3 {
		if sent, err := w.Write(numbered(1, 10, at(four, to))); sent != 1 || err != nil {
			t.Errorf("wrote %d: %v", sent, err)
		}
	}
}

// Neither direction allocates for a datagram.
func TestNoAllocation(t *testing.T) {
	from, to := listen(t, "udp", Options{}), listen(t, "udp", Options{Receive: 4 << 20})
	w, r := NewWriter(from, 32), NewReader(to, 32, 2000)
	messages := numbered(20, 1328, at(four, to))
	if err := to.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	allocated := testing.AllocsPerRun(50, func() {
		if sent, err := w.Write(messages); sent != 20 || err != nil {
			t.Fatalf("wrote %d: %v", sent, err)
		}
		for got := 0; got < 20; {
			d, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			got += len(d)
		}
	})
	if allocated > 0 {
		t.Errorf("%v allocations for 20 datagrams", allocated)
	}
}

// Batches against one system call for each datagram.
func BenchmarkWrite(b *testing.B) {
	const datagrams, size = 16, 1328
	to := listen(b, "udp4", Options{})
	run := func(name string, write func(*Conn) func([]Message)) {
		b.Run(name, func(b *testing.B) {
			send := write(listen(b, "udp4", Options{Send: 4 << 20}))
			messages := numbered(datagrams, size, at(four, to))
			b.SetBytes(datagrams * size)
			b.ReportAllocs()
			for b.Loop() {
				send(messages)
			}
		})
	}
	for _, offload := range []bool{true, false} {
		run(fmt.Sprintf("offload=%v", offload), func(c *Conn) func([]Message) {
			w := NewWriter(c, 32)
			w.conn.whole = w.conn.whole || !offload
			return func(m []Message) {
				if _, err := w.Write(m); err != nil && !errors.Is(err, unix.EAGAIN) {
					b.Fatal(err)
				}
			}
		})
	}
	run("WriteTo", func(c *Conn) func([]Message) {
		var joined []byte
		return func(messages []Message) {
			for _, m := range messages {
				joined = append(append(joined[:0], m.Header...), m.Payload...)
				if _, err := c.conn.WriteToUDPAddrPort(joined, m.To); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
