package srt

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// A rawCaller shakes hands by hand.
type rawCaller struct {
	t    *testing.T
	conn *net.UDPConn
}

const rawID = 77

func newRawCaller(t *testing.T, port int) *rawCaller {
	t.Helper()
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &rawCaller{t, c}
}

// ask sends a handshake packet and returns the answer.
func (c *rawCaller) ask(b []byte) *handshake {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for answer := make([]byte, maxDatagram); ; {
		n, err := c.conn.Read(answer)
		if err != nil {
			c.t.Fatal(err)
		}
		if h, _ := parseHandshake(answer[:n]); h != nil && h.to == rawID {
			return h
		}
	}
}

// conclude asks for the cookie and then for the connection.
func (c *rawCaller) conclude(version uint32, change func(b []byte), pieces ...piece) *handshake {
	c.t.Helper()
	first := c.ask(makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID))
	b := makeHandshake(version, packet.HSTYPE_CONCLUSION, 0, rawID, pieces...)
	binary.BigEndian.PutUint32(b[headerSize+28:], first.SynCookie)
	if change != nil {
		change(b)
	}
	return c.ask(b)
}

// hello is a handshake extension of a release of libsrt.
func hello(version uint32, flags uint32) piece {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, version), flags)
	return piece{extensionHSReq, binary.BigEndian.AppendUint32(b, 120<<16|120)}
}

// Flags as libsrt sends them: of version 1.3.0, 1.5.0, and for files.
const (
	flags130  = 0x3F
	flags150  = 0xBF
	flagsFile = 0xFC
)

// TestKindsOfCallers: older peers are let in as far as the protocol allows, and
// what we do not do is refused with the code for it.
func TestKindsOfCallers(t *testing.T) {
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	for _, c := range []struct {
		name    string
		version uint32
		change  func([]byte)
		pieces  []piece
		want    refusal // 0: let in
	}{
		{"1.5.0", 5, nil, []piece{hello(0x010500, flags150)}, 0},
		{"1.3.0", 5, nil, []piece{hello(0x010300, flags130)}, 0},
		{"without late packet drop, NAK reports and retransmission flags", 5, nil, []piece{hello(0x010300, 7)}, 0},
		{"an unknown extension", 5, nil, []piece{hello(0x010500, flags150), {99, make([]byte, 8)}}, 0},
		{"a handshake of version 4", 4, nil, nil, refuseVersion},
		{"1.2.0", 5, nil, []piece{hello(0x010200, flags130)}, refuseVersion},
		{"without an extension", 5, nil, nil, refuseVersion},
		{"a file", 5, nil, []piece{hello(0x010500, flagsFile), {extensionCongestion, []byte("elif")}}, refuseMode},
		{"a byte stream", 5, nil, []piece{hello(0x010500, flags150|1<<6)}, refuseMode},
		{"a packet filter", 5, nil, []piece{hello(0x010500, flags150), {extensionFilter, []byte("cef,")}}, refuseFilter},
		{"a group", 5, nil, []piece{hello(0x010500, flags150), {extensionGroup, make([]byte, 8)}}, refuseGroup},
		{"small packets", 5, func(b []byte) { binary.BigEndian.PutUint32(b[headerSize+12:], 1000) }, []piece{hello(0x010500, flags150)}, refuseRogue},
		{"an extension cut short", 5, nil, []piece{{extensionHSReq, make([]byte, 4)}}, refuseRogue},
		{"a rendezvous", 5, func(b []byte) { binary.BigEndian.PutUint32(b[headerSize+20:], 0) }, nil, refuseRogue},
	} {
		t.Run(c.name, func(t *testing.T) {
			caller := newRawCaller(t, port)
			h := caller.conclude(c.version, c.change, c.pieces...)
			code, refused := h.refusal()
			switch {
			case c.want != 0 && (!refused || code != c.want):
				t.Errorf("%v, want %d", h.HandshakeType, c.want)
			case c.want == 0 && (refused || !h.HasHS || h.Version != 5):
				t.Errorf("refused with %d", code)
			case c.want != 0:
				if why := out.Status().Reason; len(viewers(out)) == 0 && (why == nil || why.Code != "peer_refused") {
					t.Errorf("reason %v", why)
				}
				if reason := code.reason("peer:1", false); reason.Code == "peer" {
					t.Errorf("our own caller would not understand %d", code)
				}
				return
			}
			// Who asks again gets the same answer, and no second connection.
			n := len(viewers(out))
			again := caller.conclude(c.version, c.change, c.pieces...)
			if again.SRTSocketId != h.SRTSocketId || len(viewers(out)) != n {
				t.Errorf("socket %d, then %d", h.SRTSocketId, again.SRTSocketId)
			}
			// It is kicked to make room for the next.
			for _, s := range out.Status().Sessions {
				out.Output.(endpoint.Gate).Kick(s.ID)
			}
			await(t, "it is gone", func() bool { return len(viewers(out)) == 0 })
		})
	}
	if n := out.env.Ledger.Refused.Load(); n != 10 {
		t.Errorf("%d were refused", n)
	}
}

// TestLatencyIsNegotiated: the larger of both sides' is used, each way by
// itself.
func TestLatencyIsNegotiated(t *testing.T) {
	cfg := listenerConfig()
	cfg.LatencyMS = 300
	out := runOutput(t, cfg, anyone, live(t))
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0x010500), flags150)
	h := newRawCaller(t, out.port(t)).conclude(5, nil, piece{extensionHSReq, binary.BigEndian.AppendUint32(b, 500<<16|200)})
	// It receives with 500 and sends with 200.
	if h.SRTHS.SendTSBPDDelay != 500 || h.SRTHS.RecvTSBPDDelay != 300 {
		t.Errorf("%d ms for what we send, %d ms for what we receive", h.SRTHS.SendTSBPDDelay, h.SRTHS.RecvTSBPDDelay)
	}
	await(t, "it shows", func() bool { s := out.Status(); return s.Latency == 500*time.Millisecond })
}

// TestSourceComesBack: a source that vanished, and connects anew from the same
// host, need not wait until its old connection is given up.
func TestSourceComesBack(t *testing.T) {
	relaytest.TakesSeconds(t)
	cfg := listenerConfig()
	cfg.PeerIdleTimeoutMS = 10_000
	in := runInput(t, cfg)
	port := in.port(t)
	gone := newRawCaller(t, port)
	if _, refused := gone.conclude(5, nil, hello(0x010500, flags150)).refusal(); refused {
		t.Fatal("refused")
	}
	await(t, "it is connected", func() bool { return in.Status().Phase == endpoint.Connected })
	began := time.Now()
	await(t, "it is let in anew", func() bool {
		_, refused := newRawCaller(t, port).conclude(5, nil, hello(0x010500, flags150)).refusal()
		return !refused
	})
	if took := time.Since(began); took < 2*time.Second || took > 8*time.Second { // not at once, and before it is given up
		t.Errorf("after %v", took)
	}
	await(t, "the old one is gone", func() bool { return len(in.Status().Sessions) == 1 })
}
