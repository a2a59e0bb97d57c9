package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func record(version uint64) Record {
	return Record{
		Version: version, Digest: fmt.Sprintf("digest-%d", version), Origin: "fleet",
		ReceivedAt: time.Date(2026, 11, 23, 9, 0, int(version), 0, time.UTC),
		By:         "anna", Comment: "no comment", Owned: []string{"broker"},
		Document: []byte(fmt.Sprintf(`{"version":%d}`, version)),
	}
}

func same(a, b Record) bool {
	return a.By == b.By && a.Comment == b.Comment && slices.Equal(a.Owned, b.Owned) && a.Version == b.Version && a.Digest == b.Digest && a.Origin == b.Origin &&
		a.ReceivedAt.Equal(b.ReceivedAt) && bytes.Equal(a.Document, b.Document)
}

func mustSave(t *testing.T, s *Store, r Record) {
	t.Helper()
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLoadOfAnEmptyDirectory(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state"))
	if r, damaged, err := s.Load(nil); r != nil || damaged != nil || err != nil {
		t.Errorf("got %v, %v, %v", r, damaged, err)
	}
	if _, err := s.Get("bd_seq"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
}

func TestKeepsTheLastTenAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	for v := uint64(1); v <= 13; v++ {
		s := mustOpen(t, dir)
		mustSave(t, s, record(v))
		if r, damaged, err := s.Load(nil); err != nil || damaged != nil || !same(*r, record(v)) {
			t.Fatalf("after saving %d: %+v, %v, %v", v, r, damaged, err)
		}
		s.Close()
	}
	s := mustOpen(t, dir)
	// Each of the ten is there, and nothing older.
	var seen []uint64
	r, passedOver, err := s.Load(func(r Record) error {
		if !same(r, record(r.Version)) {
			t.Errorf("got %+v", r)
		}
		seen = append(seen, r.Version)
		return errors.New("not this one")
	})
	if want := []uint64{13, 12, 11, 10, 9, 8, 7, 6, 5, 4}; !slices.Equal(seen, want) {
		t.Errorf("kept %d, want %d", seen, want)
	}
	if r != nil || err != nil || len(passedOver) != Keep {
		t.Errorf("all passed over: %v, %v, %v", r, passedOver, err)
	}
}

func TestRecordsAreThoseThatAreWhole(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if records, err := s.Records(); len(records) > 0 || err != nil {
		t.Errorf("of none: %v, %v", records, err)
	}
	for v := uint64(1); v <= 4; v++ {
		mustSave(t, s, record(v))
	}
	if err := os.WriteFile(filepath.Join(dir, fileName(3)), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	records, err := s.Records()
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for i, want := range []uint64{4, 2, 1} {
		if !same(records[i], record(want)) {
			t.Errorf("at %d: %+v, want version %d", i, records[i], want)
		}
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	mustSave(t, s, record(1))
	if err := s.Put("bd_seq", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if i, _ := os.Stat(dir); i.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %o", i.Mode().Perm())
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 { // lock, config-1, bd_seq
		t.Errorf("%d files", len(entries))
	}
	for _, e := range entries {
		if i, _ := e.Info(); i.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), i.Mode().Perm())
		}
	}
}

func TestOneDaemonForEachDirectory(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	first.Close()
	mustOpen(t, dir)
}

func TestValues(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for _, v := range []string{"1", "", "a longer\x00one\n"} {
		if err := s.Put("bd_seq", []byte(v)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get("bd_seq"); err != nil || string(got) != v {
			t.Errorf("put %q, got %q, %v", v, got, err)
		}
	}
	for range 2 { // what is not there is deleted already
		if err := s.Delete("bd_seq"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Get("bd_seq"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was deleted: %v", err)
	}
	mustSave(t, s, record(1))
	for _, name := range []string{"lock", fileName(1)} { // which are no values
		if err := s.Delete(name); err != nil {
			t.Error(err)
		}
	}
	if r, _, _ := s.Load(nil); r == nil {
		t.Error("a configuration was deleted as a value")
	}
	for _, name := range []string{"", "lock", "../x", "config-00000000000000000001", ".x"} {
		if err := s.Put(name, nil); err == nil {
			t.Errorf("%q was taken as a name", name)
		}
	}
}

// Whatever happens to the newest file, Load gives the one before it, and says
// what it passed over.
func TestDamageFallsBack(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustSave(t, s, record(1))
	mustSave(t, s, record(2))
	mustSave(t, s, record(3))
	newest := filepath.Join(dir, fileName(3))
	good, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(newest, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, damaged, err := s.Load(nil)
		if err != nil || r == nil || !same(*r, record(2)) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		if len(damaged) != 1 || !errors.Is(damaged[0], ErrDamaged) || !strings.Contains(damaged[0].Error(), fileName(3)) {
			t.Errorf("%s: damage told as %v", what, damaged)
		}
	}
	for n := range good {
		check(fmt.Sprintf("cut to %d bytes", n), good[:n])
		flipped := bytes.Clone(good)
		flipped[n] ^= 1 << (n % 8)
		check(fmt.Sprintf("bit flipped in byte %d", n), flipped)
	}
	check("grown", append(bytes.Clone(good), '\n'))
	check("zeroed", make([]byte, len(good)))

	// The one that is damaged is not written over, and does not hide the next.
	mustSave(t, s, record(4))
	if r, damaged, err := s.Load(nil); err != nil || damaged != nil || !same(*r, record(4)) {
		t.Errorf("after the next: %+v, %v, %v", r, damaged, err)
	}
}

// The power is cut at every step of Save and Put, and whatever was not synced
// is lost or not: the old content or the new one is there, and the new one if
// the call had returned.
func TestPowerCutAtEachStep(t *testing.T) {
	for cut := 1; ; cut++ {
		d := newDisk()
		s, err := open(d)
		if err != nil {
			t.Fatal(err)
		}
		// More than Keep, so that a cut may come while the oldest is removed.
		for v := uint64(1); v <= Keep+1; v++ {
			mustSave(t, s, record(v))
		}
		if err := s.Put("bd_seq", []byte("old")); err != nil {
			t.Fatal(err)
		}
		const before, after = Keep + 1, Keep + 2

		d.steps, d.cutAt = 0, cut
		saved := s.Save(record(after))
		put := s.Put("bd_seq", []byte("new"))

		for i, left := range d.afterCut() {
			what := fmt.Sprintf("cut at step %d, outcome %d", cut, i)
			s, err := open(left)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			r, damaged, err := s.Load(nil)
			if err != nil || r == nil || len(damaged) > 0 {
				t.Fatalf("%s: Load gave %v, %v, %v", what, r, damaged, err)
			}
			if !same(*r, record(after)) && !same(*r, record(before)) {
				t.Errorf("%s: Load gave %+v", what, r)
			}
			if saved == nil && !same(*r, record(after)) {
				t.Errorf("%s: Save had returned, and version %d is in force", what, r.Version)
			}
			v, err := s.Get("bd_seq")
			if err != nil || string(v) != "old" && string(v) != "new" || put == nil && string(v) != "new" {
				t.Errorf("%s: value %q, %v (Put: %v)", what, v, err, put)
			}
			names, _ := left.List()
			for _, name := range names {
				if strings.HasSuffix(name, ".tmp") {
					t.Errorf("%s: %s was left behind", what, name)
				}
			}
			mustSave(t, s, record(after+1)) // and it goes on
			if r, _, _ := s.Load(nil); !same(*r, record(after+1)) {
				t.Errorf("%s: the next Save gave %+v", what, r)
			}
		}
		if d.steps < cut { // nothing was left to cut
			if saved != nil || put != nil {
				t.Errorf("without a cut: %v, %v", saved, put)
			}
			if cut < 12 {
				t.Errorf("only %d steps were interrupted", cut-1)
			}
			return
		}
	}
}

// A value that is deleted is gone once Delete has returned, whole before.
func TestPowerCutWhileDeleting(t *testing.T) {
	for cut := 1; ; cut++ {
		d := newDisk()
		s, _ := open(d)
		mustSave(t, s, record(1))
		if err := s.Put("pending", []byte("old")); err != nil {
			t.Fatal(err)
		}
		d.steps, d.cutAt = 0, cut
		deleted := s.Delete("pending")
		for i, left := range d.afterCut() {
			s, err := open(left)
			if err != nil {
				t.Fatal(err)
			}
			switch v, err := s.Get("pending"); {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil || string(v) != "old" || deleted == nil:
				t.Errorf("cut at step %d, outcome %d: %q, %v (Delete: %v)", cut, i, v, err, deleted)
			}
			if r, _, _ := s.Load(nil); r == nil || !same(*r, record(1)) {
				t.Errorf("cut at step %d, outcome %d: the configuration is %+v", cut, i, r)
			}
		}
		if d.steps < cut {
			if deleted != nil || cut < 3 {
				t.Errorf("without a cut: %v, after %d steps", deleted, cut-1)
			}
			return
		}
	}
}

// A full disk is no power cut: the box runs on, and what it was told was not
// stored is not found in force later.
func TestFailureAtEachStepChangesNothing(t *testing.T) {
	for fail := 1; ; fail++ {
		d := newDisk()
		s, _ := open(d)
		mustSave(t, s, record(1))
		d.steps, d.fail = 0, fail
		err := s.Save(record(2))
		steps := d.steps
		want := record(1)
		if err == nil {
			want = record(2)
		}
		d.fail = 0
		for range 2 { // as it runs on, and after a restart
			if r, damaged, lerr := s.Load(nil); lerr != nil || len(damaged) > 0 || !same(*r, want) {
				t.Errorf("step %d failed (%v): Load gave %+v, %v, %v", fail, err, r, damaged, lerr)
			}
			s, _ = open(d)
		}
		if steps < fail {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if err == nil {
			t.Errorf("step %d failed and Save did not tell", fail)
		}
	}
}
