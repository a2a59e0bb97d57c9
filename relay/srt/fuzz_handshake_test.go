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
	"sluice/relay/udp"
)

// extensions reads those of a conclusion: good ones, in part, or anything.
func (s *script) extensions() (pieces []piece) {
	for range s.byte() % 5 {
		switch s.byte() % 5 {
		case 0:
			pieces = append(pieces, hello(0x010500, flags150))
		case 1:
			pieces = append(pieces, hello(s.word(), s.word()))
		case 2:
			b := s.passage()
			pieces = append(pieces, piece{uint16(s.byte() % 10), b[:len(b)&^3]})
		case 3:
			pieces = append(pieces, piece{extensionStreamID, []byte("egatlife")})
		case 4:
			pieces = append(pieces, piece{extensionCongestion, []byte("evil")})
		}
	}
	return pieces
}

// FuzzListener has many callers say anything to a listener, at any time.
func FuzzListener(f *testing.F) {
	f.Add(false, []byte{0, 1, 1, 1, 1, 0, 2, 3, 4, 5, 6})
	f.Add(true, []byte{0, 1, 1, 1, 2, 0, 3, 2, 1, 1, 1, 9, 0, 3, 3, 3})
	f.Add(false, bytes.Repeat([]byte{0, 7, 1, 7, 7, 1, 0, 3, 4, 5, 7, 0, 7}, 30))
	f.Add(true, bytes.Repeat([]byte{2, 7, 2, 8, 3, 5, 60, 4, 7, 9}, 30))
	good := piece{extensionKMReq, kmBody(f, testKeys().twin())}
	f.Fuzz(func(t *testing.T, encrypted bool, b []byte) {
		cfg := listenerConfig()
		if encrypted {
			cfg = keyed(cfg, 128)
		}
		d := newDoorstep(t, cfg.settings(0))
		asked := make(map[netip.AddrPort]int) // bytes
		cookies := make(map[netip.AddrPort]uint32)
		s := script{b}
		for range 500 {
			if s.ended() {
				break
			}
			op, peer := s.byte()%6, visitor(int(s.byte()%4), int(s.byte()%4))
			var b []byte
			switch op {
			case 0:
				b = makeHandshake(4, packet.HSTYPE_INDUCTION, s.word(), uint32(s.byte()))
			case 1: // who knows its cookie has shown that it is there
				if cookies[peer] == 0 {
					cookies[peer] = d.ln.cookies.of(peer, d.now)
				}
				pieces := s.extensions()
				if encrypted {
					pieces = append(pieces, good)
				}
				b = conclusion(cookies[peer], uint32(s.byte()), pieces...)
			case 2:
				b = makeHandshake(uint32(s.byte()%7), packet.HandshakeType(s.word()), s.word(), s.word(), s.extensions()...)
			case 3:
				d.turn(s.pause())
				d.full = s.byte() > 0xE0
				continue
			case 4:
				for id := range d.socket.conns {
					b = make([]byte, headerSize, headerSize+256)
					(&header{control: s.byte()&1 == 0, kind: controlType(s.byte() % 9), sequence: sequence(s.word() & maxSequence), to: id}).put(b)
					b = append(b, s.passage()...)
					break
				}
			case 5:
				b = s.passage()
				if len(b) >= headerSize {
					(&header{control: true, kind: controlHandshake}).put(b)
				}
			}
			asked[peer] += len(b)
			d.from(peer, b)
		}
		d.turn(tick)
		for peer, n := range d.sent {
			if cookies[peer] == 0 && n > asked[peer] {
				t.Fatalf("%d bytes went to where %d seemed to come from", n, asked[peer])
			}
		}
		if len(d.ln.opening) > 0 || len(d.ln.refused) > mostRefused || len(d.ln.open) > len(cookies)*256 || len(d.socket.conns) != len(d.ln.open) {
			t.Fatalf("%d opening, %d refused, %d open, %d connections", len(d.ln.opening), len(d.ln.refused), len(d.ln.open), len(d.socket.conns))
		}
		if d.loop.faults > 0 {
			t.Fatal("it panicked")
		}
	})
}

// FuzzCalling has a peer that we call answer anything, and others answer for
// it.
func FuzzCalling(f *testing.F) {
	f.Add(false, []byte{0, 1, 2, 3, 4, 5})
	f.Add(true, []byte{0, 0, 1, 3, 0, 2, 0})
	f.Add(false, []byte{3, 0, 0, 3, 0xEB, 0, 0, 0, 1, 0}) // another refuses
	f.Add(true, []byte{3, 0, 0, 1, 2, 0, 2, 40, 1, 2, 3})
	f.Fuzz(func(t *testing.T, encrypted bool, b []byte) {
		l := newLoop(slog.New(slog.DiscardHandler))
		sock := newSocket(l, nil)
		now := time.Now()
		peer := visitor(1, 1)
		c := &calling{
			s: sock, settings: callerConfig("peer", 1).settings(0), name: "peer:1", to: peer,
			first: 5, outcome: make(chan outcome, 1), keys: keysFor(encrypted),
			do: func(c *conn, first sequence, stamp uint32) (half, error) {
				return newReceiver(c, first, stamp, c.heard, flow.New(flow.DefaultLimits), &endpoint.Ledger{}), nil
			},
		}
		c.begin(now)
		s := script{b}
		for range 200 {
			if s.ended() {
				break
			}
			from, kind, open := peer, packet.HandshakeType(0), len(c.outcome)
			ext := uint16(0)
			switch s.byte() % 5 {
			case 0:
				kind, ext = packet.HSTYPE_INDUCTION, magic
			case 1:
				kind = packet.HSTYPE_CONCLUSION
			case 2:
				kind = packet.HandshakeType(s.word())
			case 3:
				from, kind = visitor(2, 1), packet.HandshakeType(s.word())
			case 4:
				now = now.Add(s.pause())
				sock.tick(now)
				continue
			}
			b := makeHandshake(5, kind, c.id, s.word(), s.extensions()...)
			binary.BigEndian.PutUint16(b[headerSize+6:], ext)
			b = b[:len(b)-min(len(b), int(s.byte()/64))]
			sock.dispatch(&udp.Datagram{Data: b, From: from, Arrival: now}, now)
			if from != peer && len(c.outcome) != open {
				t.Fatal("another's answer counts")
			}
			if l.faults > 0 {
				t.Fatal("it panicked")
			}
		}
		if c.over != (len(c.outcome) == 1) || c.over != (len(sock.calls) == 0) {
			t.Fatalf("over: %v, %d outcomes, %d calls", c.over, len(c.outcome), len(sock.calls))
		}
	})
}
