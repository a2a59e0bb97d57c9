package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/benburkert/openpgp/aes/keywrap"
	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"
)

// keyLength is that of AES-128, in bytes.
const keyLength = 16

// A Key encrypts and decrypts payloads (draft-sharabayko-srt, section 6).
type Key struct {
	block cipher.Block
	salt  [16]byte
}

// newKeyMaterial returns a new key and the message that tells the peer.
func newKeyMaterial(passphrase string) (*Key, *packet.CIFKeyMaterialExtension, error) {
	c, err := crypto.New(keyLength)
	if err != nil {
		return nil, nil, err
	}
	km := &packet.CIFKeyMaterialExtension{}
	if err := c.MarshalKM(km, passphrase, packet.EvenKeyEncrypted); err != nil {
		return nil, nil, err
	}
	k, err := keyOf(km, passphrase)
	return k, km, err
}

// keyOf unwraps the one key of a key material message.
func keyOf(km *packet.CIFKeyMaterialExtension, passphrase string) (*Key, error) {
	if len(km.Salt) != 16 || len(km.Wrap) != keyLength+8 {
		return nil, fmt.Errorf("key material with a salt of %d and a wrap of %d bytes", len(km.Salt), len(km.Wrap))
	}
	kek, err := pbkdf2.Key(sha1.New, passphrase, km.Salt[8:], 2048, keyLength)
	if err != nil {
		return nil, err
	}
	sek, err := keywrap.Unwrap(kek, km.Wrap)
	if err != nil {
		return nil, errors.New("key material of another passphrase")
	}
	k := &Key{}
	copy(k.salt[:], km.Salt)
	k.block, err = aes.NewCipher(sek)
	return k, err
}

// Crypt encrypts or decrypts the payload of a sequence number, or the
// beginning of one. dst and src may be the same.
func (k *Key) Crypt(dst, src []byte, sequence uint32) {
	iv := k.salt
	iv[14], iv[15] = 0, 0
	binary.BigEndian.PutUint32(iv[10:], binary.BigEndian.Uint32(iv[10:])^sequence)
	cipher.NewCTR(k.block, iv[:]).XORKeyStream(dst, src)
}
