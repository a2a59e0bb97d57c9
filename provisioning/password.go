package provisioning

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"sluice/provisioning/store"
)

// passwordName is where the store keeps the password of the console.
const passwordName = "console_password"

// What a password may be, in characters.
const (
	minPassword = 8
	maxPassword = 64
)

// The cost of a password: what OWASP's password storage cheat sheet gives as
// the least for argon2id, which a box of 512 MiB can spare.
var passwordCost = cost{memory: 19 << 10, time: 2, threads: 1}

// A cost is what argon2id (RFC 9106) spends on one password.
type cost struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
}

// A password is what the console asks for: one that was made by the box and
// that nobody has used yet, or else the hash of one.
type password struct {
	First string `json:"first,omitempty"`
	Hash  string `json:"hash,omitempty"` // PHC string
}

// matches takes the time of one argon2id, unless the password is a first one:
// that is no secret at the box.
func (p password) matches(text string) bool {
	if p.First != "" {
		return subtle.ConstantTimeCompare([]byte(p.First), []byte(text)) == 1
	}
	h, err := parseHash(p.Hash)
	return err == nil && h.matches(text)
}

// A hash is of a password, with what is needed to make it again.
type hash struct {
	cost
	salt, sum []byte
}

func (h hash) matches(text string) bool {
	sum := argon2.IDKey([]byte(text), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// newHash spends c on a password.
func newHash(text string, c cost) hash {
	h := hash{cost: c, salt: make([]byte, 16)}
	_, _ = rand.Read(h.salt) // never fails
	h.sum = argon2.IDKey([]byte(text), h.salt, c.time, c.memory, c.threads, 32)
	return h
}

const hashPrefix = "$argon2id$"

// String returns the PHC string: $argon2id$v=19$m=19456,t=2,p=1$SALT$SUM.
func (h hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", hashPrefix, argon2.Version, h.memory, h.time, h.threads, b64(h.salt), b64(h.sum))
}

// The most that a hash from elsewhere may cost: the box has to pay it at each
// login.
var maxCost = cost{memory: 64 << 10, time: 10, threads: 4}

// parseHash reads a PHC string. The error does not quote it.
func parseHash(s string) (h hash, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("it is no PHC string of argon2id")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, fmt.Errorf("it is of another version of argon2id: use %d", argon2.Version)
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.time, h.threads) {
		return h, errors.New("its cost cannot be read: use m=19456,t=2,p=1")
	}
	if h.memory < 8*uint32(h.threads) || h.time < 1 || h.threads < 1 ||
		h.memory > maxCost.memory || h.time > maxCost.time || h.threads > maxCost.threads {
		return h, fmt.Errorf("its cost is not for a box: use at most m=%d,t=%d,p=%d", maxCost.memory, maxCost.time, maxCost.threads)
	}
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return h, errors.New("its salt is not 8 to 64 bytes of base64")
	}
	if h.sum, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errors.New("its sum is not 16 to 64 bytes of base64")
	}
	return h, nil
}

// checkPassword says what is wrong with a new password, and never what it is.
func checkPassword(text string) error {
	n := utf8.RuneCountInString(text)
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("the password holds what cannot be typed")
	case n < minPassword || n > maxPassword:
		return fmt.Errorf("the password has %d characters: use %d to %d", n, minPassword, maxPassword)
	}
	return nil
}

// lookAlikes has no character that is easily read as another one.
const lookAlikes = "abcdefghjkmnpqrstuvwxyz23456789"

// makePassword returns three groups of four characters: 59 bits.
func makePassword() string {
	var b strings.Builder
	for i := range 12 {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(lookAlikes)))) // never fails
		b.WriteByte(lookAlikes[n.Int64()])
	}
	return b.String()
}

// loadPassword reads the console's password from the store. At the first
// start there is none: it is that of the credential file, or a new one.
func (a *Agent) loadPassword() (p password, err error) {
	text, err := a.o.Store.Get(passwordName)
	switch {
	case err == nil && json.Unmarshal(text, &p) == nil && p != password{}:
		return p, nil
	case err == nil, errors.Is(err, store.ErrDamaged):
		a.log.Error("the console's password is lost: there is a new one")
	case !errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("the console's password: %w", err)
	}
	if a.o.PasswordFile == "" {
		p = password{First: makePassword()}
	} else if p, err = readPassword(a.o.PasswordFile); err != nil {
		return p, fmt.Errorf("the console's password: %w", err)
	}
	return p, a.keepPassword(p)
}

func (a *Agent) keepPassword(p password) error {
	if err := a.o.Store.Put(passwordName, marshal(p)); err != nil {
		return fmt.Errorf("the console's password: %w", err)
	}
	return nil
}

// maxPasswordFile bounds a credential file, in bytes.
const maxPasswordFile = 1 << 10

// readPassword reads a file that holds a password or the hash of one.
func readPassword(path string) (p password, err error) {
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPasswordFile+1))
	if err != nil {
		return p, err
	}
	if len(b) > maxPasswordFile {
		return p, fmt.Errorf("%s is larger than %d bytes", path, maxPasswordFile)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if strings.HasPrefix(text, hashPrefix) {
		if _, err := parseHash(text); err != nil {
			return p, fmt.Errorf("%s: %w", path, err)
		}
		return password{Hash: text}, nil
	}
	if err := checkPassword(text); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return password{Hash: newHash(text, passwordCost).String()}, nil
}
