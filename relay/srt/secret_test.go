package srt

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/gate"
)

// kmBody is key material as it travels while a stream goes on.
func kmBody(t testing.TB, k *keyring) []byte {
	t.Helper()
	m, err := k.message()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// keyMaterial hands the connection a message of keys, or an answer to one.
func (x *target) keyMaterial(subtype uint16, body []byte) {
	x.take(header{control: true, kind: controlUser, subtype: subtype, time: microseconds(x.now), to: targetID}, body)
}

// TestReplayedKeys gives a connection keys again that it had before: it answers
// as it has to, should the answer have been lost, and goes on with the newest.
func TestReplayedKeys(t *testing.T) {
	peer := testKeys().twin()
	var old [][]byte
	old = append(old, kmBody(t, peer)) // of the handshake
	x, _ := receiving(t, peer)
	answers := 0
	x.seen = func(h header, b []byte) {
		if h.kind == controlUser && h.subtype == extensionKMRsp {
			answers++
		}
	}
	for i := range 4 { // refreshes
		if err := peer.renew((i + 1) % 2); err != nil {
			t.Fatal(err)
		}
		old = append(old, kmBody(t, peer))
		x.keyMaterial(extensionKMReq, old[len(old)-1])
	}
	for _, b := range slices.Backward(old) {
		x.keyMaterial(extensionKMReq, b)
	}
	if answers != 4+len(old) {
		t.Errorf("%d answers", answers)
	}
	const n = 50
	for i := range n {
		h := header{sequence: sequence(targetFirst).plus(i), flags: flagSolo | 1 | flagEvenKey<<(i%2), to: targetID}
		payload := marked(sealed, payloadSize)
		peer.crypt(payload, payload, i%2, h.sequence)
		x.take(h, payload)
	}
	x.pass(time.Second)
	got := 0
	x.published(func(b []byte) {
		if got++; !bytes.Equal(b, marked(sealed, payloadSize)) {
			t.Fatal("what was decrypted with an old key is let in")
		}
	})
	if got != n {
		t.Errorf("%d of %d packets", got, n)
	}
}

// TestWrongAnswerToKeys: only the answer to the newest key says that the peer
// has it.
func TestWrongAnswerToKeys(t *testing.T) {
	x, s := sending(t, testKeys().twin())
	x.conn.keys.every, x.conn.keys.announce = 100, 90
	stale := kmBody(t, x.conn.keys.send)
	var offer []byte
	x.seen = func(h header, b []byte) {
		if h.kind == controlUser && h.subtype == extensionKMReq {
			offer = bytes.Clone(b)
		}
	}
	go100 := func() {
		for range 20 {
			x.publish(10, sealed)
			x.pass(tick)
			x.control(controlACK, 1, fullACK(s.next, 1000, 1000, mostHeld))
		}
	}
	go100()
	if offer == nil {
		t.Fatal("no key was offered")
	}
	for _, b := range [][]byte{nil, {0, 0, 0, 4}, stale, append(bytes.Clone(offer), 0, 0, 0, 0), make([]byte, len(offer))} {
		x.keyMaterial(extensionKMRsp, b)
	}
	if go100(); x.conn.keys.parity != 0 {
		t.Error("the key is changed that the peer may not have")
	}
	x.keyMaterial(extensionKMRsp, offer)
	if go100(); x.conn.keys.parity != 1 {
		t.Error("the key is not changed")
	}
	x.addsUp()
}

// TestOddKeyAlone has a caller whose first key is the odd one.
func TestOddKeyAlone(t *testing.T) {
	peer := testKeys().twin()
	peer.keys[0], peer.blocks[0] = nil, nil
	if err := peer.renew(1); err != nil {
		t.Fatal(err)
	}
	var m packet.CIFKeyMaterialExtension
	if err := m.Unmarshal(kmBody(t, peer)); err != nil {
		t.Fatal(err)
	}
	keys, err := openKeyring(&m, endpoint.NewSecret(passphrase), 16)
	if err != nil {
		t.Fatal(err)
	}
	x, s := sending(t, keys)
	x.seen = func(h header, b []byte) {
		if peer.crypt(b, b, 1, h.sequence); h.flags&flagOddKey == 0 || !bytes.Contains(b, sealed) {
			t.Error("it cannot be read")
		}
	}
	x.publish(10, sealed)
	x.pass(tick)
	if s.pktSent != 10 {
		t.Errorf("%d packets were sent", s.pktSent)
	}
	x.seen = nil
	x.addsUp()
}

// FuzzKeyMaterial changes messages of keys: they are taken as they were made,
// or not at all.
func FuzzKeyMaterial(f *testing.F) {
	peer := testKeys().twin()
	first := kmBody(f, peer)
	if err := peer.renew(1); err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Add(kmBody(f, peer))
	f.Add(first[:16])
	f.Add([]byte{0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var m packet.CIFKeyMaterialExtension
		if m.Unmarshal(b) != nil {
			return
		}
		k := testKeys().twin()
		err := k.accept(&m)
		for parity := range parities {
			have := k.keys[parity]
			if have != nil && !bytes.Equal(have, peer.keys[parity]) && !bytes.Equal(have, peer.keys[1-parity]) {
				t.Errorf("a key of nobody's: %v", err)
			}
			if err != nil && !bytes.Equal(have, testKeys().keys[parity]) {
				t.Errorf("a key is taken of what is refused: %v", err)
			}
		}
		if !bytes.Equal(b, before) {
			t.Error("what was read has changed")
		}
	})
}

// TestSecretsAreNotPrinted prints everything that holds a passphrase or a key,
// in every way.
func TestSecretsAreNotPrinted(t *testing.T) {
	keys := testKeys()
	x, _ := sending(t, keys.twin())
	cfg := keyed(listenerConfig(), 128)
	e, _ := env(t)
	g := newEntrance(NewTransport(e.Log), cfg, gate.OfViewers[*session](anyone, e), e)
	set := cfg.settings(0)
	all := map[string]any{
		"keyring": keys, "keyring value": *keys, "keys": x.conn.keys, "conn": x.conn, "half": x.conn.half, "settings": set,
		"calling": &calling{settings: set, keys: keys}, "calling value": calling{settings: set, keys: keys},
		"listener": &listener{settings: set}, "entrance": g, "config": cfg, "call": newCall(NewTransport(e.Log), cfg, e),
	}
	for name, v := range all {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			printed := fmt.Sprintf(verb, v)
			for what, secret := range map[string][]byte{"the passphrase": []byte(passphrase), "a key": keys.keys[0], "the KEK": keys.kek} {
				for _, form := range []string{"%s", "%q", "%x", "%v", "%#v", "%d"} {
					if as := strings.Trim(fmt.Sprintf(form, secret), `[]"{}`); strings.Contains(printed, as) {
						t.Errorf("%s of %s prints %s", verb, name, what)
					}
				}
			}
		}
	}
}
