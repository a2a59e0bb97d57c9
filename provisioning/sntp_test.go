package provisioning

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
)

// ntpStamp writes a time as RFC 5905 section 6 has it.
func ntpStamp(t time.Time) uint64 {
	return uint64(t.Unix()-ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// reply is what a good server answers to a question.
func reply(question []byte, received, transmitted time.Time) []byte {
	b := make([]byte, ntpSize)
	b[0], b[1] = 4<<3|4, 2
	copy(b[24:32], question[40:48])
	binary.BigEndian.PutUint64(b[32:], ntpStamp(received))
	binary.BigEndian.PutUint64(b[40:], ntpStamp(transmitted))
	return b
}

// serveNTP answers questions until the test ends: what answer returns is sent,
// each as a packet.
func serveNTP(t *testing.T, answer func(question []byte) [][]byte) (port int) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDP(b)
			if err != nil {
				return
			}
			for _, a := range answer(b[:n]) {
				conn.WriteToUDP(a, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// The clock of the box is compared with that of a server, and only with an
// answer that is one.
func TestNTP(t *testing.T) {
	a := &Agent{trials: make(chan struct{}, 1), o: Options{Uplinks: &fakeUplinks{status: []uplink.Status{{Name: "wan0", Ready: true}}}}}
	const late = 90 * time.Minute
	good := func(q []byte) []byte { at := time.Now().Add(late); return reply(q, at, at.Add(time.Millisecond)) }
	with := func(change func(b []byte)) func(q []byte) [][]byte {
		return func(q []byte) [][]byte { b := good(q); change(b); return [][]byte{b} }
	}
	for name, c := range map[string]struct {
		answer func(q []byte) [][]byte
		want   string // of a failure
	}{
		"good":           {answer: with(func([]byte) {})},
		"with extension": {answer: func(q []byte) [][]byte { return [][]byte{append(good(q), 1, 2, 3, 4)} }},
		"after others": {answer: func(q []byte) [][]byte {
			other := good(q)
			other[24]++
			binary.BigEndian.PutUint64(other[40:], ntpStamp(time.Now().Add(time.Hour)))
			return [][]byte{nil, {1, 2, 3}, q, other, good(q)}
		}},
		"refuses": {with(func(b []byte) { b[1] = 0; copy(b[12:], "RATE") }), "refuses to answer (RATE)"},
		"unset":   {with(func(b []byte) { b[0] |= 3 << 6 }), "does not know the time"},
		"far":     {with(func(b []byte) { b[1] = 16 }), "does not know the time"},
		"empty":   {with(func(b []byte) { clear(b[40:48]) }), "holds no time"},
	} {
		t.Run(name, func(t *testing.T) {
			port := serveNTP(t, func(q []byte) [][]byte {
				if len(q) != ntpSize || q[0] != 0x23 {
					t.Errorf("the question is % x", q)
				}
				return c.answer(q)
			})
			r, status := a.tryNow(t.Context(), fmt.Sprintf(`{"test":"ntp","uplink":"wan0","host":"127.0.0.1","port":%d}`, port))
			var v config.TestResult
			if status != 200 || json.Unmarshal(r.Data, &v) != nil {
				t.Fatalf("%d %v", status, r)
			}
			if c.want != "" {
				if v.OK || v.OffsetMS != nil || !strings.Contains(v.Message, c.want) {
					t.Errorf("%+v", v)
				}
				return
			}
			if !v.OK || v.OffsetMS == nil || math.Abs(*v.OffsetMS-milliseconds(late)) > 1000 || !strings.Contains(v.Message, "1h30m0") && !strings.Contains(v.Message, "1h29m59") || !strings.Contains(v.Message, "behind") {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A question that is lost is asked again.
func TestNTPAsksAgain(t *testing.T) {
	var asked atomic.Int32
	port := serveNTP(t, func(q []byte) [][]byte {
		if asked.Add(1) == 1 {
			return nil
		}
		return [][]byte{reply(q, time.Now(), time.Now())}
	})
	u := (&fakeUplinks{}).Get("wan0")
	if _, _, err := askNTP(t.Context(), u, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestNTPTime(t *testing.T) {
	for stamp, want := range map[uint64]string{
		0x80000000_00000000: "1968-01-20T03:14:08Z", 0xffffffff_80000000: "2036-02-07T06:28:15.5Z",
		0x00000000_00000001: "2036-02-07T06:28:16Z", 0x7fffffff_00000000: "2104-02-26T09:42:23Z",
		ntpStamp(time.Date(2026, 11, 25, 1, 2, 3, 250e6, time.UTC)): "2026-11-25T01:02:03.25Z",
	} {
		if got := ntpTime(stamp).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("%#x is %s, want %s", stamp, got, want)
		}
	}
	for offset, want := range map[time.Duration]string{
		90 * time.Second: "1m30s behind", -2 * time.Millisecond: "2ms ahead", 400 * time.Microsecond: "right", 0: "right",
	} {
		if got := lateness(offset); got != want {
			t.Errorf("%v: %s", offset, got)
		}
	}
}

// Whatever arrives is an answer within bounds, or an error.
func FuzzNTP(f *testing.F) {
	question := make([]byte, ntpSize)
	binary.BigEndian.PutUint64(question[40:], 7)
	f.Add(reply(question, time.Unix(1e9, 0), time.Unix(1e9, 5)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseNTP(b, 7)
		if err != nil {
			if !errors.Is(err, errNotOurs) && (len(err.Error()) > 80 || strings.ContainsFunc(err.Error(), isControl)) {
				t.Errorf("%q", err)
			}
			return
		}
		if len(b) < ntpSize || a.stratum < 1 || a.stratum > 15 || a.received.Year() < 1968 || a.transmitted.Year() > 2104 {
			t.Errorf("% x: %+v", b, a)
		}
	})
}
