package rtp

import (
	"bytes"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// wrap makes the RTP packet of a payload.
func wrap(t testing.TB, sequence uint16, ssrc uint32, payload []byte) []byte {
	t.Helper()
	b, err := (&rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: payloadMPEGTS, SequenceNumber: sequence, SSRC: ssrc, Timestamp: uint32(sequence) * 237},
		Payload: payload,
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What goes in comes out byte for byte: RTP and UDP input, flow, RTP and UDP
// output.
func TestRelayIsByteForByte(t *testing.T) {
	const count = 2000
	for _, encapsulation := range []string{EncapsulationRTP, EncapsulationUDP} {
		t.Run(encapsulation, func(t *testing.T) {
			port := relaytest.FreePort(t)
			ein, eout := env("lo"), env("lo")
			in, f := startInput(t, InputConfig{Port: port, Encapsulation: encapsulation}, nil, ein)
			s := newSink(t, listenLoopback(t))
			out, stop := startOutput(t, OutputConfig{
				Destinations: []Destination{{Host: "127.0.0.1", Port: s.port()}}, Encapsulation: encapsulation,
			}, f, eout, 1)
			conn, g := dialPort(t, port), relaytest.NewTS(1)
			for n := range count {
				b := g.Next()
				if encapsulation == EncapsulationRTP {
					b = wrap(t, uint16(65000+n), 7, b)
				}
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
				keepPace(n)
			}
			v := relaytest.NewVerifier(1)
			var last rtp.Header
			for n, b := range s.wait(t, count) {
				if encapsulation == EncapsulationRTP {
					var p rtp.Packet
					if err := p.Unmarshal(b); err != nil || p.PayloadType != 33 || len(p.CSRC) != 0 || p.Extension || p.Padding {
						t.Fatalf("datagram %d: %v %+v", n, err, p.Header)
					}
					if n > 0 && (p.SSRC != last.SSRC || p.SequenceNumber != last.SequenceNumber+1 || int32(p.Timestamp-last.Timestamp) < 0) {
						t.Fatalf("datagram %d: %+v after %+v", n, p.Header, last)
					}
					if p.Marker != (n == 0) {
						t.Errorf("datagram %d: marker is %v", n, p.Marker)
					}
					last, b = p.Header, p.Payload
				}
				if len(b) != relaytest.DatagramSize {
					t.Fatalf("datagram %d has %d bytes", n, len(b))
				}
				v.Feed(b)
			}
			if r := v.Report(); r.Intact() != nil || r.Received != count || r.First != 0 {
				t.Errorf("%+v", r)
			}
			is, os := in.Status(), out.Status()
			if is.Phase != endpoint.Connected || is.Peer != conn.LocalAddr().String() || time.Since(is.Received) > time.Minute {
				t.Errorf("input: %+v", is)
			}
			if os.Phase != endpoint.Connected || os.Acknowledges || time.Since(os.Sent) > time.Minute || len(os.Destinations) != 1 {
				t.Errorf("output: %+v", os)
			}
			_ = stop()
			checkLedger(t, "input", ein.Ledger)
			checkLedger(t, "output", eout.Ledger)
			if n := eout.Ledger.Sent.Load(); n != count || eout.Ledger.Bytes.Load() != count*1316 {
				t.Errorf("%d sent, %d bytes", n, eout.Ledger.Bytes.Load())
			}
		})
	}
}

// A UDP source that cuts packets anywhere comes out in alignment.
func TestUnalignedUDPIsRealigned(t *testing.T) {
	port := relaytest.FreePort(t)
	ein := env("lo")
	_, f := startInput(t, InputConfig{Port: port, Encapsulation: EncapsulationUDP}, nil, ein)
	cursor := f.Open()
	var all []byte
	g := relaytest.NewTS(2)
	for range 200 {
		all = append(all, g.Next()...)
	}
	conn := dialPort(t, port)
	for n := 0; len(all) > 0; n++ {
		size := min(1000, len(all))
		if _, err := conn.Write(all[:size]); err != nil {
			t.Fatal(err)
		}
		all = all[size:]
		keepPace(n)
	}
	v := relaytest.NewVerifier(2)
	read(t, cursor, func(p media.Packet) bool {
		if len(p.Data)%188 != 0 || len(p.Data) > 1316 || p.Data[0] != 0x47 {
			t.Fatalf("%d bytes from %#x", len(p.Data), p.Data[0])
		}
		v.Feed(p.Data)
		return v.Report().Received < 200
	})
	if err := v.Report().Intact(); err != nil {
		t.Error(err)
	}
}

// read calls each for every packet until it returns false.
func read(t testing.TB, c *flow.Cursor, each func(media.Packet) bool) {
	t.Helper()
	dst := make([]media.Packet, 1)
	eventually(t, "all packets in the flow", func() bool {
		for {
			n, _ := c.Poll(dst)
			if n == 0 {
				return false
			}
			if !each(dst[0]) {
				return true
			}
		}
	})
}

// What is not MPEG-TS is relayed as it came, in either encapsulation.
func TestOpaqueDatagramsAreRelayed(t *testing.T) {
	const count = 300
	for _, encapsulation := range []string{EncapsulationRTP, EncapsulationUDP} {
		port := relaytest.FreePort(t)
		_, f := startInput(t, InputConfig{Port: port, Encapsulation: encapsulation}, nil, env("lo"))
		s := newSink(t, listenLoopback(t))
		startOutput(t, OutputConfig{
			Destinations: []Destination{{Host: "127.0.0.1", Port: s.port()}}, Encapsulation: encapsulation,
		}, f, env("lo"), 1)
		conn, g := dialPort(t, port), relaytest.NewDatagrams(4)
		for n := range count {
			b := g.Next()
			if encapsulation == EncapsulationRTP {
				b = wrap(t, uint16(n), 7, b)
			}
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			keepPace(n)
		}
		v := relaytest.NewDatagramVerifier(4)
		for _, b := range s.wait(t, count) {
			if encapsulation == EncapsulationRTP {
				b = b[12:]
			}
			v.Feed(b)
		}
		if r := v.Report(); r.Intact() != nil || r.Received != count {
			t.Errorf("%s: %+v", encapsulation, r)
		}
	}
}

// generate returns a flow that publishes n datagrams when told to.
func generate(t testing.TB, seed uint64) (f *flow.Flow, publish func(n int)) {
	f = flow.New(flow.Limits{Retain: time.Minute, MaxBytes: 64 << 20})
	g := relaytest.NewTS(seed)
	format := &media.Format{Kind: media.TS}
	at := time.Now()
	return f, func(count int) {
		for n := range count {
			at = at.Add(g.Interval())
			f.Publish([]media.Packet{{Format: format, Arrival: at, Data: g.Next()}})
			keepPace(n)
		}
	}
}

func TestHitlessLegsAreIdentical(t *testing.T) {
	for _, hitless := range []bool{true, false} {
		f, publish := generate(t, 1)
		a, b := newSink(t, listenLoopback(t)), newSink(t, listenLoopback(t))
		e := env("lo")
		_, stop := startOutput(t, OutputConfig{
			Destinations: []Destination{{Host: "127.0.0.1", Port: a.port()}, {Host: "127.0.0.1", Port: b.port()}},
			Hitless:      hitless,
		}, f, e, 2)
		publish(200)
		if same := bytes.Equal(bytes.Join(a.wait(t, 200), nil), bytes.Join(b.wait(t, 200), nil)); same != hitless {
			t.Errorf("hitless %v: the legs being identical is %v", hitless, same)
		}
		_ = stop()
		checkLedger(t, "output", e.Ledger)
		if n := e.Ledger.Sent.Load(); n != 400 {
			t.Errorf("%d datagrams sent on two legs", n)
		}
	}
}

func TestTimestampIsArrivalAt90kHz(t *testing.T) {
	f, _ := generate(t, 1)
	s := newSink(t, listenLoopback(t))
	startOutput(t, OutputConfig{Destinations: []Destination{{Host: "127.0.0.1", Port: s.port()}}}, f, env("lo"), 1)
	format, start := &media.Format{Kind: media.TS}, time.Now()
	data := relaytest.NewTS(1).Next()
	for n, after := range []time.Duration{0, time.Second, 1500 * time.Millisecond, 30 * time.Hour} {
		f.Publish([]media.Packet{{Format: format, Arrival: start.Add(after), Data: data}})
		s.wait(t, n+1)
	}
	var first uint32
	for n, b := range s.wait(t, 4) {
		var p rtp.Packet
		if err := p.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = p.Timestamp
		}
		want := []uint64{0, 90_000, 135_000, 30 * 3600 * 90_000}[n]
		if got := p.Timestamp - first; got != uint32(want) {
			t.Errorf("datagram %d: timestamp +%d, want +%d", n, got, uint32(want))
		}
	}
}

func TestLargeDatagramsAreDivided(t *testing.T) {
	f, _ := generate(t, 1)
	s := newSink(t, listenLoopback(t))
	startOutput(t, OutputConfig{Destinations: []Destination{{Host: "127.0.0.1", Port: s.port()}}}, f, env("lo"), 1)
	g := relaytest.NewTS(1)
	data := append(append(g.Next(), g.Next()...), g.Next()[:3*188]...)
	f.Publish([]media.Packet{{Format: &media.Format{Kind: media.TS}, Arrival: time.Now(), Data: data, Header: make([]byte, 12)}})
	var got []byte
	for n, b := range s.wait(t, 3) {
		if want := []int{1316, 1316, 3 * 188}[n]; len(b) != 12+want {
			t.Errorf("datagram %d has %d bytes", n, len(b))
		}
		got = append(got, b[12:]...)
	}
	if !bytes.Equal(got, data) {
		t.Error("bytes were changed")
	}
}

func TestHeadersArePreserved(t *testing.T) {
	port := relaytest.FreePort(t)
	_, f := startInput(t, InputConfig{Port: port}, nil, env("lo"))
	s := newSink(t, listenLoopback(t))
	startOutput(t, OutputConfig{
		Destinations: []Destination{{Host: "127.0.0.1", Port: s.port()}}, PreserveRTPHeader: true,
	}, f, env("lo"), 1)
	conn, g := dialPort(t, port), relaytest.NewTS(1)
	var want [][]byte
	for n := range 20 {
		h := rtp.Header{
			Version: 2, PayloadType: 96, SequenceNumber: uint16(n), SSRC: 5, Timestamp: uint32(n) * 1000, Marker: n%2 == 0,
			CSRC: []uint32{1, 2}, Padding: true, PaddingSize: 4,
		}
		if err := h.SetExtension(1, []byte("time")); err != nil {
			t.Fatal(err)
		}
		payload := g.Next()
		b, err := (&rtp.Packet{Header: h, Payload: payload, PaddingSize: 4}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		h.Padding, h.PaddingSize = false, 0
		header, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, append(header, payload...))
	}
	for n, b := range s.wait(t, 20) {
		if !bytes.Equal(b, want[n]) {
			t.Fatalf("datagram %d: % x, want % x", n, b[:40], want[n][:40])
		}
	}
}

func TestOneDestinationDoesNotStopTheOther(t *testing.T) {
	for name, other := range map[string]Destination{
		"no such name":    {Host: "nowhere.example", Port: 5004, Uplink: "nodns"},
		"no uplink":       {Host: "127.0.0.1", Port: 5004, Uplink: "down"},
		"refused by host": {Host: "127.0.0.1", Port: 0}, // EINVAL
	} {
		t.Run(name, func(t *testing.T) {
			f, publish := generate(t, 1)
			s := newSink(t, listenLoopback(t))
			e := env("lo")
			out, stop := startOutput(t, OutputConfig{
				Destinations: []Destination{other, {Host: "127.0.0.1", Port: s.port()}}, Encapsulation: EncapsulationUDP,
			}, f, e, 1)
			eventually(t, "the good destination is open", func() bool { return out.Status().Destinations[1].Phase == endpoint.Connected })
			publish(100)
			v := relaytest.NewVerifier(1)
			for _, b := range s.wait(t, 100) {
				v.Feed(b)
			}
			if err := v.Report().Intact(); err != nil {
				t.Error(err)
			}
			eventually(t, "the reason is shown", func() bool {
				st := out.Status()
				return st.Phase == endpoint.Connected && st.Destinations[0].Phase == endpoint.Connecting && st.Destinations[0].Reason != nil
			})
			_ = stop()
			checkLedger(t, "output", e.Ledger)
			if n := e.Ledger.Sent.Load(); n != 100 {
				t.Errorf("%d sent", n)
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	for _, offset := range []int{0, 1} {
		port := relaytest.FreePort(t)
		taken, err := net.ListenUDP("udp", &net.UDPAddr{Port: port + offset})
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		err = NewInput(InputConfig{Port: port}, nil, env("lo")).Run(t.Context(), flow.New(flow.DefaultLimits))
		if phase, why := endpoint.Explain(err); phase != endpoint.Unworkable || why.Code != "port_taken" {
			t.Errorf("port+%d taken: %v %v", offset, phase, why)
		}
	}
}

func TestSmoothingIsRefused(t *testing.T) {
	f, _ := generate(t, 1)
	err := NewOutput(OutputConfig{SmoothingLatencyMS: 100}, env("lo")).Run(t.Context(), f)
	if phase, why := endpoint.Explain(err); phase != endpoint.Unworkable || why.Code != "unsupported" {
		t.Errorf("%v %v", phase, why)
	}
}

func TestNamesAreResolved(t *testing.T) {
	f, publish := generate(t, 1)
	s := newSink(t, listenLoopback(t))
	out, _ := startOutput(t, OutputConfig{Destinations: []Destination{{Host: "localhost", Port: s.port()}}}, f, env("lo"), 1)
	publish(10)
	s.wait(t, 10)
	if d := out.Status().Destinations[0]; d.Phase != endpoint.Connected || !strings.HasPrefix(d.Address, "localhost:") {
		t.Errorf("%+v", d)
	}
}

// A new generation of one destination's uplink makes that socket anew, and
// leaves the other alone.
func TestNewGenerationRebuildsOneLeg(t *testing.T) {
	a, b := newSink(t, listenLoopback(t)), newSink(t, listenLoopback(t))
	wan0, wan1 := relaytest.NewUplink("wan0"), relaytest.NewUplink("wan1")
	e := env("lo")
	e.UplinkNamed = func(name string) endpoint.Uplink {
		if name == "wan1" {
			return wan1
		}
		return wan0
	}
	f, publish := generate(t, 1)
	out, _ := startOutput(t, OutputConfig{Destinations: []Destination{
		{Host: "127.0.0.1", Port: a.port(), Uplink: "wan0"},
		{Host: "127.0.0.1", Port: b.port(), Uplink: "wan1"},
	}}, f, e, 2)
	legs := out.(*output).legs
	first, second := legs[0].sender.Load(), legs[1].sender.Load()
	wan1.Renew()
	eventually(t, "a new socket on wan1", func() bool {
		s := legs[1].sender.Load()
		return s != nil && s != second
	})
	if legs[0].sender.Load() != first {
		t.Error("the socket on wan0 was made anew too")
	}
	publish(10)
	a.wait(t, 10)
	b.wait(t, 10)
}

// What comes at once after a slow stream waits in the buffer while the input
// rests, and none of it is lost.
func TestBurstFindsTheInputAtRest(t *testing.T) {
	const slow, fast = 50, 2500
	port := relaytest.FreePort(t)
	conn := dialPort(t, port)
	if err := setsockopt(conn, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer); err != nil {
		t.Skipf("needs a large receive buffer, and so CAP_NET_ADMIN: %v", err)
	}
	e := env("lo")
	_, f := startInput(t, InputConfig{Port: port, Encapsulation: EncapsulationUDP}, nil, e)
	cursor := f.Open()
	g, v := relaytest.NewTS(3), relaytest.NewVerifier(3)
	for n := range slow + fast {
		if n < slow {
			time.Sleep(time.Millisecond)
		}
		_, err := conn.Write(g.Next())
		must(t, err)
	}
	read(t, cursor, func(p media.Packet) bool {
		v.Feed(p.Data)
		return v.Report().Received < slow+fast
	})
	if err := v.Report().Intact(); err != nil {
		t.Error(err)
	}
}
