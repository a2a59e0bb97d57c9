package rtp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// Sending a datagram costs no memory.
func TestSendingDoesNotAllocate(t *testing.T) {
	out, st := sending(t)
	p := media.Packet{Format: &media.Format{Kind: media.TS}, Arrival: time.Now(), Data: relaytest.NewTS(1).Next()}
	if got := testing.AllocsPerRun(1000, func() { st.take(p, p.Data); st.flush() }); got >= 1 {
		t.Errorf("%v allocations a datagram", got)
	}
	checkLedger(t, "output", out.env.Ledger)
}

func BenchmarkSend(b *testing.B) {
	_, st := sending(b)
	p := media.Packet{Format: &media.Format{Kind: media.TS}, Arrival: time.Now(), Data: relaytest.NewTS(1).Next()}
	b.SetBytes(relaytest.DatagramSize)
	b.ReportAllocs()
	for b.Loop() {
		st.take(p, p.Data)
		st.flush()
	}
}

// sending returns an output with an open socket, and what it sends. Nobody
// reads that, who would have to be told from who sends.
func sending(tb testing.TB) (*output, *stream) {
	conn := listenLoopback(tb)
	tb.Cleanup(func() { conn.Close() })
	port := conn.LocalAddr().(*net.UDPAddr).Port
	out := NewOutput(OutputConfig{TTL: 16, Destinations: []Destination{{Host: "127.0.0.1", Port: port}}}, env("lo")).(*output)
	sender, err := out.legs[0].open(tb.Context())
	must(tb, err)
	tb.Cleanup(sender.close)
	out.legs[0].sender.Store(sender)
	return out, out.streams()[0]
}

func BenchmarkReceive(b *testing.B) {
	in := NewInput(InputConfig{}, nil, env("lo")).(*input)
	f := flow.New(flow.Limits{Retain: time.Second, MaxBytes: 64 << 20})
	r := newReceiver(in, netip.Addr{}, f)
	g, now := relaytest.NewTS(1), time.Now()
	var packets [][]byte
	for n := range 1000 {
		packets = append(packets, wrap(b, uint16(n), 7, g.Next()))
	}
	sender := netip.MustParseAddrPort("192.0.2.1:4000")
	b.SetBytes(relaytest.DatagramSize)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p := packets[n%1000]
		p[2], p[3] = byte(n>>8), byte(n)
		now = now.Add(100 * time.Microsecond)
		r.take(p, sender, now)
		n++
	}
}
