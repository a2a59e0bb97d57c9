package srt

import (
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/relay/udp"
)

// A drain is an outlet that keeps nothing, as a loop after it has written.
type drain struct {
	arena arena
	n     int
}

func (d *drain) room(n int) []byte { return d.arena.alloc(n) }

func (d *drain) put(udp.Message) {
	if d.n++; d.n%writeBatch == 0 {
		d.arena.reset()
	}
}

// A sendRig is a connection that sends, whose peer acknowledges everything.
type sendRig struct {
	conn   *conn
	flow   *flow.Flow
	format *media.Format
	data   []byte
	now    time.Time
	ack    [fullACKSize]byte
	number uint32
}

func newSendRig(tb testing.TB, keys *keyring) *sendRig {
	r := &sendRig{
		flow:   flow.New(flow.Limits{Retain: time.Second, MaxBytes: 64 << 20}),
		format: &media.Format{Kind: media.TS}, data: relaytest.NewTS(1).Next(), now: simEpoch,
	}
	cursor := r.flow.Open()
	terms := (&simulation{latency: 120 * time.Millisecond}).terms()
	r.conn = newConn(side{id: 1, peerID: 2, idle: time.Minute, terms: terms, keys: keys}, simEpoch, &drain{})
	r.conn.half = newSender(r.conn, cursor, &endpoint.Ledger{}, 100, stuckAfter)
	r.conn.ended = func(cause error) { tb.Error(cause) }
	return r
}

// window is one of a loop: ten packets are published, sent and acknowledged.
func (r *sendRig) window() {
	r.now = r.now.Add(tick)
	for range 10 {
		r.flow.Publish([]media.Packet{{Format: r.format, Arrival: r.now, Data: r.data}})
	}
	r.send()
}

func (r *sendRig) send() {
	r.conn.pump(r.now, false)
	a := acknowledgement{next: r.conn.half.(*sender).next, rtt: time.Millisecond, room: mostHeld}
	n := a.put(r.ack[:])
	r.number++
	r.conn.take(header{control: true, kind: controlACK, specific: r.number}, r.ack[:n], r.now, r.now)
}

// A receiveRig is a connection that receives in order.
type receiveRig struct {
	conn *conn
	h    header
	data []byte
	now  time.Time
}

func newReceiveRig(tb testing.TB, keys *keyring) *receiveRig {
	r := &receiveRig{data: relaytest.NewTS(1).Next(), now: simEpoch, h: header{flags: flagSolo | 1, to: 1}}
	if keys != nil {
		r.h.flags |= flagEvenKey
	}
	terms := (&simulation{latency: 120 * time.Millisecond}).terms()
	r.conn = newConn(side{id: 1, peerID: 2, idle: time.Minute, terms: terms, keys: keys}, simEpoch, &drain{})
	to := flow.New(flow.Limits{Retain: time.Second, MaxBytes: 64 << 20})
	r.conn.half = newReceiver(r.conn, 0, 0, 0, to, &endpoint.Ledger{})
	r.conn.ended = func(cause error) { tb.Error(cause) }
	return r
}

// window is one of a loop: ten packets come, and others are played.
func (r *receiveRig) window() {
	r.now = r.now.Add(tick)
	for range 10 {
		r.h.time = microseconds(r.conn.at(r.now))
		r.conn.take(r.h, r.data, r.now, r.now)
		r.h.sequence = r.h.sequence.plus(1)
	}
	r.conn.tick(r.now)
}

func ring(tb testing.TB, length int) *keyring {
	if length == 0 {
		return nil
	}
	k, err := newKeyring(endpoint.NewSecret(passphrase), length)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// TestSendingDoesNotAllocate: a packet that is sent in the clear to one more
// viewer costs no memory, nor do its acknowledgements.
func TestSendingDoesNotAllocate(t *testing.T) {
	r := newSendRig(t, nil)
	const windows = 100
	for range windows * 10 { // the ring and the arena find their sizes
		r.window()
	}
	var batch []media.Packet
	for range 10 * (windows + 1) {
		batch = append(batch, media.Packet{Format: r.format, Arrival: r.now, Data: r.data})
	}
	r.flow.Publish(batch)
	got := testing.AllocsPerRun(windows, func() {
		r.conn.half.(*sender).packets = r.conn.half.(*sender).packets[:0:10] // ten at a time
		r.send()
	})
	if got > 0 {
		t.Errorf("%v allocations in a window of ten packets", got)
	}
}

func BenchmarkSend(b *testing.B) {
	for name, length := range map[string]int{"clear": 0, "AES-128": 16, "AES-256": 32} {
		b.Run(name, func(b *testing.B) {
			r := newSendRig(b, ring(b, length))
			b.SetBytes(10 * payloadSize)
			b.ReportAllocs()
			for b.Loop() {
				r.window()
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for name, length := range map[string]int{"clear": 0, "AES-128": 16, "AES-256": 32} {
		b.Run(name, func(b *testing.B) {
			r := newReceiveRig(b, ring(b, length))
			b.SetBytes(10 * payloadSize)
			b.ReportAllocs()
			for b.Loop() {
				r.window()
			}
		})
	}
}
