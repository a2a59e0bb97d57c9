package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The first line of every file: what it is, and the SHA-256 of all that
// follows the line.
const (
	magic        = "sluice-store/1 sha256:"
	headerLength = len(magic) + 2*sha256.Size + 1
)

// A fileSystem is the few calls that a power cut may come between. Names have
// no directory: there is only the one.
type fileSystem interface {
	// Create makes an empty file of mode 0600 in the place of any other.
	Create(name string) (file, error)
	// Rename puts a file in the place of another. It may be undone by a power
	// cut until Sync.
	Rename(from, to string) error
	// Sync makes what was renamed and removed last.
	Sync() error
	Remove(name string) error
	Read(name string) ([]byte, error)
	List() ([]string, error)
}

type file interface {
	io.WriteCloser
	// Sync makes what was written last.
	Sync() error
}

// write puts a file in place: the old one or the new one is there at any
// moment, and the new one for good once it returns nil.
func (s *Store) write(name string, body []byte) error {
	sum := sha256.Sum256(body)
	content := make([]byte, 0, headerLength+len(body))
	content = fmt.Appendf(content, "%s%x\n", magic, sum)
	content = append(content, body...)

	temporary := "." + name + ".tmp"
	if err := s.writeTemporary(temporary, content); err != nil {
		_ = s.fs.Remove(temporary) // a stray is removed at the next start
		return err
	}
	if err := s.fs.Rename(temporary, name); err != nil {
		_ = s.fs.Remove(temporary)
		return err
	}
	return s.fs.Sync()
}

func (s *Store) writeTemporary(name string, content []byte) error {
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readFile returns what write was given, or ErrDamaged.
func (s *Store) readFile(name string) ([]byte, error) {
	content, err := s.fs.Read(name)
	if err != nil {
		return nil, err
	}
	if len(content) < headerLength || !bytes.HasPrefix(content, []byte(magic)) || content[headerLength-1] != '\n' {
		return nil, fmt.Errorf("%s: %w: cut short or overwritten", name, ErrDamaged)
	}
	body := content[headerLength:]
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != string(content[len(magic):headerLength-1]) {
		return nil, fmt.Errorf("%s: %w: its checksum does not match", name, ErrDamaged)
	}
	return body, nil
}

// directory is the real fileSystem.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Create(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d directory) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d directory) Remove(name string) error { return os.Remove(d.path(name)) }

func (d directory) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d directory) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}
