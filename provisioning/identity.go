package provisioning

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice/provisioning/config"
	"sluice/provisioning/store"
)

// maxSecret bounds an opened secret, in bytes.
const maxSecret = 64 << 10

// identityName is where the store keeps the box's key.
const identityName = "age_identity"

// An identity is the box's own age key: secrets sealed to its recipient are
// read by this box alone.
type identity struct{ key *age.X25519Identity }

// loadIdentity reads the box's key, or makes it at the first start.
func (a *Agent) loadIdentity() (*identity, error) {
	text, err := a.o.Store.Get(identityName)
	if err == nil {
		key, err := age.ParseX25519Identity(string(text))
		if err != nil {
			return nil, errors.New("the box's age key in the store is not one") // err may quote it
		}
		return &identity{key}, nil
	}
	if errors.Is(err, store.ErrDamaged) {
		a.log.Error("the box's key is lost: a new one is made", "error", err)
		a.event(config.SeverityError, "store_fallback", "store",
			"the box's age key is lost, and a new one was made: seal secrets to the recipient in info", nil)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the box's age key: %w", err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("the box's age key: %w", err)
	}
	if err := a.o.Store.Put(identityName, []byte(key.String())); err != nil {
		return nil, fmt.Errorf("the box's age key: %w", err)
	}
	return &identity{key}, nil
}

// recipient is what others seal to.
func (i *identity) recipient() string { return i.key.Recipient().String() }

// open returns what was sealed to this box, given as age armor.
func (i *identity) open(sealed string) (string, error) {
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), i.key)
	if err != nil {
		return "", fmt.Errorf("age: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("age: %w", err)
	}
	if len(plain) > maxSecret {
		return "", errors.New("age: the secret is too long")
	}
	return string(plain), nil
}

// newBootID returns what distinguishes this start of the daemon from others.
func newBootID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
