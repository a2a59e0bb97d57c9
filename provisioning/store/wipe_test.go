package store

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

// The power is cut at every step of a reset, twice: the box is the old one,
// whole, or there is the one value that tells to go on, and then it is empty.
func TestPowerCutWhileWiping(t *testing.T) {
	const marker = "reset"
	old := func(s *Store) bool {
		r, damaged, err := s.Load(nil)
		v, e := s.Get("password")
		return err == nil && e == nil && len(damaged) == 0 && r != nil && same(*r, record(3)) && string(v) == "old"
	}
	finish := func(s *Store) error {
		if _, err := s.Get(marker); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := s.Wipe(marker); err != nil {
			return err
		}
		return s.Delete(marker)
	}
	outcomes := map[bool]int{}
	for cut := 1; ; cut++ {
		d := newDisk()
		s, _ := open(d)
		for v := uint64(1); v <= 3; v++ {
			mustSave(t, s, record(v))
		}
		if err := s.Put("password", []byte("old")); err != nil {
			t.Fatal(err)
		}
		d.steps, d.cutAt = 0, cut
		err := s.Put(marker, []byte("wanted"))
		if err == nil {
			err = s.Wipe(marker)
		}
		for i, left := range d.afterCut() {
			s, e := open(left)
			if e != nil {
				t.Fatal(e)
			}
			if _, e := s.Get(marker); e != nil {
				outcomes[true]++
				if !old(s) {
					t.Errorf("cut at step %d, outcome %d: without the marker the old box is not whole", cut, i)
				}
				continue
			}
			outcomes[false]++
			left.steps, left.cutAt = 0, cut%7+1 // and again while it is finished
			_ = finish(s)
			for j, left := range left.afterCut() {
				s, e := open(left)
				if e == nil {
					e = finish(s)
				}
				names, _ := left.List()
				if e != nil || len(slices.DeleteFunc(names, func(n string) bool { return n == "lock" })) != 0 {
					t.Errorf("cut at step %d, outcome %d, %d: %v is left, %v", cut, i, j, names, e)
				}
			}
		}
		if d.steps < cut {
			if err != nil || cut < 10 || outcomes[true] == 0 || outcomes[false] == 0 {
				t.Errorf("without a cut: %v, after %d steps, %v", err, cut-1, outcomes)
			}
			return
		}
	}
}

// What others put into the directory stays.
func TestWipeLeavesFilesOfOthers(t *testing.T) {
	d := newDisk()
	s, _ := open(d)
	mustSave(t, s, record(1))
	for _, name := range []string{"a", "b"} {
		if err := s.Put(name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"box.pem", "lock"} {
		f, err := d.Create(name)
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	if err := s.Wipe("b"); err != nil {
		t.Fatal(err)
	}
	if names, _ := d.List(); !slices.Equal(names, []string{"b", "box.pem", "lock"}) {
		t.Errorf("left: %v", names)
	}
	for i, left := range d.afterCut() {
		if names, _ := left.List(); !slices.Equal(names, []string{"b", "box.pem", "lock"}) {
			t.Errorf("after a cut, outcome %d: %v", i, names)
		}
	}
}
