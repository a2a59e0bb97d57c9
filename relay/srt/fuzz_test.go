package srt

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// A script is what a fuzzer makes a test do: bytes that are read as they are
// needed, zeros at its end.
type script struct{ b []byte }

func (s *script) bytes(n int) []byte {
	b := make([]byte, n)
	s.b = s.b[copy(b, s.b):]
	return b
}

func (s *script) byte() byte      { return s.bytes(1)[0] }
func (s *script) word() uint32    { return binary.BigEndian.Uint32(s.bytes(4)) }
func (s *script) short() uint16   { return binary.BigEndian.Uint16(s.bytes(2)) }
func (s *script) ended() bool     { return len(s.b) == 0 }
func (s *script) passage() []byte { return s.bytes(int(s.byte())) }

// near returns a number that is mostly close to another one.
func (s *script) near(q sequence) sequence {
	switch b := s.byte(); {
	case b < 0x80:
		return q.plus(int(b) - 32)
	case b < 0xE0:
		return q.plus(int(int16(s.short())))
	default:
		return sequence(s.word()) & maxSequence
	}
}

// pause is mostly a few ticks.
func (s *script) pause() time.Duration {
	d := time.Duration(1) << (s.byte() % 14)
	return d * time.Millisecond
}

// testKeys are keys that are made once: that takes a while.
var testKeys = sync.OnceValue(func() *keyring {
	k, err := newKeyring(endpoint.NewSecret(passphrase), 16)
	if err != nil {
		panic(err)
	}
	return k
})

// keysFor returns the keys of a test, nil where it is to be in clear.
func keysFor(encrypted bool) *keyring {
	if !encrypted {
		return nil
	}
	return testKeys().twin()
}

// What a payload is full of that is sent in clear, or encrypted.
var inClear, sealed = []byte("CLEARTXT"), []byte("ENCRYPTD")

// FuzzReceiver has the peer of a connection that receives send anything, at any
// time.
func FuzzReceiver(f *testing.F) {
	f.Add(true, []byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add(false, bytes.Repeat([]byte{1, 33, 0, 0, 5, 9, 0, 3}, 40))                            // in order
	f.Add(true, bytes.Repeat([]byte{7, 34, 0, 0, 5, 9, 0, 3, 0, 4}, 40))                       // with holes
	f.Add(false, bytes.Repeat([]byte{1, 0xA0, 0x7F, 0xFF, 0, 0, 0, 9, 0, 12, 5, 0, 0xFF}, 30)) // far apart
	f.Add(true, bytes.Repeat([]byte{1, 32, 0xC0, 1, 200, 7, 32, 1, 200}, 40))                  // in clear where it is not
	f.Add(false, bytes.Repeat([]byte{1, 32, 0xC0, 1, 20, 1, 4, 0xC0, 1, 20, 0, 4}, 300))       // and old ones
	f.Add(true, []byte{1, 40, 0, 0, 0, 9, 3, 2, 0, 1, 5, 0, 64, 0, 5, 2, 6, 0, 12, 0, 12, 0, 12})
	f.Fuzz(func(t *testing.T, encrypted bool, b []byte) {
		x, r := receiving(t, keysFor(encrypted))
		other := keysFor(true)
		s := script{b}
		for range 2000 {
			if s.ended() {
				break
			}
			before, took := x.packets, 1
			switch s.byte() % 8 {
			case 0:
				took = 6 // acknowledges, reports, keeps alive
				x.pass(s.pause())
			case 1: // a packet in clear, or that says that it is not
				h := header{sequence: s.near(r.top), flags: s.flags(), time: s.stamp(x), to: targetID}
				if h.flags&(flagEvenKey|flagOddKey) == 0 || !encrypted {
					x.take(h, marked(inClear, s.size()))
				} else {
					x.take(h, bytes.Repeat([]byte{s.byte()}, s.size()))
				}
			case 2:
				x.control(controlType(s.short()), s.word(), s.passage())
			case 3:
				x.control(controlACKACK, r.number-uint32(s.byte()), nil)
			case 4:
				h, ok := parseHeader(s.bytes(headerSize))
				if ok {
					x.take(h, s.passage())
				}
			case 5:
				x.control(controlDropReq, 0, dropRequest(span{s.near(r.base), s.near(r.top)}))
			case 6:
				h := header{control: true, kind: controlUser, subtype: extensionKMReq + uint16(s.byte()%2), to: targetID}
				x.take(h, s.passage())
			case 7: // as it should be
				h := header{sequence: s.near(r.top), flags: flagSolo | 1, time: s.stamp(x), to: targetID}
				payload := marked(sealed, s.size())
				if encrypted {
					h.flags |= flagEvenKey
					other.crypt(payload, payload, 0, h.sequence)
				}
				x.take(h, payload)
			}
			if sent := x.packets - before; sent > took {
				t.Fatalf("%d packets were sent for one", sent)
			}
			if len(r.slots) > mostHeld || r.held > mostHeld || len(r.losses.list) > mostRuns {
				r.audit(t)
			}
		}
		r.audit(t)
		for range 5 { // what is left is played
			x.pass(100 * time.Millisecond)
		}
		x.published(func(b []byte) {
			if encrypted && bytes.Contains(b, inClear) {
				t.Fatal("what was sent in clear was let in")
			}
		})
		x.addsUp()
	})
}

// flags are those of a data packet.
func (s *script) flags() uint32 { return uint32(s.byte())<<24 | 1 }

// size is that of a payload.
func (s *script) size() int { return 6 * int(s.byte()) }

// stamp is a peer's time that is mostly about right.
func (s *script) stamp(x *target) uint32 {
	switch b := s.byte(); {
	case b < 0xC0:
		return microseconds(x.now) + uint32(b)*100
	default:
		return s.word()
	}
}

// FuzzSender has the peer of a connection that sends answer anything, at any
// time.
func FuzzSender(f *testing.F) {
	f.Add(true, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(false, bytes.Repeat([]byte{1, 20, 0, 4, 3, 40, 0, 0, 9, 9}, 40))          // acknowledged
	f.Add(true, bytes.Repeat([]byte{1, 20, 0, 4, 4, 3, 20, 30, 40, 50, 0, 9}, 40))  // reported lost
	f.Add(false, bytes.Repeat([]byte{1, 255, 0, 4, 4, 255, 0, 5, 5, 0xFF, 1}, 100)) // never acknowledged
	f.Add(true, []byte{1, 20, 0, 3, 6, 1, 8, 72, 5, 0, 3, 0, 14})
	f.Fuzz(func(t *testing.T, encrypted bool, b []byte) {
		x, q := sending(t, keysFor(encrypted))
		x.conn.keys.every, x.conn.keys.announce = 50, 20
		again := 0 // bytes
		x.seen = func(h header, b []byte) {
			if h.control {
				return
			}
			if encrypted != (h.flags&(flagEvenKey|flagOddKey) != 0) || encrypted && bytes.Contains(b, sealed) {
				t.Fatal("a payload left in clear")
			}
			if h.flags&flagRetransmitted != 0 {
				again += len(b)
			}
		}
		made, ticks := 0, 0
		s := script{b}
		for range 2000 {
			if s.ended() {
				break
			}
			before, took := x.packets, 1
			switch s.byte() % 8 {
			case 0:
				took = 8*burst + 6
				ticks++
				x.pass(s.pause())
			case 1:
				n := int(s.byte())
				made += n
				x.publish(n, sealed)
			case 2:
				x.control(controlType(s.short()), s.word(), s.passage())
				took = mostTold + 1
			case 3:
				x.control(controlACK, s.word(), fullACK(s.near(q.next), s.word(), s.word(), s.word()))
			case 4:
				var list []byte
				for range int(s.byte()) {
					list = appendLoss(list, span{s.near(q.first), s.near(q.next)})
				}
				x.control(controlNAK, 0, list)
				took = mostTold
			case 5:
				x.control(controlACK, 0, fullACK(s.near(q.next), 0, 0, 0)[:lightACKSize])
			case 6:
				h := header{control: true, kind: controlUser, subtype: extensionKMReq + uint16(s.byte()%2), to: targetID}
				x.take(h, s.passage())
			case 7:
				h, ok := parseHeader(s.bytes(headerSize))
				if ok {
					x.take(h, s.passage())
				}
				took = mostTold + 1
			}
			if sent := x.packets - before; sent > took {
				t.Fatalf("%d packets were sent for one", sent)
			}
			q.audit(t)
		}
		if most := spareTokens + (made+ticks)*payloadSize; again > most {
			t.Fatalf("%d bytes were sent again of %d", again, made*payloadSize)
		}
		x.addsUp()
	})
}

// FuzzPackets reads what is small enough to be compared with what it says.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{})
	f.Add(fullACK(7, 1, 2, 3))
	f.Add(fullACK(7, 1, 2, 3)[:lightACKSize])
	f.Add(fullACK(maxSequence, 1<<32-1, 1<<32-1, 1<<32-1)[:smallACKSize+1])
	f.Add(lossList(span{1, 1}, span{maxSequence, 4}, span{9, 1 << 29}))
	f.Add([]byte{0x80, 0, 0, 9, 0, 0, 0, 3})
	f.Add(dropRequest(span{5, 9}))
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if h, ok := parseHeader(b); ok {
			again := make([]byte, headerSize)
			h.put(again)
			if !bytes.Equal(again, b[:headerSize]) {
				t.Errorf("header %x: %+v, %x", b, h, again)
			}
		}
		if a, ok := parseACK(b); ok {
			again := make([]byte, fullACKSize)
			if n := a.put(again); a.light != (n == lightACKSize) || a.next > maxSequence || a.rtt < 0 || a.rttVar < 0 {
				t.Errorf("ACK %x: %+v", b, a)
			}
			again[0] |= b[0] & 0x80
			if n := min(len(b), fullACKSize) &^ 3; n != 20 && n != 24 && !a.light && !bytes.Equal(again[:n], b[:n]) {
				t.Errorf("ACK %x: %x", b, again[:n])
			}
		}
		var list []byte
		n := 0
		whole := parseLosses(b, func(s span) {
			if n++; s.size() < 1 || s.first > maxSequence || s.last > maxSequence {
				t.Errorf("losses %x: %v", b, s)
			}
			list = appendLoss(list, s)
		})
		if n > len(b)/4 {
			t.Errorf("%d losses in %d bytes", n, len(b))
		}
		if whole { // what we write is what was meant
			m := 0
			if !parseLosses(list, func(span) { m++ }) || m != n {
				t.Errorf("losses %x: %x", b, list)
			}
		}
		if s, ok := parseDropRequest(b); ok {
			again := dropRequest(s)
			again[0], again[4] = again[0]|b[0]&0x80, again[4]|b[4]&0x80
			if s.size() < 1 || !bytes.Equal(again, b[:8]) {
				t.Errorf("drop request %x: %v", b, s)
			}
		}
		if !bytes.Equal(b, before) {
			t.Error("what was read has changed")
		}
	})
}

// FuzzSequence compares the arithmetic with that of larger numbers, as it is
// done by 32-bit machines too.
func FuzzSequence(f *testing.F) {
	for _, n := range []uint32{0, 1, 1<<30 - 1, 1 << 30, 1<<30 + 1, maxSequence, maxSequence - 1} {
		f.Add(n, uint32(5))
		f.Add(uint32(maxSequence), n)
	}
	f.Fuzz(func(t *testing.T, a, b uint32) {
		x, y := sequence(a&maxSequence), sequence(b&maxSequence)
		want := (int64(x) - int64(y)) & maxSequence
		if want >= 1<<30 {
			want -= 1 << 31
		}
		if got := x.since(y); int64(got) != want || y.plus(got) != x {
			t.Errorf("%d since %d: %d, want %d", x, y, got, want)
		}
		if n := bits.Len32(uint32(x.plus(int(int32(b))))); n > 31 {
			t.Errorf("%d plus %d has %d bits", x, int32(b), n)
		}
	})
}
