package srt

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/gate"
	"sluice/relay/udp"
)

// A doorstep is a listener without a network, on a clock that the test turns.
type doorstep struct {
	t       testing.TB
	loop    *loop
	socket  *socket
	ln      *listener
	now     time.Time
	full    bool // nobody is let in
	turned  int  // away
	admits  int
	judged  int
	answers map[netip.AddrPort][][]byte // in this turn
	sent    map[netip.AddrPort]int      // bytes, to each
}

func newDoorstep(t testing.TB, s settings) *doorstep {
	d := &doorstep{t: t, now: time.Now(), sent: make(map[netip.AddrPort]int)}
	d.loop = newLoop(slog.New(slog.DiscardHandler))
	d.socket = newSocket(d.loop, nil)
	d.ln = newListener(d.socket, s, d)
	d.turn(0)
	return d
}

// judge, refused and admit make a doorstep a doorkeeper, of an input.
func (d *doorstep) judge(*request) verdict {
	d.judged++
	if d.full {
		return verdict{refuseOverload, "the number of viewers is reached"}
	}
	return accepted
}

func (d *doorstep) refused(*request, verdict) { d.turned++ }

func (d *doorstep) admit(_ *loop, c *conn, r *request) (half, verdict) {
	d.admits++
	return newReceiver(c, sequence(r.InitialPacketSequenceNumber.Val()), r.time, c.at(r.arrival), flow.New(flow.DefaultLimits), &endpoint.Ledger{}), accepted
}

// from hands a datagram to the socket.
func (d *doorstep) from(peer netip.AddrPort, b []byte) {
	d.socket.dispatch(&udp.Datagram{Data: b, From: peer, Arrival: d.now}, d.now)
}

// turn is one of the loop, after some time. What was put goes out.
func (d *doorstep) turn(after time.Duration) {
	d.now = d.now.Add(after)
	d.loop.work.Wait()
	d.loop.runPosted(d.now)
	d.answers = make(map[netip.AddrPort][][]byte)
	for _, m := range d.socket.outbox {
		b := append(bytes.Clone(m.Header), m.Payload...)
		d.answers[m.To] = append(d.answers[m.To], b)
		d.sent[m.To] += len(b)
	}
	d.socket.outbox = d.socket.outbox[:0]
	d.loop.arena.reset()
	d.socket.tick(d.now)
	for _, c := range d.loop.inbound {
		d.loop.tickConn(c, d.now)
	}
	d.socket.sweep()
}

// answer returns the handshake that a caller was answered with last.
func (d *doorstep) answer(peer netip.AddrPort) *handshake {
	all := d.answers[peer]
	if len(all) == 0 {
		return nil
	}
	h, err := parseHandshake(all[len(all)-1])
	if err != nil {
		d.t.Fatal(err)
	}
	return h
}

// cookie asks for one.
func (d *doorstep) cookie(peer netip.AddrPort) uint32 {
	d.t.Helper()
	d.from(peer, makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID))
	d.turn(tick)
	h := d.answer(peer)
	if h == nil || h.HandshakeType != packet.HSTYPE_INDUCTION {
		d.t.Fatalf("%v gets no cookie", peer)
	}
	return h.SynCookie
}

// conclusion makes the packet that asks for a connection.
func conclusion(cookie, id uint32, pieces ...piece) []byte {
	b := makeHandshake(5, packet.HSTYPE_CONCLUSION, 0, id, append([]piece{hello(0x010500, flags150)}, pieces...)...)
	binary.BigEndian.PutUint32(b[headerSize+28:], cookie)
	binary.BigEndian.PutUint32(b[headerSize+16:], 8192) // its flow window
	return b
}

// visitor is the address of one of many.
func visitor(host, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(host >> 8), byte(host)}), uint16(port))
}

// wrongKeys is key material under another passphrase.
func wrongKeys(t testing.TB) piece {
	k, err := newKeyring(endpoint.NewSecret("another-passphrase"), 16)
	if err != nil {
		t.Fatal(err)
	}
	return piece{extensionKMReq, kmBody(t, k)}
}

// TestNothingIsKept: before a caller has shown a cookie, nothing is kept of it,
// and it is sent no more than it has sent.
func TestNothingIsKept(t *testing.T) {
	d := newDoorstep(t, keyed(listenerConfig(), 128).settings(0))
	for i := range 20_000 {
		peer := visitor(i%500, i)
		for _, b := range [][]byte{
			makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID), conclusion(uint32(i), uint32(i)),
			makeHandshake(5, packet.HSTYPE_WAVEHAND, 0, rawID), makeHandshake(5, packet.HSTYPE_AGREEMENT, 0, rawID), makeHandshake(5, 1003, 0, rawID),
		} {
			before := len(d.socket.outbox)
			d.from(peer, b)
			if len(d.socket.outbox) > before && len(d.socket.outbox[before].Header) > len(b) {
				t.Fatalf("%d bytes are answered with %d", len(b), len(d.socket.outbox[before].Header))
			}
		}
		if i%100 == 0 {
			d.turn(tick)
		}
	}
	if n := len(d.ln.refused) + len(d.ln.opening) + len(d.ln.open) + len(d.ln.cookies.ended) + len(d.socket.conns); n > 0 || d.judged > 0 {
		t.Errorf("%d are remembered, %d were judged", n, d.judged)
	}
	if d.turned > 210 { // one in a turn
		t.Errorf("%d refusals are booked", d.turned)
	}
}

// TestShares: however much comes, a turn of the loop has an end, and leaves
// others their share.
func TestShares(t *testing.T) {
	d := newDoorstep(t, keyed(listenerConfig(), 128).settings(0))
	const most = mostReads * readBatch // that a loop reads in a turn
	for i := range most {
		d.from(visitor(i%200, i), makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID))
	}
	if n := len(d.socket.outbox); n != mostInductions {
		t.Errorf("%d of %d inductions were answered", n, most)
	}
	d.turn(tick)

	// One host with a flood of conclusions that are good up to the passphrase.
	wrong := wrongKeys(t)
	quiet, another := visitor(2, 5000), visitor(3, 5000)
	cookies := map[netip.AddrPort]uint32{quiet: d.cookie(quiet), another: d.cookie(another)}
	for i := range 64 {
		noisy := visitor(1, 5000+i)
		cookies[noisy] = d.cookie(noisy)
	}
	tries := 0
	for id := range uint32(200) {
		before := d.turned
		for i := range 64 {
			noisy := visitor(1, 5000+i)
			d.from(noisy, conclusion(cookies[noisy], 1000*id+uint32(i), wrong))
		}
		if n := len(d.ln.opening); n > mostKeysHost {
			t.Fatalf("%d keys are tried for one host", n)
		}
		d.turn(tick)
		tries += d.turned - before
		if len(d.ln.refused) > mostRefused {
			t.Fatalf("%d refusals are remembered", len(d.ln.refused))
		}
	}
	if tries > 200*mostKeysHost {
		t.Errorf("%d keys were tried", tries)
	}
	good := piece{extensionKMReq, kmBody(t, testKeys().twin())}
	for id, peer := range map[uint32]netip.AddrPort{7: quiet, 8: another} {
		for i := range 64 {
			noisy := visitor(1, 5000+i)
			d.from(noisy, conclusion(cookies[noisy], 1_000_000+uint32(i), wrong))
		}
		d.from(peer, conclusion(cookies[peer], id, good))
		d.turn(tick)
		if h := d.answer(peer); h == nil || h.HandshakeType != packet.HSTYPE_CONCLUSION {
			t.Errorf("%v is not let in meanwhile", peer)
		}
	}
}

// TestListenersDoNotTalk: each of two listeners is made to believe that the
// other asked for something.
func TestListenersDoNotTalk(t *testing.T) {
	d := newDoorstep(t, listenerConfig().settings(0))
	other := visitor(1, 1)
	for _, b := range [][]byte{
		makeHandshake(4, packet.HSTYPE_INDUCTION, 0, 0), makeHandshake(5, packet.HSTYPE_WAVEHAND, 0, 0),
		conclusion(d.cookie(other), 0, piece{extensionGroup, make([]byte, 8)}),
	} {
		d.from(other, b)
		d.turn(tick)
		answer := d.answers[other]
		if len(answer) != 1 {
			t.Fatalf("%d answers", len(answer))
		}
		d.from(other, answer[0])
		d.turn(tick)
		if len(d.answers[other]) > 0 {
			t.Errorf("an answer of kind %#x is answered", answer[0][headerSize+20:headerSize+24])
		}
	}
}

// TestManyHosts: where there are more of them than a turn has room for, each
// comes to its turn.
func TestManyHosts(t *testing.T) {
	d := newDoorstep(t, listenerConfig().settings(0))
	const hosts = 300
	for i := range hosts {
		peer := visitor(i, 1)
		c := d.cookie(peer)
		d.from(peer, conclusion(c, 1))
		d.turn(tick)
	}
	if d.admits != hosts {
		t.Errorf("%d of %d were let in", d.admits, hosts)
	}
}

// TestHostsOfIPv6: a host has as many addresses as it likes.
func TestHostsOfIPv6(t *testing.T) {
	b := newBudget()
	n := 0
	for i := range 100 {
		if b.conclusion(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})) {
			n++
		}
	}
	if n != mostConclusionsHost {
		t.Errorf("%d for one network", n)
	}
	if !b.conclusion(netip.MustParseAddr("2001:db8:1::1")) || !b.conclusion(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("others have no share")
	}
}

// TestCookies: a cookie is an address's, for a while.
func TestCookies(t *testing.T) {
	now := time.Now()
	c, other := newCookies(), newCookies()
	peer, who, another := visitor(1, 1), identity{1, 2}, identity{1, 3}
	k := c.of(peer, now)
	for name, wrong := range map[string]bool{
		"another port":     c.valid(k, visitor(1, 2), who, now),
		"another host":     c.valid(k, visitor(2, 1), who, now),
		"another listener": other.valid(k, peer, who, now),
		"another cookie":   c.valid(k+1, peer, who, now),
		"much later":       c.valid(k, peer, who, now.Add(3*cookieFor)),
	} {
		if wrong {
			t.Errorf("it is good for %s", name)
		}
	}
	if !c.valid(k, peer, who, now) || !c.valid(k, peer, who, now.Add(cookieFor)) {
		t.Error("it is not good")
	}
	c.left(peer, who, now)
	if c.valid(k, peer, who, now) || !c.valid(c.of(peer, now), peer, who, now) {
		t.Error("it is the same once its caller has left")
	}
	if !c.valid(k, peer, another, now) {
		t.Error("who asked for it before another left is not let in")
	}
	c.left(peer, another, now)
	if c.valid(k, peer, who, now) || c.valid(k, peer, another, now) {
		t.Error("it is good for ever")
	}
	for i := range 3 * mostEnded { // all who come and go
		c.left(visitor(i, 9), who, now.Add(time.Duration(i)*time.Millisecond))
	}
	if len(c.ended) > mostEnded {
		t.Errorf("%d are remembered", len(c.ended))
	}
	c.left(visitor(1, 10), who, now.Add(3*cookieFor))
	if len(c.ended) != 1 {
		t.Errorf("%d are remembered for too long", len(c.ended))
	}
}

// TestRecordedHandshake sends the conclusion of a connection again while there
// is one, and when it is over.
func TestRecordedHandshake(t *testing.T) {
	d := newDoorstep(t, listenerConfig().settings(0))
	peer := visitor(1, 1)
	recorded := conclusion(d.cookie(peer), rawID)
	d.from(peer, recorded)
	d.turn(tick)
	h := d.answer(peer)
	if h == nil || d.admits != 1 {
		t.Fatal("it is not let in")
	}
	d.from(peer, recorded)
	d.turn(tick)
	if again := d.answer(peer); again == nil || again.SRTSocketId != h.SRTSocketId || d.admits != 1 {
		t.Error("who did not hear the answer is not answered again")
	}
	for _, other := range []netip.AddrPort{visitor(1, 2), visitor(2, 1)} {
		d.from(other, recorded)
		d.turn(tick)
		if d.answer(other) != nil || d.admits != 1 {
			t.Error("another address is let in with it")
		}
	}
	bye := make([]byte, headerSize+4)
	(&header{control: true, kind: controlShutdown, to: h.SRTSocketId}).put(bye)
	d.from(peer, bye)
	d.turn(tick)
	d.from(peer, recorded)
	d.turn(tick)
	if len(d.socket.conns) != 0 || d.admits != 1 {
		t.Error("the connection comes back without its caller")
	}
	d.from(peer, conclusion(d.cookie(peer), rawID)) // be it with the same numbers
	d.turn(tick)
	if d.admits != 2 || len(d.ln.open) != 1 {
		t.Fatal("the caller is not let in again")
	}

	// It leaves and comes back at the same moment, with a cookie of before.
	(&header{control: true, kind: controlShutdown, to: d.answer(peer).SRTSocketId}).put(bye)
	cookie := d.ln.cookies.of(peer, d.now)
	d.from(peer, bye)
	d.from(peer, makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID))
	d.turn(tick)
	if d.answer(peer).SynCookie != cookie {
		t.Fatal("the moment was missed")
	}
	d.from(peer, conclusion(cookie, rawID+1))
	d.turn(tick)
	if d.admits != 3 {
		t.Error("who comes back at once is not let in")
	}
}

// TestQuietSessionIsSafe: a session that has been quiet for a while makes way
// for a caller from its host, but not before that has shown its passphrase.
func TestQuietSessionIsSafe(t *testing.T) {
	e, _ := env(t)
	cfg := listenerConfig()
	cfg.PeerIdleTimeoutMS = 10_000 // it is not given up of itself
	g := newEntrance(NewTransport(e.Log), cfg, gate.OfSource[*session](anyone, e, false), e)
	d := newDoorstep(t, g.cfg.settings(0))
	d.ln.door = g
	g.make = func(c *conn, r *request) (half, error) {
		return newReceiver(c, 0, 0, 0, flow.New(flow.DefaultLimits), e.Ledger), nil
	}
	first, second := visitor(1, 1), visitor(1, 2)
	d.from(first, conclusion(d.cookie(first), 1))
	d.turn(tick)
	if len(g.View().Sessions) != 1 {
		t.Fatal("it is not let in")
	}
	old := g.View().Sessions[0]
	d.now = d.now.Add(5 * time.Second) // longer than any peer is quiet
	r := &request{handshake: &handshake{}, peer: second, arrival: d.now}
	if v := g.judge(r); v != accepted || len(d.loop.posted) > 0 {
		t.Errorf("%v, it has ended: %v", v, len(d.loop.posted) > 0)
	}
	old.conn.heard = old.conn.at(d.now)
	if v := g.judge(r); v.code != refuseConflict {
		t.Errorf("one that is heard makes way: %v", v)
	}
	old.conn.heard = 0
	c := d.cookie(second)
	d.from(second, conclusion(c, 1))
	d.turn(tick)
	d.turn(tick)
	if left := g.View().Sessions; !old.conn.over || len(left) != 1 || left[0].Peer() != second {
		t.Error("it does not make way")
	}
}
