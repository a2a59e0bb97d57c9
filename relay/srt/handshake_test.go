package srt

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"
)

// A piece is an extension of a handshake.
type piece struct {
	kind uint16
	body []byte
}

func makeHandshake(version uint32, kind packet.HandshakeType, to, from uint32, pieces ...piece) []byte {
	b := make([]byte, headerSize+handshakeSize)
	h := header{control: true, kind: controlHandshake, to: to}
	h.put(b)
	for at, v := range map[int]uint32{0: version, 12: mtu, 20: uint32(kind), 24: from} {
		binary.BigEndian.PutUint32(b[headerSize+at:], v)
	}
	for _, p := range pieces {
		b = binary.BigEndian.AppendUint16(b, p.kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.body)/4))
		b = append(b, p.body...)
	}
	return b
}

func TestParseHandshake(t *testing.T) {
	const conclusion = packet.HSTYPE_CONCLUSION
	agreed := piece{extensionHSRsp, []byte{0, 1, 5, 1, 0, 0, 0, 0xBF, 0, 120, 0, 130}}
	file := piece{extensionHSReq, []byte{0, 1, 5, 1, 0, 0, 0, 0xFF, 0, 0, 0, 0}}
	tests := []struct {
		name string
		b    []byte
		is   func(*handshake) bool // nil: no handshake at all
		bad  bool                  // with an error
	}{
		{"empty", nil, nil, true},
		{"short", makeHandshake(5, conclusion, 7, 9)[:63], nil, true},
		{"data packet", make([]byte, 100), nil, true},
		{"plain", makeHandshake(5, conclusion, 7, 9), func(h *handshake) bool {
			return h.Version == 5 && h.to == 7 && h.SRTSocketId == 9 && h.MaxTransmissionUnitSize == mtu && !h.HasHS
		}, false},
		{"agreed", makeHandshake(5, conclusion, 7, 9, agreed), func(h *handshake) bool {
			a := h.agree(125 * time.Millisecond)
			return a.version == 0x010501 && a.flags.TLPKTDROP && a.receive == 130*time.Millisecond && a.send == 125*time.Millisecond
		}, false},
		{"key taken", makeHandshake(5, conclusion, 7, 9, piece{extensionKMRsp, make([]byte, 40)}), func(h *handshake) bool { return h.key == keyAccepted }, false},
		{"no secret", makeHandshake(5, conclusion, 7, 9, piece{extensionKMRsp, []byte{3, 0, 0, 0}}), func(h *handshake) bool { return h.key == keyAbsent }, false},
		{"bad secret", makeHandshake(5, conclusion, 7, 9, piece{extensionKMRsp, []byte{0, 0, 0, 4}}), func(h *handshake) bool { return h.key == keyRefused }, false},
		{"stream id", makeHandshake(5, conclusion, 7, 9, piece{extensionStreamID, []byte("gats\x00\x00\x00e")}), func(h *handshake) bool { return h.StreamId == "stage" }, false},
		{"stream id too long", makeHandshake(5, conclusion, 7, 9, piece{extensionStreamID, make([]byte, 516)}), func(h *handshake) bool { return !h.HasSID }, true},
		{"byte stream", makeHandshake(5, conclusion, 7, 9, file), func(h *handshake) bool { return h.stream }, false},
		{"file", makeHandshake(5, conclusion, 7, 9, piece{extensionCongestion, []byte("elif")}), func(h *handshake) bool { return h.stream }, false},
		{"live", makeHandshake(5, conclusion, 7, 9, piece{extensionCongestion, []byte("evil")}), func(h *handshake) bool { return !h.stream }, false},
		{"filter", makeHandshake(5, conclusion, 7, 9, piece{extensionFilter, []byte("cef,")}), func(h *handshake) bool { return h.filter }, false},
		{"group", makeHandshake(5, conclusion, 7, 9, piece{extensionGroup, make([]byte, 8)}), func(h *handshake) bool { return h.group }, false},
		{"unknown extension", makeHandshake(5, conclusion, 7, 9, piece{77, make([]byte, 8)}), func(h *handshake) bool { return !h.HasHS }, false},
		{"wrong length", makeHandshake(5, conclusion, 7, 9, piece{extensionHSRsp, make([]byte, 8)}), func(h *handshake) bool { return true }, true},
		{"cut in the extension", makeHandshake(5, conclusion, 7, 9, agreed)[:headerSize+handshakeSize+15], func(h *handshake) bool { return !h.HasHS }, true},
		{"cut before the extension", append(makeHandshake(5, conclusion, 7, 9), 0), func(h *handshake) bool { return true }, true},
		{"refusal", makeHandshake(5, 1010, 7, 9), func(h *handshake) bool { code, ok := h.refusal(); return ok && code == refuseBadSecret }, false},
	}
	for _, tt := range tests {
		got, err := parseHandshake(tt.b)
		if (got == nil) != (tt.is == nil) || got != nil && !tt.is(got) || (err != nil) != tt.bad {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

func TestRefusedKinds(t *testing.T) {
	for kind, want := range map[packet.HandshakeType]bool{
		0: false, packet.HSTYPE_INDUCTION: false, 999: false, 1000: true, 1010: true, 2500: true,
		0xFFFFFFFC: true, packet.HSTYPE_DONE: false, packet.HSTYPE_AGREEMENT: false, packet.HSTYPE_CONCLUSION: false,
	} {
		h := handshake{CIFHandshake: packet.CIFHandshake{HandshakeType: kind}}
		if _, got := h.refusal(); got != want {
			t.Errorf("kind %d: %v", kind, got)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	const conclusion = packet.HSTYPE_CONCLUSION
	f.Add([]byte{})
	f.Add(makeHandshake(4, packet.HSTYPE_INDUCTION, 0, 9))
	f.Add(makeHandshake(5, conclusion, 0, 9, piece{extensionHSReq, make([]byte, 12)}, piece{extensionKMReq, make([]byte, 72)}, piece{5, []byte("egats")[:4]}))
	f.Add(makeHandshake(5, conclusion, 7, 9, piece{extensionKMRsp, []byte{0, 0, 0, 4}}))
	f.Add(makeHandshake(5, 1403, 7, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, err := parseHandshake(b)
		if !bytes.Equal(b, before) {
			t.Fatal("what was read has changed")
		}
		if h == nil && err == nil || len(b) < headerSize+handshakeSize && h != nil {
			t.Fatalf("%d bytes: %+v, %v", len(b), h, err)
		}
	})
}

func FuzzRefusal(f *testing.F) {
	for _, code := range []uint32{1000, 1002, 1010, 1011, 1403, 2000, 1 << 31} {
		f.Add(code, true)
	}
	f.Fuzz(func(t *testing.T, code uint32, encrypted bool) {
		if why := refusal(code).reason("peer:1", encrypted); why.Code == "" || why.Message == "" {
			t.Fatalf("%+v", why)
		}
	})
}
