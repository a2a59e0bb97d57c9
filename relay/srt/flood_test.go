package srt

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
	"sluice/relay/udp"
)

// A flood comes from many ports of a host that nothing else here uses.
type flood struct {
	t     *testing.T
	to    netip.AddrPort
	ports []*udp.Conn
	sent  atomic.Int64
}

func newFlood(t *testing.T, to, ports int) *flood {
	t.Helper()
	f := &flood{t: t, to: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(to))}
	for range ports {
		c, err := udp.Open(t.Context(), relaytest.NewUplink("lan0"), netip.AddrFrom4([4]byte{127, 0, 0, 2}), udp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		f.ports = append(f.ports, c)
	}
	return f
}

// ask sends a handshake packet from a port and returns the answer.
func (f *flood) ask(port int, b []byte) *handshake {
	f.t.Helper()
	c := f.ports[port]
	if _, err := udp.NewWriter(c, 1).Write([]udp.Message{{Header: b, To: f.to}}); err != nil {
		f.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for r := udp.NewReader(c, 1, maxDatagram+headerSize); ; {
		got, err := r.Read()
		if err != nil {
			f.t.Fatal(err)
		}
		if h, _ := parseHandshake(got[0].Data); h != nil && h.to == rawID {
			return h
		}
	}
}

// cookies asks for one from each port.
func (f *flood) cookies() (all []uint32) {
	for i := range f.ports {
		all = append(all, f.ask(i, makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID)).SynCookie)
	}
	return all
}

// run sends handshake packets with random socket ids, as fast as it can but no
// more than so many in a second, until the test stops it.
func (f *flood) run(perSecond int, make func(port int) []byte) (stop func() error) {
	const batch = 256
	w := udp.NewWriter(nil, batch)
	messages := slices.Repeat([]udp.Message{{To: f.to}}, batch)
	port := 0
	return background(f.t, func(ctx context.Context) error {
		return paced(ctx, batch*time.Second/time.Duration(perSecond), func() error {
			port = (port + 1) % len(f.ports)
			for i := range messages {
				b := make(port)
				binary.BigEndian.PutUint32(b[headerSize+24:], rand.Uint32())
				messages[i].Header = b
			}
			w.Use(f.ports[port])
			n, _ := w.Write(messages) // the kernel may have enough of it
			f.sent.Add(int64(n))
			return nil
		})
	})
}

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestFloods floods the listener of an output with handshakes of several kinds:
// its viewer loses nothing, another one gets in meanwhile, and memory,
// goroutines and the log do not grow.
func TestFloods(t *testing.T) {
	relaytest.TakesSeconds(t)
	relaytest.EmulatorIsSlow(t, "a flood leaves the viewer no time")
	const most, ports = 50_000, 64 // of each kind
	out := runOutput(t, keyed(listenerConfig(), 128), endpoint.Access{Max: 16}, live(t))
	port := out.port(t)
	watch := func() *receivingInput { return runInput(t, keyed(callerConfig("127.0.0.1", port), 128)) }
	viewer := watch()
	await(t, "the viewer gets the stream", func() bool { return viewer.seen.Report().Received > 10 })
	f := newFlood(t, port, ports)
	cookies, wrong := f.cookies(), wrongKeys(t)
	goroutines, memory, lines := runtime.NumGoroutine(), heap(), strings.Count(out.log.String(), "\n")
	loop := out.Output.(*listenOutput).View().Sessions[0].loop

	for _, kind := range []struct {
		name string
		make func(port int) []byte
	}{
		{"inductions", func(int) []byte { return makeHandshake(4, packet.HSTYPE_INDUCTION, 0, 0) }},
		{"wrong cookies", func(int) []byte { return conclusion(rand.Uint32(), 0, wrong) }},
		{"wrong passphrases", func(i int) []byte { return conclusion(cookies[i], 0, wrong) }},
		{"rendezvous", func(int) []byte { return makeHandshake(5, packet.HSTYPE_WAVEHAND, 0, 0) }},
	} {
		f.sent.Store(0)
		refused, began := out.env.Ledger.Refused.Load(), time.Now()
		stop := f.run(most, kind.make)
		await(t, "the flood is on", func() bool { return f.sent.Load() > 1000 })
		another := watch()
		awaitWithin(t, 5*time.Second, kind.name+": another viewer gets in", func() bool { return another.Status().Phase == endpoint.Connected })
		connected := time.Since(began)
		await(t, "so many have been sent", func() bool { return f.sent.Load() >= most })
		held := 0
		loop.do(func(time.Time) {
			ln := loop.sockets[0].listener
			held = len(ln.refused) + len(ln.opening)
		})
		if held > mostRefused+mostOpening {
			t.Errorf("%s: %d are remembered", kind.name, held)
		}
		if n := runtime.NumGoroutine(); n > goroutines+3*20 { // those of the viewers
			t.Errorf("%s: %d goroutines, %d before", kind.name, n, goroutines)
		}
		await(t, "the stream arrives", func() bool { return another.seen.Report().Received > 10 })
		_ = stop()
		intact(t, another.seen)
		refused = out.env.Ledger.Refused.Load() - refused
		turns := uint64(time.Since(began) / tick)
		if refused > turns*max(mostKeysHost, mostWaves)+mostOpening {
			t.Errorf("%s: %d refusals are booked in %d turns", kind.name, refused, turns)
		}
		t.Logf("%s: another is connected after %v, %d refused, %v", kind.name, connected, refused, time.Since(began))
	}
	n := viewer.seen.Report().Received
	await(t, "the viewer goes on", func() bool { return viewer.seen.Report().Received > n+50 })
	intact(t, viewer.seen)
	if now := heap(); now > memory+32<<20 {
		t.Errorf("%d MiB are in use, %d before", now>>20, memory>>20)
	}
	if n := strings.Count(out.log.String(), "\n") - lines; n > 20 {
		t.Errorf("%d lines in the log:\n%s", n, tail(out.log.String()))
	}
	secretFree(t, out.log.String())
}

// TestHalfOpen has callers connect and be silent: no more than are allowed, and
// for no longer than the idle timeout.
func TestHalfOpen(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	const allowed, callers = 8, 24
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: allowed}, live(t))
	port := out.port(t)
	viewer := watching(t, port)
	f := newFlood(t, port, callers)
	turned := 0
	for i, cookie := range f.cookies() {
		if _, refused := f.ask(i, conclusion(cookie, rawID)).refusal(); refused {
			turned++
		}
	}
	if turned != callers-(allowed-1) || len(viewers(out)) != allowed {
		t.Errorf("%d are turned away, %d let in", turned, len(viewers(out)))
	}
	await(t, "they are given up", func() bool { return len(viewers(out)) == 1 })
	intact(t, viewer.seen)
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	balanced(t, out.env.Ledger)
}
