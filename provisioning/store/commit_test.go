package store

import (
	"errors"
	"io/fs"
	"testing"
)

// A document that has to be confirmed is a value, pending, until it is a
// configuration: the power is cut at every step on the way there, and on the
// way back. A start obeys the newest configuration that is not among those
// that went back: the old one until the confirmation was stored, the new one
// from then on, and never one that went back.
func TestPowerCutWhileCommitting(t *testing.T) {
	const before, after = 1, 2
	steps := func(ops ...func(*Store) error) []func(*Store) error { return ops }
	pend := func(s *Store) error { return s.Put("pending", []byte("2")) }
	keep := func(s *Store) error { return s.Save(record(after)) }
	settle := func(s *Store) error { return s.Delete("pending") }
	remember := func(s *Store) error { return s.Put("rolled_back", []byte("2")) }
	for name, c := range map[string]struct {
		steps []func(*Store) error
		kept  int // how many steps make the new one the one to obey; 0: none does
	}{
		"confirmed": {steps(pend, keep, settle), 2},
		"gone back": {steps(pend, remember, settle), 0},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := 1; ; cut++ {
				d := newDisk()
				s, _ := open(d)
				mustSave(t, s, record(before))
				d.steps, d.cutAt = 0, cut
				done := 0
				for _, step := range c.steps {
					if step(s) != nil {
						break
					}
					done++
				}
				for i, left := range d.afterCut() {
					s, err := open(left)
					if err != nil {
						t.Fatal(err)
					}
					_, err = s.Get("rolled_back")
					gone := err == nil
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("cut at step %d, outcome %d: what went back: %v", cut, i, err)
					}
					r, damaged, err := s.Load(func(r Record) error {
						if gone && r.Version == after {
							return errors.New("it went back")
						}
						return nil
					})
					if err != nil || len(damaged) > 0 || r == nil {
						t.Fatalf("cut at step %d, outcome %d: Load gave %v, %v, %v", cut, i, r, damaged, err)
					}
					_, err = s.Get("pending")
					pending := err == nil
					switch {
					case err != nil && !errors.Is(err, fs.ErrNotExist):
						t.Errorf("cut at step %d, outcome %d: what is pending: %v", cut, i, err)
					case r.Version == after && (c.kept == 0 || done < c.kept-1):
						t.Errorf("cut at step %d, outcome %d, after %d calls: what was not confirmed is obeyed", cut, i, done)
					case r.Version == before && c.kept > 0 && done >= c.kept:
						t.Errorf("cut at step %d, outcome %d: what was confirmed is not obeyed", cut, i)
					case c.kept == 0 && done >= 1 && !pending && !gone:
						t.Errorf("cut at step %d, outcome %d: nothing tells that it went back", cut, i)
					}
				}
				if d.steps < cut {
					if done != len(c.steps) || cut < 12 {
						t.Errorf("without a cut: %d calls, %d steps", done, cut-1)
					}
					return
				}
			}
		})
	}
}
