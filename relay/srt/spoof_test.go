package srt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sluice/relay/relaytest"
)

// A tap lies before a listener, passes everything on, keeps a few datagrams of
// each kind and direction, and lets a test add its own as if they came from
// either end.
type tap struct {
	front, back *net.UDPConn
	listener    netip.AddrPort

	mu     sync.Mutex
	caller netip.AddrPort
	kept   map[kept][][]byte
}

// kept is a kind of datagram.
type kept struct {
	up      bool // to the listener
	control bool
	kind    controlType
	subtype uint16
}

func newTap(t *testing.T, to int) *tap {
	t.Helper()
	here := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	x := &tap{kept: make(map[kept][][]byte), listener: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(to))}
	var err error
	if x.front, err = net.ListenUDP("udp4", &here); err != nil {
		t.Fatal(err)
	}
	if x.back, err = net.DialUDP("udp4", &here, net.UDPAddrFromAddrPort(x.listener)); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() { x.pass(x.front, true) })
	both.Go(func() { x.pass(x.back, false) })
	t.Cleanup(func() {
		_, _ = x.front.Close(), x.back.Close()
		both.Wait()
	})
	return x
}

func (x *tap) port() int { return x.front.LocalAddr().(*net.UDPAddr).Port }

func (x *tap) pass(from *net.UDPConn, up bool) {
	for b := make([]byte, 2*maxDatagram); ; {
		n, who, err := from.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		h, ok := parseHeader(b[:n])
		if err != nil || !ok {
			continue
		}
		x.mu.Lock()
		if up {
			x.caller = who
		}
		k := kept{up, h.control, h.kind, h.subtype}
		if len(x.kept[k]) < 20 {
			x.kept[k] = append(x.kept[k], bytes.Clone(b[:n]))
		}
		x.mu.Unlock()
		x.send(up, b[:n])
	}
}

// send adds a datagram.
func (x *tap) send(up bool, b []byte) {
	if up {
		_, _ = x.back.Write(b)
		return
	}
	x.mu.Lock()
	to := x.caller
	x.mu.Unlock()
	_, _ = x.front.WriteToUDPAddrPort(b, to)
}

// all returns what was kept of a direction.
func (x *tap) all(up bool) (all [][]byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k, b := range x.kept {
		if k.up == up {
			all = append(all, b...)
		}
	}
	return all
}

// ids returns the socket ids of both ends.
func (x *tap) ids() (caller, listener uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return binary.BigEndian.Uint32(x.kept[kept{up: false}][0][12:]), binary.BigEndian.Uint32(x.kept[kept{true, true, controlACK, 0}][0][12:])
}

// forged is what an attacker sends to the socket id of one end: whatever would
// do harm if it came from the other. around is a number that the stream has
// reached.
func forged(id uint32, around sequence) (all [][]byte) {
	control := func(kind controlType, subtype uint16, specific uint32, body []byte) {
		b := make([]byte, headerSize, headerSize+len(body)+4)
		h := header{control: true, kind: kind, subtype: subtype, specific: specific, to: id}
		h.put(b)
		all = append(all, append(b, body...))
	}
	control(controlShutdown, 0, 0, make([]byte, 4))
	control(controlKeepAlive, 0, 0, make([]byte, 4))
	for i := range 20 {
		q := around.plus(100 * i)
		control(controlACK, 0, uint32(i), fullACK(q, 1<<32-1, 1<<32-1, 0))
		control(controlACK, 0, 0, fullACK(q, 0, 0, 0)[:lightACKSize])
		control(controlACKACK, 0, uint32(i), nil)
		control(controlNAK, 0, 0, lossList(span{q.plus(-500), q}))
		control(controlDropReq, 0, 0, dropRequest(span{q.plus(-500), q.plus(500)}))
		b := make([]byte, headerSize)
		h := header{sequence: q, flags: flagSolo | 1, time: uint32(i) << 28, to: id}
		h.put(b)
		all = append(all, append(b, marked(inClear, payloadSize)...))
	}
	return all
}

// TestSpoofed has somebody at other addresses, who knows all that goes over the
// wire, send to both ends of a connection: what was recorded there, and what
// was made up. None of it counts.
func TestSpoofed(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for name, bits := range map[string]int{"clear": 0, "encrypted": 128} {
		cells.run(name, func(t *testing.T) {
			out := runOutput(t, keyed(listenerConfig(), bits), anyone, live(t))
			x := newTap(t, out.port(t))
			viewer := runInput(t, keyed(callerConfig("127.0.0.1", x.port()), bits))
			await(t, "the viewer gets the stream", func() bool { return viewer.seen.Report().Received > 50 })
			callerID, listenerID := x.ids()
			around := sequence(binary.BigEndian.Uint32(x.all(false)[0]))
			for _, p := range x.all(false) {
				if p[0]>>7 == 0 {
					around = sequence(binary.BigEndian.Uint32(p))
				}
			}
			x.mu.Lock()
			caller := x.caller
			x.mu.Unlock()
			sessions := viewers(out)
			for _, host := range []byte{1, 2} { // on the same host, and on another
				attacker, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, host)})
				if err != nil {
					t.Fatal(err)
				}
				defer attacker.Close()
				for range 20 {
					for _, b := range append(x.all(true), forged(listenerID, around)...) {
						_, _ = attacker.WriteToUDPAddrPort(b, x.listener)
					}
					for _, b := range append(x.all(false), forged(callerID, around)...) {
						_, _ = attacker.WriteToUDPAddrPort(b, caller)
					}
				}
				n := viewer.seen.Report().Received
				await(t, "the stream goes on", func() bool { return viewer.seen.Report().Received > n+50 })
			}
			intact(t, viewer.seen)
			if now := viewers(out); len(now) != 1 || now[0] != sessions[0] {
				t.Fatalf("sessions %v, before %v", now, sessions)
			}
			got := viewer.Status().Links[0]
			sent := out.Status().Links[0] // perhaps of a moment before
			if got.PktRecv > sent.PktSent+200 || got.PktRcvUndecrypt > 0 || out.env.Ledger.Refused.Load() > 0 {
				t.Errorf("it counts: %+v\n%+v\n%d refused", sent, got, out.env.Ledger.Refused.Load())
			}
		})
	}
	cells.wait()
}

// TestReplayed has somebody on the way send again what was recorded, cut it
// short, and add nonsense, all from the right addresses.
func TestReplayed(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, keyed(listenerConfig(), 128), anyone, live(t))
	x := newTap(t, out.port(t))
	viewer := runInput(t, keyed(callerConfig("127.0.0.1", x.port()), 128))
	await(t, "the viewer gets the stream", func() bool { return viewer.seen.Report().Received > 300 })
	callerID, listenerID := x.ids()
	for _, up := range []bool{true, false} {
		id := callerID
		if up {
			id = listenerID
		}
		all := x.all(up)
		for _, b := range all {
			for range 3 {
				x.send(up, b)
			}
			for n := range min(len(b), 100) {
				x.send(up, b[:n])
			}
		}
		for kind := range controlType(12) {
			for size := range 40 {
				b := make([]byte, headerSize+size)
				for i := range b {
					b[i] = 0xFF
				}
				h := header{control: true, kind: kind, specific: 1 << 30, to: id}
				if kind == controlShutdown || kind == controlACK && up {
					continue // those are to be believed
				}
				h.put(b)
				x.send(up, b)
			}
		}
		for _, q := range []sequence{0, 1 << 30, maxSequence} {
			h := make([]byte, headerSize)
			(&header{sequence: q, flags: flagSolo | 1, to: id}).put(h)
			x.send(up, append(h, marked(inClear, 500)...))
		}
	}
	n := viewer.seen.Report().Received
	await(t, "the stream goes on", func() bool { return viewer.seen.Report().Received > n+100 })
	intact(t, viewer.seen)
	if len(viewers(out)) != 1 || out.env.Ledger.Connections.Load() != 1 {
		t.Errorf("%d sessions, %d connections", len(viewers(out)), out.env.Ledger.Connections.Load())
	}
}

// TestSpoofedKeepAlive: a peer that is gone is not kept alive by others.
func TestSpoofedKeepAlive(t *testing.T) {
	d := newDoorstep(t, listenerConfig().settings(0))
	peer, other := visitor(1, 1), visitor(1, 2)
	d.from(peer, conclusion(d.cookie(peer), rawID))
	d.turn(tick)
	alive := make([]byte, headerSize+4)
	(&header{control: true, kind: controlKeepAlive, to: d.answer(peer).SRTSocketId}).put(alive)
	for range 30 {
		d.from(peer, alive)
		d.turn(100 * time.Millisecond)
	}
	if len(d.socket.conns) != 1 {
		t.Fatal("who is heard is given up")
	}
	for range 30 {
		d.from(other, alive)
		d.turn(100 * time.Millisecond)
	}
	if len(d.socket.conns) != 0 {
		t.Error("another keeps it alive")
	}
}
