package load

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"sluice/bench/wire"
)

// How a published stream is cut: a frame holds all the payloads that are due,
// 19 at 10 Mbit/s.
const (
	frameEvery = 20 * time.Millisecond
	keyEvery   = 50 // frames
	avcHeader  = 5  // of a video message
	nalHeader  = 4 + 1
)

// avcConfig is what decoders of H.264 must know first: 1280 x 720, baseline.
// Relays look at it, and at nothing behind it.
var avcConfig = []byte{
	1, 0x42, 0xC0, 0x1F, 0xFF,
	0xE1, 0, 9, 0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x01, 0x40, 0x16, 0xE4,
	1, 0, 4, 0x68, 0xCE, 0x38, 0x80,
}

// A Publisher publishes a stamped stream of video to an RTMP server, a frame
// at a time. Make it with NewPublisher.
type Publisher struct {
	rate  float64 // payload bits per second
	conn  *wire.RTMP
	sent  atomic.Uint64
	frame []byte
}

// NewPublisher connects to a server on a port of the loopback, and tries until
// ctx is done.
func NewPublisher(ctx context.Context, port int, bitsPerSecond float64) (*Publisher, error) {
	conn, err := insist(ctx, port, wire.Publish)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return &Publisher{rate: bitsPerSecond, conn: conn}, nil
}

// insist connects again until it works or ctx is done: the server may not be
// there yet, nor what a player asks for.
func insist(ctx context.Context, port int, connect func(context.Context, int) (*wire.RTMP, error)) (*wire.RTMP, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := connect(ctx, port)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-again.C:
		}
	}
}

// Sent is how many payloads were sent so far.
func (p *Publisher) Sent() uint64 { return p.sent.Load() }

// Run sends until ctx is done or the server ends the connection, and closes it.
func (p *Publisher) Run(ctx context.Context) {
	defer p.conn.Close()
	// A server that reads no more must not hold the end up.
	defer context.AfterFunc(ctx, p.conn.Abort)()
	if p.conn.SendMetadata() != nil || p.conn.Send(wire.Video, 0, append([]byte{0x17, 0, 0, 0, 0}, avcConfig...)) != nil {
		return
	}
	perPayload := PayloadSize * 8 / p.rate // seconds
	heard := make([]byte, 4096)
	begin := time.Now()
	ticks := time.NewTicker(frameEvery)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now := time.Now()
		if due := uint64(now.Sub(begin).Seconds() / perPayload); due > p.sent.Load() {
			p.fill(n%keyEvery == 0, due, now)
			if p.conn.Send(wire.Video, uint32(now.Sub(begin).Milliseconds()), p.frame) != nil {
				return
			}
			p.sent.Store(due)
		}
		if p.conn.Poll(heard, func(wire.Message, int64) {}) != nil {
			return
		}
	}
}

// fill makes a frame of the payloads before due that were not sent.
func (p *Publisher) fill(key bool, due uint64, now time.Time) {
	first := p.sent.Load()
	size := int(due-first) * PayloadSize
	kind, nal := byte(0x27), byte(0x41)
	if key {
		kind, nal = 0x17, 0x65
	}
	p.frame = append(p.frame[:0], kind, 1, 0, 0, 0)
	p.frame = binary.BigEndian.AppendUint32(p.frame, uint32(1+size))
	p.frame = append(p.frame, nal)
	for n := first; n < due; n++ {
		p.frame = appendText(p.frame, n, now)
	}
}

// filler is a payload of the published stream, with room for a stamp.
var filler = func() (b [PayloadSize]byte) {
	for i := range b {
		b[i] = 'U'
	}
	return b
}()

// appendText appends a payload that is stamped in hexadecimal digits: what
// looks like a start code must not be in H.264.
func appendText(b []byte, sequence uint64, at time.Time) []byte {
	var binary [stampSize]byte
	stamp(binary[:], sequence, at)
	o := len(b)
	b = append(b, filler[:]...)
	hex.Encode(b[o:], binary[:])
	return b
}

// readText returns what appendText wrote.
func readText(b []byte) (sequence uint64, at int64, ok bool) {
	var binary [stampSize]byte
	if len(b) < 2*stampSize {
		return 0, 0, false
	}
	if _, err := hex.Decode(binary[:], b[:2*stampSize]); err != nil {
		return 0, 0, false
	}
	return readStamp(binary[:])
}
