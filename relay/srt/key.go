package srt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/benburkert/openpgp/aes/keywrap"
	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
)

// What can be wrong with key material.
var (
	errKeyLength = errors.New("the key material is of another length")
	errBadSecret = errors.New("the passphrase does not open the key material")
)

const (
	saltSize     = 16
	kekRounds    = 2048 // of PBKDF2 (draft-sharabayko-srt-01 section 6.1.4)
	wrapOverhead = 8    // of a wrapped key (RFC 3394)
	mostTaken    = 1024 // messages remembered: years of them
)

// A keyring holds the keys of one direction of a connection: an even and an
// odd stream encrypting key (SEK), of which one is in use while the other is
// exchanged, wrapped by a key made of the passphrase (KEK).
//
// gosrt's package crypto does the same, but expands the key for each packet
// anew and does not let its keys out; its wire format is used here.
type keyring struct {
	passphrase endpoint.Secret
	length     int // of keys, bytes
	salt       [saltSize]byte
	kek        []byte
	keys       [2][]byte // even, odd; nil: not known
	blocks     [2]cipher.Block
	taken      [][]byte            // the wrapped keys that there were, oldest first
	counter    [aes.BlockSize]byte // scratch
}

// Format prints none of it.
func (keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[keys]") }

// parities are the two keys by their names on the wire.
var parities = [2]packet.PacketEncryption{packet.EvenKeyEncrypted, packet.OddKeyEncrypted}

// newKeyring makes an even key. It takes about a millisecond.
func newKeyring(passphrase endpoint.Secret, length int) (*keyring, error) {
	k := &keyring{passphrase: passphrase, length: length}
	_, _ = rand.Read(k.salt[:]) // never fails
	if err := k.derive(); err != nil {
		return nil, err
	}
	return k, k.renew(0)
}

// openKeyring takes the keys that a peer made. The error is errKeyLength where
// they are of another length, errBadSecret where the passphrase is another. It
// takes about a millisecond.
func openKeyring(m *packet.CIFKeyMaterialExtension, passphrase endpoint.Secret, length int) (*keyring, error) {
	if int(m.KLen) != length {
		return nil, errKeyLength
	}
	k := &keyring{passphrase: passphrase, length: length}
	copy(k.salt[:], m.Salt)
	if err := k.derive(); err != nil {
		return nil, err
	}
	return k, k.accept(m)
}

// derive makes the key encrypting key (section 6.1.4).
func (k *keyring) derive() (err error) {
	k.kek, err = pbkdf2.Key(sha1.New, k.passphrase.Reveal(), k.salt[saltSize-8:], kekRounds, k.length)
	return err
}

// renew makes a new key of a parity.
func (k *keyring) renew(parity int) error {
	key := make([]byte, k.length)
	_, _ = rand.Read(key) // never fails
	return k.set(parity, key)
}

func (k *keyring) set(parity int, key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	k.keys[parity], k.blocks[parity] = key, block
	return nil
}

// opens tells whether accept can do without making a key encrypting key, which
// takes a millisecond.
func (k *keyring) opens(m *packet.CIFKeyMaterialExtension) bool {
	return len(m.Salt) == 0 || bytes.Equal(m.Salt, k.salt[:])
}

// accept takes the keys of a message, if they are under the salt that is in
// use. A message counts once: it may come again because our answer was lost, or
// from somebody who recorded it and would have an old key back.
func (k *keyring) accept(m *packet.CIFKeyMaterialExtension) error {
	if int(m.KLen) != k.length {
		return errKeyLength
	}
	if !k.opens(m) || m.Cipher != cipherCTR {
		return errBadSecret
	}
	if k.knows(m.Wrap) {
		return nil
	}
	keys, err := keywrap.Unwrap(k.kek, m.Wrap)
	if err != nil || len(keys) == 0 || len(keys)%k.length != 0 {
		return errBadSecret
	}
	for parity, name := range parities {
		if m.KeyBasedEncryption&name == 0 || len(keys) < k.length {
			continue
		}
		if err := k.set(parity, keys[:k.length]); err != nil {
			return err
		}
		keys = keys[k.length:]
	}
	k.remember(m.Wrap)
	return nil
}

// knows tells whether wrapped keys were taken, or given, before.
func (k *keyring) knows(wrap []byte) bool {
	return slices.ContainsFunc(k.taken, func(w []byte) bool { return bytes.Equal(w, wrap) })
}

func (k *keyring) remember(wrap []byte) {
	if k.knows(wrap) {
		return
	}
	if len(k.taken) == mostTaken {
		k.taken = slices.Delete(k.taken, 0, mostTaken/2)
	}
	k.taken = append(k.taken, bytes.Clone(wrap))
}

// first is the parity of a key that is known.
func (k *keyring) first() int {
	if k.keys[0] == nil {
		return 1
	}
	return 0
}

// cipherCTR is AES-CTR in a message of key material (section 3.2.2).
const cipherCTR = 2

// message returns the keys that are known, wrapped.
func (k *keyring) message() (*packet.CIFKeyMaterialExtension, error) {
	m := &packet.CIFKeyMaterialExtension{
		Version: 1, PacketType: 2, Sign: 0x2029, Cipher: cipherCTR, StreamEncapsulation: 2,
		SLen: saltSize, KLen: uint16(k.length), Salt: bytes.Clone(k.salt[:]),
	}
	var keys []byte
	for parity, name := range parities {
		if k.keys[parity] != nil {
			keys = append(keys, k.keys[parity]...)
			m.KeyBasedEncryption |= name
		}
	}
	var err error
	if m.Wrap, err = keywrap.Wrap(k.kek, keys); err == nil {
		k.remember(m.Wrap)
	}
	return m, err
}

// twin returns a keyring with the same keys, for the other direction.
func (k *keyring) twin() *keyring {
	t := *k
	t.taken = slices.Clone(k.taken)
	return &t
}

// crypt encrypts or decrypts a payload with the key of a parity, which must be
// known (section 6.1.2). dst and src may be the same.
func (k *keyring) crypt(dst, src []byte, parity int, s sequence) {
	copy(k.counter[:], k.salt[:saltSize-2])
	k.counter[14], k.counter[15] = 0, 0
	at := k.counter[10:14]
	binary.BigEndian.PutUint32(at, binary.BigEndian.Uint32(at)^uint32(s))
	cipher.NewCTR(k.blocks[parity], k.counter[:]).XORKeyStream(dst, src)
}
