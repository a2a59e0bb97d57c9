package srt

import (
	"bytes"
	"context"
	"testing"
	"time"

	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// TestDatagrams keeps the boundaries of payloads that are not TS, cuts
// transport streams between packets, and counts what cannot be carried.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	f := flow.New(flow.DefaultLimits)
	out := runOutput(t, listenerConfig(), anyone, f)
	cfg := callerConfig("127.0.0.1", out.port(t))
	e, _ := env(t)
	in := NewInput(NewTransport(e.Log), cfg, anyone, e)
	to := flow.New(flow.DefaultLimits)
	cursor := to.Open()
	background(t, func(ctx context.Context) error { return in.Run(ctx, to) })
	await(t, "the viewer is there", func() bool { return len(viewers(out)) == 1 })

	opaque := &media.Format{Kind: media.Datagram}
	var want [][]byte
	for i := range 40 {
		data := bytes.Repeat([]byte{byte(i), 0xA5}, 50+i)
		want = append(want, data)
		f.Publish([]media.Packet{{Format: opaque, Arrival: time.Now(), Data: data}})
	}
	f.Publish([]media.Packet{{Format: opaque, Arrival: time.Now(), Data: make([]byte, payloadSize+1)}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got [][]byte
	for b := make([]media.Packet, 64); len(got) < len(want); {
		n, _, err := cursor.Next(ctx, b)
		if err != nil {
			t.Fatalf("%d of %d arrived: %v", len(got), len(want), err)
		}
		for _, p := range b[:n] {
			got = append(got, p.Data)
		}
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("payload %d: got %d bytes, want %d", i, len(got[i]), len(want[i]))
		}
	}
	if d := out.env.Ledger.Dropped(); d["wrong_format"] != 1 || len(d) != 1 {
		t.Errorf("dropped %v", d)
	}
}

func TestLargeDatagrams(t *testing.T) {
	t.Parallel()
	f := flow.New(flow.DefaultLimits)
	out := runOutput(t, listenerConfig(), anyone, f)
	format, ts := &media.Format{Kind: media.TS}, relaytest.NewTS(1)
	background(t, func(ctx context.Context) error {
		return paced(ctx, 3*ts.Interval(), func() error {
			data := append(append(ts.Next(), ts.Next()...), ts.Next()...)
			f.Publish([]media.Packet{{Format: format, Arrival: time.Now(), Data: data}})
			return nil
		})
	})
	in := runInput(t, callerConfig("127.0.0.1", out.port(t)))
	await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 50 })
	intact(t, in.seen)
}
