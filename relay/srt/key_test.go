package srt

import (
	"bytes"
	"errors"
	"testing"

	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
)

// wire sends key material as it travels.
func wire(t *testing.T, m *packet.CIFKeyMaterialExtension) *packet.CIFKeyMaterialExtension {
	t.Helper()
	var b bytes.Buffer
	if err := m.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	var got packet.CIFKeyMaterialExtension
	if err := got.Unmarshal(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	return &got
}

// TestKeysOfAnother exchanges keys and payloads with another implementation,
// in both directions.
func TestKeysOfAnother(t *testing.T) {
	plain := bytes.Repeat([]byte("a transport packet. "), 66)
	for _, length := range []int{16, 24, 32} {
		ours := ring(t, length)
		if err := ours.renew(1); err != nil {
			t.Fatal(err)
		}
		m, err := ours.message()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := crypto.New(length)
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.UnmarshalKM(wire(t, m), passphrase); err != nil {
			t.Fatal(err)
		}
		sent := make([]byte, len(plain))
		for parity, name := range parities {
			for _, q := range []sequence{0, 1, 77_777, maxSequence} {
				ours.crypt(sent, plain, parity, q)
				if bytes.Equal(sent, plain) {
					t.Fatal("nothing is encrypted")
				}
				if err := theirs.EncryptOrDecryptPayload(sent, name, uint32(q)); err != nil || !bytes.Equal(sent, plain) {
					t.Errorf("AES-%d, key %d, packet %d: %v", length*8, parity, q, err)
				}
			}
		}
		back := &packet.CIFKeyMaterialExtension{}
		if err := theirs.MarshalKM(back, passphrase, packet.OddKeyEncrypted); err != nil {
			t.Fatal(err)
		}
		opened, err := openKeyring(wire(t, back), endpoint.NewSecret(passphrase), length)
		if err != nil || opened.blocks[0] != nil || opened.blocks[1] == nil {
			t.Fatalf("AES-%d: %v", length*8, err)
		}
		copy(sent, plain)
		_ = theirs.EncryptOrDecryptPayload(sent, packet.OddKeyEncrypted, 5)
		if opened.crypt(sent, sent, 1, 5); !bytes.Equal(sent, plain) {
			t.Errorf("AES-%d: what they send cannot be read", length*8)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	m, err := ring(t, 16).message()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		secret string
		length int
		change func(*packet.CIFKeyMaterialExtension)
		want   error
	}{
		{"another passphrase", "another-passphrase", 16, nil, errBadSecret},
		{"another length", passphrase, 32, nil, errKeyLength},
		{"another salt", passphrase, 16, func(m *packet.CIFKeyMaterialExtension) { m.Salt[15]++ }, errBadSecret},
		{"changed on the way", passphrase, 16, func(m *packet.CIFKeyMaterialExtension) { m.Wrap[3]++ }, errBadSecret},
		{"cut short", passphrase, 16, func(m *packet.CIFKeyMaterialExtension) { m.Wrap = m.Wrap[:8] }, errBadSecret},
		{"two keys that are one", passphrase, 16, func(m *packet.CIFKeyMaterialExtension) { m.KeyBasedEncryption = packet.EvenAndOddKey }, nil},
	} {
		bad := wire(t, m)
		if c.change != nil {
			c.change(bad)
		}
		if _, err := openKeyring(bad, endpoint.NewSecret(c.secret), c.length); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A key of a stream that goes on must be under the salt in use.
	other, err := ring(t, 16).message()
	if err != nil {
		t.Fatal(err)
	}
	k := ring(t, 16)
	before := k.blocks[0]
	if err := k.accept(other); !errors.Is(err, errBadSecret) || k.blocks[0] != before {
		t.Errorf("a key under another salt: %v", err)
	}
}
