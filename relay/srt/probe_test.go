package srt

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

func TestProbe(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.LocalAddr().(*net.UDPAddr).AddrPort()
	answers := make(chan []byte, 1)
	done := make(chan struct{})
	go func() { // answers every request with what the test says, if anything
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			answer := <-answers
			answers <- answer
			if len(answer) == 64 {
				copy(answer[12:16], b[40:44]) // to whom asked
			}
			if n == 64 && len(answer) > 0 {
				_, _ = l.WriteTo(answer, from)
			}
		}
	}()
	defer func() { l.Close(); <-done }()

	request := packetOf(induction(7, 0, netip.IPv4Unspecified()), 0, 0)
	good := bytes.Clone(request)
	good[19], good[22], good[23] = 5, 0x4a, 0x17
	for _, c := range []struct {
		name   string
		answer []byte
		want   string // of the error; empty: none
	}{
		{"a listener", good, ""},
		{"something else", []byte("hello"), "does not speak SRT"},
		{"its own request", request, "does not speak SRT"},
		{"silence", nil, "no answer"},
	} {
		answers <- c.answer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if c.want != "" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 700*time.Millisecond)
		}
		_, err := Probe(ctx, relaytest.NewUplink("wan0"), at)
		cancel()
		<-answers
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Nobody there at all.
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if _, err := Probe(ctx, relaytest.NewUplink("wan0"), netip.MustParseAddrPort("127.0.0.1:1")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
}

// A real listener answers, and has no more sessions for it.
func TestProbeListener(t *testing.T) {
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: 4}, flow.New(flow.Limits{Retain: time.Second, MaxBytes: 1 << 20}))
	port := out.port(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := Probe(ctx, out.env.Uplink, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))); err != nil {
		t.Error(err)
	}
	if s := out.Status(); len(s.Sessions) != 0 || out.env.Ledger.Refused.Load() != 0 {
		t.Errorf("after it: %+v", s)
	}
}
