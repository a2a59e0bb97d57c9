package mpegts_test

import (
	"bytes"
	"testing"

	"sluice/relay/mpegts"
)

// tp builds a transport packet from its first bytes, filled up with filler.
func tp(filler byte, b ...byte) mpegts.Packet {
	return append(b, bytes.Repeat([]byte{filler}, mpegts.PacketSize-len(b))...)
}

func TestPacketFields(t *testing.T) {
	p := tp(1, 0x47, 0x41, 0x23, 0x37, 7, 0xD0, 0x00, 0x00, 0x00, 0x01, 0xFE, 0x05)
	if p.PID() != 0x123 || !p.UnitStart() || p.Corrupt() || p.Scrambled() || p.Continuity() != 7 || !p.HasPayload() {
		t.Errorf("header: %#x %v", p.PID(), p)
	}
	if !p.RandomAccess() || !p.Discontinuity() || len(p.Adaptation()) != 7 || len(p.Payload()) != 176 {
		t.Errorf("adaptation field: %v, payload of %d bytes", p.Adaptation(), len(p.Payload()))
	}
	// Base 2 x 1 + 1, extension 5.
	if pcr, ok := p.PCR(); !ok || pcr != 3*300+5 {
		t.Errorf("PCR %d %v", pcr, ok)
	}
	if p := tp(0xFF, 0x47, 0x9F, 0xFF, 0xD0); p.PID() != mpegts.PIDNull || !p.Corrupt() || !p.Scrambled() || len(p.Payload()) != 184 {
		t.Errorf("%#x, payload of %d bytes", p.PID(), len(p.Payload()))
	}
	for _, length := range []byte{0, 1, 6, 182, 183, 184, 255} { // fields that end anywhere
		p := tp(0xFF, 0x47, 0, 0, 0x30, length)
		if got, want := len(p.Payload()), max(0, 183-int(length)); got != want {
			t.Errorf("adaptation field of %d bytes: payload of %d, want %d", length, got, want)
		}
		if _, ok := p.PCR(); ok != (length >= 7) {
			t.Errorf("adaptation field of %d bytes: PCR is %v", length, ok)
		}
	}
}

func TestContinuity(t *testing.T) {
	packet := func(pid, cc byte) mpegts.Packet { return tp(0, 0x47, 0, pid, 0x10|cc) }
	empty := func(cc byte) mpegts.Packet { return tp(0, 0x47, 0, 1, 0x20|cc, 183) }
	excused := func(cc byte) mpegts.Packet { return tp(0, 0x47, 0, 1, 0x30|cc, 1, 0x80) }
	null := func(cc byte) mpegts.Packet { return tp(0, 0x47, 0x1F, 0xFF, 0x10|cc) }
	for name, c := range map[string]struct {
		packets []mpegts.Packet
		wrong   int
	}{
		"in order":         {[]mpegts.Packet{packet(1, 14), packet(1, 15), packet(1, 0), packet(1, 1)}, 0},
		"any start":        {[]mpegts.Packet{packet(1, 9)}, 0},
		"two PIDs":         {[]mpegts.Packet{packet(1, 3), packet(2, 9), packet(1, 4), packet(2, 10)}, 0},
		"one missing":      {[]mpegts.Packet{packet(1, 3), packet(1, 5), packet(1, 6)}, 1},
		"sent twice":       {[]mpegts.Packet{packet(1, 3), packet(1, 3), packet(1, 4)}, 0},
		"sent three times": {[]mpegts.Packet{packet(1, 3), packet(1, 3), packet(1, 3), packet(1, 4)}, 1},
		"no payload":       {[]mpegts.Packet{packet(1, 3), empty(3), empty(3), packet(1, 4)}, 0},
		"no payload jumps": {[]mpegts.Packet{packet(1, 3), empty(4), packet(1, 5)}, 1},
		"discontinuity":    {[]mpegts.Packet{packet(1, 3), excused(9), packet(1, 10)}, 0},
		"null packets":     {[]mpegts.Packet{null(3), null(3), null(3), null(9)}, 0},
	} {
		var k mpegts.Continuity
		wrong := 0
		for _, p := range c.packets {
			if !k.Check(p) {
				wrong++
			}
		}
		if wrong != c.wrong {
			t.Errorf("%s: %d wrong, want %d", name, wrong, c.wrong)
		}
	}
}

func TestCRC32(t *testing.T) {
	// The check value of CRC-32/MPEG-2.
	if got := mpegts.CRC32([]byte("123456789")); got != 0x0376E6E7 {
		t.Errorf("%#x", got)
	}
}
