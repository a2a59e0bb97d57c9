package system

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// HostDir is where the daemon says what it wants of the host, and root answers.
//
//	wanted/settings.json   the daemon's user writes it; root takes it away
//	wanted/action.json     likewise
//	applied.json           root's answer to the first, for everybody to read
//	acted.json             root's answer to the second
//	hostname               the host's name before it was given another
//
// It is in /run: each start of the box begins without any of them.
const HostDir = "/run/sluice-host"

// A kind is one of what can be wanted.
type kind struct{ wanted, answer string }

var (
	settingsKind = kind{"settings.json", "applied.json"}
	actionKind   = kind{"action.json", "acted.json"}
)

// maxRequest bounds a request in bytes: a box has a few uplinks.
const maxRequest = 64 << 10

// A request is what the daemon wants.
type request struct {
	Sequence uint64    `json:"sequence"`          // counts up
	BootID   string    `json:"boot_id,omitempty"` // the start of the box in which it is wanted; of actions
	Settings *Settings `json:"settings,omitempty"`
	Action   *Action   `json:"action,omitempty"`
}

// An answer is what root says of a request.
type answer struct {
	Sequence uint64 `json:"sequence"`         // the request's
	Digest   string `json:"digest,omitempty"` // of the settings
	Done     bool   `json:"done"`             // false while it is being carried out
	Error    string `json:"error,omitempty"`
}

// digest tells settings from others.
func (s Settings) digest() string {
	text, _ := json.Marshal(s) // it has no type that could fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// parseRequest reads a request of a kind, strictly. Where it is refused, what
// it returns has the sequence number if that could be read, to be answered.
func parseRequest(text []byte, k kind) (request, error) {
	var r request
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil && d.InputOffset() < int64(len(bytes.TrimRight(text, " \n"))) {
		err = errors.New("there is more than one request")
	}
	switch {
	case err != nil:
	case k == settingsKind && (r.Settings == nil || r.Action != nil), k == actionKind && (r.Action == nil || r.Settings != nil):
		err = fmt.Errorf("it is not what %s is for", k.wanted)
	case r.Sequence == 0:
		err = errors.New("it has no sequence number")
	case k == settingsKind:
		err = r.Settings.Validate()
	default:
		err = r.Action.Validate()
	}
	if err != nil {
		var only struct{ Sequence uint64 }
		_ = json.Unmarshal(text, &only)
		return request{Sequence: only.Sequence}, fmt.Errorf("the request is refused: %w", err)
	}
	return r, nil
}

// openPlain opens a file that another user may have put there: only a plain one
// that has no other name.
func openPlain(name string) (*os.File, error) {
	// Without O_NONBLOCK a pipe would hold us until somebody writes.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() || !ok || stat.Nlink != 1 {
		f.Close()
		return nil, fmt.Errorf("%s is not a plain file", filepath.Base(name))
	}
	return f, nil
}

// readPlain returns the content of such a file, and only so much.
func readPlain(name string) ([]byte, error) {
	f, err := openPlain(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRequest+1))
	if err == nil && len(text) > maxRequest {
		err = fmt.Errorf("%s has more than %d bytes", filepath.Base(name), maxRequest)
	}
	return text, err
}

// writeWhole gives a file its content at once, or not at all.
func writeWhole(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".sluice-*.new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err2 := f.Chmod(0o644); err == nil {
		err = err2
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeWhole(name, append(text, '\n'))
}

// readAnswer returns the last answer, an empty one where there is none.
func readAnswer(name string) (a answer, err error) {
	text, err := readPlain(name)
	if errors.Is(err, fs.ErrNotExist) {
		return answer{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}
