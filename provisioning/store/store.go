// Package store keeps what the box must remember across restarts and power
// cuts, in its state directory: the last configurations that were in force,
// and a few small values.
//
// Every file is written beside its name, synced, renamed into place, and the
// directory is synced: after a cut at any moment the old content or the new
// one is there, whole. A checksum in each file tells whether it still is what
// was written; where it is not, Load falls back to the newest configuration
// that is good, and says so.
//
//	lock            held by the one daemon that uses the directory
//	config-N        the configurations, N counting up, the newest Keep of them
//	NAME            a small value
//	.NAME.tmp       being written; left behind by a cut, removed at Open
//
// The directory has mode 0700 and the files 0600: they hold secrets.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Keep is how many configurations are kept.
const Keep = 10

// The errors of this package.
var (
	// ErrLocked tells that another process uses the directory.
	ErrLocked = errors.New("the state directory is in use by another process")
	// ErrDamaged tells that a file is not what was written.
	ErrDamaged = errors.New("damaged")
)

// A Record is one configuration, as it was in force.
type Record struct {
	Version    uint64    `json:"version"`
	Digest     string    `json:"digest"`
	Origin     string    `json:"origin"`
	ReceivedAt time.Time `json:"received_at"`
	By         string    `json:"by,omitempty"`      // who made it at the box
	Comment    string    `json:"comment,omitempty"` // what he said of it
	Owned      []string  `json:"owned,omitempty"`   // what was set at the box, and the fleet may not change
	// Document is what config.Parse reads. It holds secrets.
	Document []byte `json:"document"`
}

// A Store is an open state directory. Its methods may be called from any
// goroutine.
type Store struct {
	fs   fileSystem
	lock *os.File // nil where the file system is not the real one

	mu   sync.Mutex
	next uint64 // number of the next configuration
}

// Open opens a state directory, which is made if there is none, and locks it
// until Close. It returns ErrLocked while another process has it.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	s, err := open(directory(dir))
	if err != nil {
		lock.Close()
		return nil, err
	}
	s.lock = lock
	return s, nil
}

func open(fs fileSystem) (*Store, error) {
	s := &Store{fs: fs, next: 1}
	names, err := fs.List()
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") {
			// An error leaves a stray behind that the next write truncates.
			_ = fs.Remove(name)
		}
		if n, ok := number(name); ok {
			s.next = max(s.next, n+1)
		}
	}
	return s, nil
}

// Close gives the directory up for others.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close() // and with it the lock
}

// Save makes r the newest configuration. When it returns nil, r survives a
// power cut; after an error Load returns what it returned before.
func (s *Store) Save(r Record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("storing version %d: %w", r.Version, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fileName(s.next)
	if err := s.write(name, body); err != nil {
		// It may stand in the directory already; it was never in force.
		_ = s.fs.Remove(name)
		return fmt.Errorf("storing version %d: %w", r.Version, err)
	}
	s.next++
	s.prune()
	return nil
}

// prune removes the configurations beyond Keep. It may fail: they are looked
// for again after the next Save.
func (s *Store) prune() {
	numbers, err := s.numbers()
	if err != nil {
		return
	}
	for i, n := range numbers {
		if i >= Keep {
			_ = s.fs.Remove(fileName(n))
		}
	}
}

// Load returns the newest configuration that is whole and that accept, which
// may be nil, has no error about; nil if there is none. passedOver says what is
// wrong with each newer one.
func (s *Store) Load(accept func(Record) error) (r *Record, passedOver []error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, nil, fmt.Errorf("state directory: %w", err)
	}
	for _, n := range numbers {
		r, err := s.read(fileName(n))
		if err == nil && accept != nil {
			err = accept(r)
		}
		if err == nil {
			return &r, passedOver, nil
		}
		passedOver = append(passedOver, err)
	}
	return nil, passedOver, nil
}

// Records returns the configurations that are whole, the newest first.
func (s *Store) Records() ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var records []Record
	for _, n := range numbers {
		if r, err := s.read(fileName(n)); err == nil {
			records = append(records, r)
		}
	}
	return records, nil
}

func (s *Store) read(name string) (r Record, err error) {
	body, err := s.readFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("%s: %w: not a configuration", name, ErrDamaged)
	}
	return r, nil
}

// numbers returns those of the stored configurations, the newest first.
func (s *Store) numbers() ([]uint64, error) {
	names, err := s.fs.List()
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if n, ok := number(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, nil
}

const configPrefix = "config-"

func fileName(n uint64) string { return fmt.Sprintf("%s%020d", configPrefix, n) }

func number(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, configPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && name == fileName(n)
}

var valueName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Put keeps a small value under a name of lower-case letters, digits and
// underscores. When it returns nil, the value survives a power cut.
func (s *Store) Put(name string, value []byte) error {
	if !valueName.MatchString(name) || name == "lock" {
		return fmt.Errorf("%q cannot name a stored value", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(name, value); err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	return nil
}

// Get returns the value of a name: fs.ErrNotExist where there is none,
// ErrDamaged where it is not what was put.
func (s *Store) Get(name string) ([]byte, error) {
	if !valueName.MatchString(name) || name == "lock" {
		return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readFile(name)
}

// Delete forgets a value; where there is none, it has nothing to do. When it
// returns nil, the value stays away after a power cut; after an error it may
// come back with one.
func (s *Store) Delete(name string) error {
	if !valueName.MatchString(name) || name == "lock" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.fs.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	// Also where it is gone already: the sync may be what failed before.
	if err := s.fs.Sync(); err != nil {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}
