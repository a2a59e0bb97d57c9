package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	takeTime   = 10 * time.Second // within which root takes what is wanted
	finishTime = 30 * time.Second // within which it is done, once it is taken
	lookEvery  = 50 * time.Millisecond
)

// A Host is the daemon's side of what root does for it: it says what it wants,
// and waits for the answer of sluicectl host-apply. Make it with NewHost.
type Host struct {
	dir     string
	boot    string
	setting chan struct{} // capacity 1: held by the one who has settings made
	acting  chan struct{} // likewise, of actions
}

// NewHost returns the Host whose requests and answers are in a directory, which
// need not be there.
func NewHost(dir string) *Host {
	return &Host{dir: dir, boot: New().BootID(), setting: make(chan struct{}, 1), acting: make(chan struct{}, 1)}
}

// Set has the host be as given. It returns once it is, or says why it is not:
// ErrNoHost where nobody on this box does it. The same settings again do
// nothing, and neither do empty ones where nothing was ever asked for.
func (h *Host) Set(ctx context.Context, s Settings) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := hold(ctx, h.setting); err != nil {
		return err
	}
	defer func() { <-h.setting }()
	last, err := readAnswer(filepath.Join(h.dir, settingsKind.answer))
	if err != nil {
		return fmt.Errorf("what the host is like cannot be read: %w", err)
	}
	_, err = os.Lstat(filepath.Join(h.dir, "wanted", settingsKind.wanted))
	if waiting := err == nil; !waiting {
		if last.Sequence == 0 && s.Empty() || last.Done && last.Error == "" && last.Digest == s.digest() {
			return nil
		}
	}
	return h.ask(ctx, settingsKind, last, request{Settings: &s})
}

// Do has the host do something, once. It may return before a reboot takes
// effect.
func (h *Host) Do(ctx context.Context, a Action) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if err := hold(ctx, h.acting); err != nil {
		return err
	}
	defer func() { <-h.acting }()
	last, err := readAnswer(filepath.Join(h.dir, actionKind.answer))
	if err != nil {
		return fmt.Errorf("what the host did last cannot be read: %w", err)
	}
	return h.ask(ctx, actionKind, last, request{BootID: h.boot, Action: &a})
}

func hold(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask writes a request and waits for its answer. What nobody took is taken
// back: it must not be carried out at some later time.
func (h *Host) ask(ctx context.Context, k kind, last answer, r request) error {
	// Clocks go back; numbers do not.
	r.Sequence = max(last.Sequence+1, uint64(time.Now().UnixNano()))
	wanted := filepath.Join(h.dir, "wanted", k.wanted)
	err := writeJSON(wanted, r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is not there", ErrNoHost, filepath.Dir(wanted))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: nothing may be written to %s", ErrNoHost, filepath.Dir(wanted))
	case err != nil:
		return fmt.Errorf("the host cannot be asked: %w", err)
	}
	until := time.NewTimer(takeTime)
	defer until.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	taken := false
	for {
		a, err := readAnswer(filepath.Join(h.dir, k.answer))
		if err != nil {
			return fmt.Errorf("the host's answer cannot be read: %w", err)
		}
		if a.Sequence == r.Sequence && a.Done {
			if a.Error != "" {
				return errors.New(a.Error)
			}
			return nil
		}
		if a.Sequence == r.Sequence && !taken {
			taken = true
			until.Reset(finishTime)
		}
		select {
		case <-look.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-until.C:
			err = fmt.Errorf("%w: nobody took the request within %v (is sluice-host-apply.path active?)", ErrNoHost, takeTime)
			if taken {
				err = fmt.Errorf("the host has not finished within %v: see journalctl -u sluice-host-apply", finishTime)
			}
		}
		if !taken {
			os.Remove(wanted)
		}
		return err
	}
}
