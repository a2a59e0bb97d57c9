package srt

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// A piece is an extension of a handshake.
type piece struct {
	kind uint16
	body []byte
}

func makeHandshake(version uint32, kind uint32, to, from uint32, pieces ...piece) []byte {
	b := make([]byte, handshakeSize)
	binary.BigEndian.PutUint16(b, controlHandshake)
	binary.BigEndian.PutUint32(b[offSocket:], to)
	binary.BigEndian.PutUint32(b[offVersion:], version)
	binary.BigEndian.PutUint32(b[offMTU:], 1500)
	binary.BigEndian.PutUint32(b[offKind:], kind)
	binary.BigEndian.PutUint32(b[offOwnSocket:], from)
	for _, p := range pieces {
		b = binary.BigEndian.AppendUint16(b, p.kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.body)/4))
		b = append(b, p.body...)
	}
	return b
}

func TestParseHandshake(t *testing.T) {
	agreed := piece{extensionHSRsp, []byte{0, 1, 5, 1, 0, 0, 0, 0xBF, 0, 120, 0, 120}}
	base := handshake{version: 5, mtu: 1500, kind: kindConclusion, to: 7, from: 9}
	with := func(f func(*handshake)) handshake { h := base; f(&h); return h }
	tests := []struct {
		name string
		b    []byte
		want handshake
		err  error
	}{
		{"empty", nil, handshake{}, errNoHandshake},
		{"short", makeHandshake(5, kindConclusion, 7, 9)[:63], handshake{}, errNoHandshake},
		{"data packet", make([]byte, 100), handshake{}, errNoHandshake},
		{"plain", makeHandshake(5, kindConclusion, 7, 9), base, nil},
		{"agreed", makeHandshake(5, kindConclusion, 7, 9, agreed), with(func(h *handshake) {
			h.extended, h.srtVersion, h.flags = true, 0x010501, 0xBF
		}), nil},
		{"key taken", makeHandshake(5, kindConclusion, 7, 9, piece{extensionKMRsp, make([]byte, 40)}), with(func(h *handshake) { h.key = keyAccepted }), nil},
		{"no secret", makeHandshake(5, kindConclusion, 7, 9, piece{extensionKMRsp, []byte{3, 0, 0, 0}}), base, nil},
		{"bad secret", makeHandshake(5, kindConclusion, 7, 9, piece{extensionKMRsp, []byte{0, 0, 0, 4}}), with(func(h *handshake) { h.key = keyRefused }), nil},
		{"unknown extension", makeHandshake(5, kindConclusion, 7, 9, piece{77, make([]byte, 8)}), base, nil},
		{"wrong length", makeHandshake(5, kindConclusion, 7, 9, piece{extensionHSRsp, make([]byte, 8)}), base, errExtension},
		{"cut in the extension", makeHandshake(5, kindConclusion, 7, 9, agreed)[:handshakeSize+15], base, errExtension},
		{"cut before the extension", append(makeHandshake(5, kindConclusion, 7, 9), 0), base, errExtension},
		{"refusal", makeHandshake(5, 1010, 7, 9), with(func(h *handshake) { h.kind = 1010 }), nil},
	}
	for _, tt := range tests {
		got, err := parseHandshake(tt.b)
		if got != tt.want || err != tt.err {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

func TestRefusedKinds(t *testing.T) {
	for kind, want := range map[uint32]bool{
		0: false, kindInduction: false, 999: false, 1000: true, 1010: true, 2500: true,
		0xFFFFFFFC: true, kindReserved: false, 0xFFFFFFFE: false, kindConclusion: false,
	} {
		if _, got := (handshake{kind: kind}).refused(); got != want {
			t.Errorf("kind %d: %v", kind, got)
		}
	}
}

func TestAnswer(t *testing.T) {
	h, err := parseHandshake(answer(makeHandshake(4, kindInduction, 0, 9), 0))
	if err != nil || h.version != 5 || h.extension != magic || h.to != 9 {
		t.Errorf("induction: %+v, %v", h, err)
	}
	h, err = parseHandshake(answer(makeHandshake(5, kindConclusion, 0, 9, piece{extensionHSReq, make([]byte, 12)}), 11))
	p := &pump{}
	if err != nil || h.to != 9 || h.from != 11 || p.check(h) != nil {
		t.Errorf("conclusion: %+v, %v, %v", h, err, p.check(h))
	}
	if a := answer(makeHandshake(5, 1010, 0, 9), 0); a != nil {
		t.Errorf("a refusal is answered: %x", a)
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte{})
	f.Add(makeHandshake(4, kindInduction, 0, 9))
	f.Add(makeHandshake(5, kindConclusion, 0, 9, piece{extensionHSReq, make([]byte, 12)}, piece{extensionKMReq, make([]byte, 72)}, piece{5, []byte("egats")[:4]}))
	f.Add(makeHandshake(5, kindConclusion, 7, 9, piece{extensionKMRsp, []byte{0, 0, 0, 4}}))
	f.Add(makeHandshake(5, 1403, 7, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, err := parseHandshake(b)
		a := answer(b, 5)
		if !bytes.Equal(b, before) {
			t.Fatal("what was read has changed")
		}
		if a == nil {
			return
		}
		// Whatever is answered is itself a handshake, for the one who asked.
		back, e := parseHandshake(a)
		if err != nil || e != nil || back.to != h.from || back.kind != h.kind {
			t.Fatalf("%+v, %v is answered with %+v, %v", h, err, back, e)
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
