package store

import (
	"errors"
	"fmt"
)

// Wipe forgets every configuration and every value but one. Files that the
// store did not write stay. A power cut in the middle leaves some of them, and
// the one value: it is for the caller to go on where he finds it.
func (s *Store) Wipe(except string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	var errs []error
	for _, name := range names {
		_, numbered := number(name)
		if !numbered && (!valueName.MatchString(name) || name == "lock" || name == except) {
			continue
		}
		// What was damaged goes too: the name is one that only the store gives.
		errs = append(errs, s.fs.Remove(name))
	}
	errs = append(errs, s.fs.Sync())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wiping the state directory: %w", err)
	}
	return nil
}
