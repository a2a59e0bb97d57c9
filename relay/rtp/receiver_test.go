package rtp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// A bench feeds a receiver without sockets, at times of its own.
type bench struct {
	*receiver
	t      *testing.T
	cursor *flow.Cursor
	ledger *endpoint.Ledger
	now    time.Time
	sender netip.AddrPort
	got    []media.Packet
}

func newBench(t *testing.T, cfg InputConfig, allow endpoint.AllowList) *bench {
	e := env("lo")
	in := NewInput(cfg, allow, e).(*input)
	_, source, err := in.addresses()
	if err != nil {
		t.Fatal(err)
	}
	f := flow.New(flow.Limits{Retain: time.Hour, MaxBytes: 64 << 20})
	cursor := f.Open()
	return &bench{
		receiver: newReceiver(in, source, f), t: t, cursor: cursor, ledger: e.Ledger,
		now: time.Now(), sender: netip.MustParseAddrPort("192.0.2.1:4000"),
	}
}

// feed is one datagram, a millisecond after the last.
func (b *bench) feed(datagram []byte) {
	b.now = b.now.Add(time.Millisecond)
	b.take(datagram, b.sender, b.now)
}

// received returns all that was published so far.
func (b *bench) received() []media.Packet {
	dst := make([]media.Packet, 64)
	for {
		n, _ := b.cursor.Poll(dst)
		if n == 0 {
			return b.got
		}
		b.got = append(b.got, dst[:n]...)
	}
}

func (b *bench) sessions() int {
	n := 0
	var last *media.Format
	for _, p := range b.received() {
		if p.Format != last {
			n++
			last = p.Format
		}
	}
	return n
}

func (b *bench) expectIntact(seed, count uint64) {
	b.t.Helper()
	v := relaytest.NewVerifier(seed)
	for _, p := range b.received() {
		v.Feed(p.Data)
	}
	if r := v.Report(); r.Intact() != nil || r.Received != count {
		b.t.Errorf("%+v", r)
	}
	checkLedger(b.t, "input", b.ledger)
}

func packetStream(t *testing.T, seed uint64, first uint16, ssrc uint32, n int) (packets [][]byte) {
	g := relaytest.NewTS(seed)
	for i := range n {
		packets = append(packets, wrap(t, first+uint16(i), ssrc, g.Next()))
	}
	return packets
}

func TestReorderedPacketsAreRelayedInOrder(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	p := packetStream(t, 1, 65500, 7, 200) // the numbers wrap
	for n := 0; n < 200; n += 5 {
		for _, k := range []int{0, 3, 1, 4, 2} {
			b.feed(p[n+k])
		}
	}
	b.expectIntact(1, 200)
	if n := b.ledger.Lost.Load(); n != 0 {
		t.Errorf("%d lost", n)
	}
	got := b.received()
	for n := 1; n < len(got); n++ {
		if got[n].Arrival.Before(got[n-1].Arrival) {
			t.Fatalf("packet %d arrived before the one ahead of it", n)
		}
	}
}

func TestLossIsCountedAndNotWaitedForLong(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	p := packetStream(t, 1, 100, 7, 100)
	for n := range 50 {
		if n != 20 && n != 21 {
			b.feed(p[n])
		}
	}
	// Packet 22 came at 21 ms, 28 ms ago.
	if n := len(b.received()); n != 20 {
		t.Errorf("%d packets while two are missing, want 20", n)
	}
	if want := b.now.Add(23 * time.Millisecond); !b.deadline().Equal(want) {
		t.Errorf("the wait ends in %v, want 23ms", b.deadline().Sub(b.now))
	}
	if b.mayRest(b.deadline().Add(-longestRest)) || !b.mayRest(b.deadline().Add(-longestRest-1)) {
		t.Error("a rest reaches the end of the wait, or ends well before it and is not taken")
	}
	b.expire(b.deadline().Add(-1))
	if n := len(b.received()); n != 20 {
		t.Errorf("%d packets before the wait is over", n)
	}
	b.expire(b.deadline())
	if n := len(b.received()); n != 48 || b.ledger.Lost.Load() != 2 {
		t.Errorf("%d packets, %d lost; want 48 and 2", n, b.ledger.Lost.Load())
	}
	if !b.mayRest(b.now) {
		t.Error("nothing is missing, and there is no rest")
	}
	b.feed(p[20]) // too late
	b.feed(p[49]) // again
	if n := len(b.received()); n != 48 || b.ledger.Dropped()["too_late"] != 2 {
		t.Errorf("%d packets, dropped %v", n, b.ledger.Dropped())
	}
	checkLedger(t, "input", b.ledger)
}

func TestLongGapIsLoss(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	p := packetStream(t, 1, 0, 7, 1000)
	for n, d := range p {
		if n < 100 || n == 110 || n >= 900 {
			b.feed(d)
		}
	}
	if n := len(b.received()); n != 201 || b.ledger.Lost.Load() != 799 || b.sessions() != 1 {
		t.Errorf("%d packets, %d lost, %d sessions", n, b.ledger.Lost.Load(), b.sessions())
	}
}

func TestNewRunOfNumbersIsANewSession(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	first, second := packetStream(t, 1, 1000, 7, 50), packetStream(t, 2, 40_000, 7, 51)
	for _, d := range first {
		b.feed(d)
	}
	b.feed(wrap(t, 20_000, 7, make([]byte, 188))) // a stray one
	for _, d := range second {
		b.feed(d)
	}
	if n := len(b.received()); n != 100 || b.sessions() != 2 || b.ledger.Lost.Load() != 0 {
		t.Errorf("%d packets, %d sessions, %d lost", n, b.sessions(), b.ledger.Lost.Load())
	}
	checkLedger(t, "input", b.ledger)
}

func TestNewSSRCIsANewSession(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	for _, d := range append(packetStream(t, 1, 1000, 7, 50), packetStream(t, 1, 10, 8, 50)...) {
		b.feed(d)
	}
	if n := len(b.received()); n != 100 || b.sessions() != 2 {
		t.Errorf("%d packets in %d sessions", n, b.sessions())
	}
}

func TestSecondSenderIsHeardOnceTheFirstIsSilent(t *testing.T) {
	for _, encapsulation := range []string{EncapsulationRTP, EncapsulationUDP} {
		b := newBench(t, InputConfig{Encapsulation: encapsulation}, nil)
		feed := func(seed uint64, ssrc uint32) [][]byte {
			if encapsulation == EncapsulationRTP {
				return packetStream(t, seed, 0, ssrc, 50)
			}
			g := relaytest.NewTS(seed)
			var p [][]byte
			for range 50 {
				p = append(p, g.Next())
			}
			return p
		}
		one, other := b.sender, netip.MustParseAddrPort("192.0.2.2:4000")
		first, second := feed(1, 7), feed(2, 8)
		for n := range first {
			b.sender = one
			b.feed(first[n])
			b.sender = other
			b.feed(second[n])
		}
		b.expectIntact(1, 50)
		if n := b.ledger.Refused.Load(); n != 1 {
			t.Errorf("%s: %d senders refused", encapsulation, n)
		}
		b.now = b.now.Add(takeover)
		for _, d := range second {
			b.feed(d)
		}
		if n := len(b.received()); n != 100 || b.sessions() != 2 || b.in.Status().Peer != other.String() {
			t.Errorf("%s: %d packets in %d sessions from %s", encapsulation, n, b.sessions(), b.in.Status().Peer)
		}
	}
}

func TestSendersNotAllowedAreIgnored(t *testing.T) {
	prefix, err := endpoint.ParseAllow("198.51.100.0/24")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*bench{
		"allow":  newBench(t, InputConfig{}, endpoint.AllowList{prefix}),
		"source": newBench(t, InputConfig{Source: "198.51.100.9"}, nil),
	} {
		p := packetStream(t, 1, 0, 7, 20)
		for _, d := range p {
			b.feed(d)
		}
		if n := len(b.received()); n != 0 || b.ledger.Refused.Load() != 1 || b.in.Status().Phase == endpoint.Connected {
			t.Errorf("%s: %d packets, %d refused", name, n, b.ledger.Refused.Load())
		}
		b.sender = netip.MustParseAddrPort("198.51.100.9:5000")
		for _, d := range p {
			b.feed(d)
		}
		b.expectIntact(1, 20)
		b.in.SetAccess(endpoint.Access{Allow: endpoint.AllowList{netip.MustParsePrefix("203.0.113.0/24")}})
		b.feed(wrap(t, 20, 7, make([]byte, 1316)))
		if n := len(b.received()); n != 20 {
			t.Errorf("%s: %d packets after access was taken away", name, n)
		}
	}
}

func TestGarbageIsCountedAndSaid(t *testing.T) {
	b := newBench(t, InputConfig{}, nil)
	ts := relaytest.NewTS(3).Next()
	for _, d := range [][]byte{{}, {0x80}, make([]byte, 12), ts, append([]byte{0xBF}, make([]byte, 20)...)} {
		b.feed(d)
	}
	if n := b.ledger.Dropped()["wrong_format"]; n != 5 {
		t.Errorf("%d of 5 dropped", n)
	}
	if s := b.in.Status(); s.Reason == nil || s.Reason.Code != "not_rtp" {
		t.Errorf("status %+v", s)
	}
	rtcp := append([]byte{0x80, 200}, make([]byte, 26)...)
	b.feed(rtcp)
	for _, d := range packetStream(t, 1, 0, 7, 20) {
		b.feed(d)
	}
	b.expectIntact(1, 20)
	if s := b.in.Status(); s.Reason != nil || s.Phase != endpoint.Connected {
		t.Errorf("status %+v", s)
	}
}

func TestParse(t *testing.T) {
	base := []byte{0x80, 33, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}
	with := func(first byte, rest ...byte) []byte { return append(append([]byte{first}, base[1:]...), rest...) }
	for _, c := range []struct {
		name            string
		in              []byte
		header, payload int
		err             error
	}{
		{"plain", with(0x80, 9, 9), 12, 2, nil},
		{"no payload", with(0x80), 12, 0, nil},
		{"csrc", with(0x82, 1, 1, 1, 1, 2, 2, 2, 2, 9), 20, 1, nil},
		{"csrc cut", with(0x82, 1, 1, 1, 1), 0, 0, errNotRTP},
		{"extension", with(0x90, 0, 7, 0, 1, 1, 2, 3, 4, 9), 20, 1, nil},
		{"extension cut", with(0x90, 0, 7, 0, 2, 1, 2, 3, 4), 0, 0, errNotRTP},
		{"padding", with(0xA0, 9, 9, 0, 0, 3), 12, 2, nil},
		{"padding alone", with(0xA0, 0, 2), 12, 0, nil},
		{"padding 0", with(0xA0, 9, 0), 0, 0, errNotRTP},
		{"padding too long", with(0xA0, 9, 9, 4), 0, 0, errNotRTP},
		{"padding without payload", with(0xA0), 0, 0, errNotRTP},
		{"version 1", with(0x40, 9), 0, 0, errNotRTP},
		{"short", base[:11], 0, 0, errNotRTP},
		{"rtcp", append([]byte{0x80, 201}, make([]byte, 10)...), 0, 0, errRTCP},
	} {
		var h rtp.Header
		header, payload, err := parse(&h, c.in)
		if err != c.err || len(header) != c.header || len(payload) != c.payload {
			t.Errorf("%s: %d, %d, %v", c.name, len(header), len(payload), err)
		}
	}
}

// Whatever comes, nothing panics, the ledger adds up, and what is published of
// MPEG-TS is whole packets.
func FuzzReceiver(f *testing.F) {
	g := relaytest.NewTS(1)
	f.Add([]byte{}, uint8(0))
	f.Add(bytes.Repeat([]byte{0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, 4), uint8(12))
	f.Add(append([]byte{0xB1, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 0xBE, 0xDE, 0, 1, 0x10, 7, 0, 0}, g.Next()...), uint8(200))
	f.Add(append([]byte{0x80, 33, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1}, g.Next()...), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		e := env("lo")
		to := flow.New(flow.Limits{Retain: time.Hour, MaxBytes: 1 << 20})
		cursor := to.Open()
		in := NewInput(InputConfig{}, nil, e).(*input)
		r := newReceiver(in, netip.Addr{}, to)
		from, now := netip.MustParseAddrPort("192.0.2.1:1"), time.Now()
		// The data cut into datagrams, as it is and behind a good header.
		step := int(size)*8 + 1
		for n := 0; n < len(data); n += step {
			part := data[n:min(n+step, len(data))]
			now = now.Add(7 * time.Millisecond)
			r.take(part, from, now)
			r.take(append([]byte{0x80, 33, 0, part[0], 0, 0, 0, 0, 0, 0, 0, 1}, part...), from, now)
		}
		r.expire(now.Add(time.Second))
		dst := make([]media.Packet, 64)
		for {
			n, _ := cursor.Poll(dst)
			if n == 0 {
				break
			}
			for _, p := range dst[:n] {
				if p.Format.Kind == media.TS && (len(p.Data) == 0 || len(p.Data)%188 != 0) {
					t.Fatalf("%d bytes of MPEG-TS", len(p.Data))
				}
			}
		}
		checkLedger(t, "input", e.Ledger)
	})
}

// What did not fit the socket is lost: RTP counts it by its sequence numbers,
// bare UDP has only the kernel to tell.
func TestOverflow(t *testing.T) {
	for encapsulation, want := range map[string]uint64{EncapsulationRTP: 0, EncapsulationUDP: 7} {
		b := newBench(t, InputConfig{Encapsulation: encapsulation}, nil)
		b.overflow(7, b.now)
		if got := b.ledger.Lost.Load(); got != want {
			t.Errorf("%s: %d lost, want %d", encapsulation, got, want)
		}
	}
}
