package provisioning

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/relaytest"
)

func readTestRequest(*testing.T) config.Request { return config.Request{Transaction: "t"} }

// A brittleStore fails at one of its writes, alone or with all that follow, as
// when the power is gone; done tells whether that write is done all the same.
type brittleStore struct {
	*store.Store
	counting bool
	writes   int
	at       int // 0: never
	cut      bool
	done     bool
}

func (s *brittleStore) write(do func() error) error {
	if !s.counting {
		return do()
	}
	s.writes++
	if s.at == 0 || s.writes < s.at || s.writes > s.at && !s.cut {
		return do()
	}
	if s.writes == s.at && s.done {
		if err := do(); err != nil {
			return err
		}
	}
	return errors.New("no space left on device")
}

func (s *brittleStore) Save(r store.Record) error {
	return s.write(func() error { return s.Store.Save(r) })
}

func (s *brittleStore) Put(name string, v []byte) error {
	return s.write(func() error { return s.Store.Put(name, v) })
}

func (s *brittleStore) Delete(name string) error {
	return s.write(func() error { return s.Store.Delete(name) })
}

// An ending is what becomes of a commit in its window.
type ending struct {
	name      string
	end       func(*box)
	confirmed bool
	writes    int // where none of them fails
}

// Whatever fails while a document is committed, and whenever the power goes,
// the next start obeys what was confirmed, and nothing else.
func TestNoStartObeysWhatWasNotConfirmed(t *testing.T) {
	relaytest.TakesSeconds(t)
	for _, e := range []ending{
		{"nobody says anything", func(*box) {}, false, 1},
		{"its time is over", func(*box) { time.Sleep(2 * time.Minute) }, false, 3},
		{"it is cancelled", func(b *box) { b.confirm(`{"id":"c8","action":"cancel"}`) }, false, 3},
		{"it is confirmed", func(b *box) { b.confirm(`{"id":"c8","action":"confirm","client_token":"yes"}`) }, true, 3},
		{"it is confirmed until that works", func(b *box) {
			for range 3 {
				b.confirm(`{"id":"c8","action":"confirm","client_token":"yes"}`)
				time.Sleep(time.Second)
			}
		}, true, 3},
		{"it is confirmed too late", func(b *box) {
			time.Sleep(2 * time.Minute)
			b.confirm(`{"id":"c8","action":"confirm","client_token":"yes"}`)
		}, false, 3},
	} {
		notConfirmed(t, e, false, false, 0)
		for at := 1; at <= e.writes; at++ {
			for _, cut := range []bool{false, true} {
				for _, done := range []bool{false, true} {
					notConfirmed(t, e, cut, done, at)
				}
			}
		}
	}
}

// notConfirmed lets the write fail that at counts, or none.
func notConfirmed(t *testing.T, e ending, cut, done bool, at int) {
	t.Run(fmt.Sprintf("%s/cut=%t,done=%t,at=%d", e.name, cut, done, at), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var s *brittleStore
			b := startBox(t, "", func(o *Options) {
				s = &brittleStore{Store: o.Store.(*store.Store), at: at, cut: cut, done: done}
				o.Store = s
			})
			b.publish(document(7, "a", ""))
			s.counting = true
			b.publishLater(committed(8, "b"))
			e.end(b)
			told := slices.Contains(b.answers(t), "applied 8 yes")
			running := b.inForce.Load().version()
			b.stop()
			if at == 0 && s.writes != e.writes {
				t.Errorf("%d writes, and the test knows of %d", s.writes, e.writes)
			}

			for range 2 {
				b = startBox(t, b.dir, nil)
				v := b.inForce.Load().version()
				switch {
				case v != 7 && v != 8:
					t.Errorf("version %d is in force", v)
				case v == 8 && !e.confirmed:
					t.Error("what was not confirmed is in force")
				case v == 7 && told:
					t.Error("what was said to be kept is not in force")
				case v == 8 && running == 7:
					t.Error("what had gone back is in force")
				}
				status := "applied"
				if pendingOnce := running == 8 || at == 0 || at > 1; v == 7 && pendingOnce {
					status = "rolled_back"
				}
				if got := field(t, b.fleet.last("config/reported"), "status"); got != status && !cut {
					t.Errorf("reported is %v, want %s", got, status)
				}
				// The store is as good as new.
				if v == 7 && status == "rolled_back" && !cut {
					b.publishLater(committed(8, "b"))
					if got := b.answers(t); got[len(got)-1] != "409 8 t8" {
						t.Errorf("what went back is tried again: %q", got)
					}
				}
				b.stop()
			}
			b = startBox(t, b.dir, nil)
			b.publishLater(document(9, "c", ""))
			b.saysIs(t, "9 applied 9 c")
			if _, err := b.store.Get(pendingName); err == nil {
				t.Error("a commit is still pending")
			}
		})
	})
}

// The power goes in the window: the box starts with what was there before, and
// tells the fleet so once it can.
func TestPowerCutInTheWindow(t *testing.T) {
	for name, doc := range map[string]string{"explicit": committed(8, "b"), "session": moved(8, "b", "wan0")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				b.fleet.live(false)
				b.publishLater(doc)
				b.saysIs(t, "8 pending_confirm 8 b")
				b.stop()

				b = startBox(t, b.dir, nil)
				b.saysIs(t, "7 rolled_back 8 a")
				b.answersAre(t, "408 8 t8")
				if kinds := b.kinds(t); len(kinds) != 1 || kinds[0] != "commit_rolled_back" {
					t.Errorf("events %q", kinds)
				}
				b.publishLater(doc) // which is retained
				b.answersAre(t, "408 8 t8", "409 8 t8")
				b.stop()
				b = startBox(t, b.dir, nil)
				b.answersAre(t) // it was told
				b.saysIs(t, "7 rolled_back 8 a")
			})
		})
	}
}

// A pending commit that cannot be read has gone back.
func TestDamagedPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		if err := b.store.Put(pendingName, []byte("noise")); err != nil {
			t.Fatal(err)
		}
		if err := b.store.Put(rolledBackName, []byte("noise")); err != nil {
			t.Fatal(err)
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		b.saysIs(t, "7 applied 7 a")
		if event := b.fleet.on("event")[0].body; field(t, event, "type") != "store_fallback" {
			t.Errorf("event %s", event)
		}
		b.publishLater(document(8, "b", ""))
		b.saysIs(t, "8 applied 8 b")
	})
}

// What a session confirmed and could not be stored is tried again, and goes
// back where that fails for all of the window.
func TestConfirmedAndNotStored(t *testing.T) {
	for name, mends := range map[string]bool{"it mends": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *failingStore
				b := startBox(t, "", func(o *Options) {
					s = &failingStore{Store: o.Store.(*store.Store)}
					o.Store = s
				})
				b.publish(document(7, "a", ""))
				s.fail.Store(true)
				s.saves.Store(0)
				b.publishLater(moved(8, "b", "wan0"))
				time.Sleep(time.Minute)
				b.saysIs(t, "8 pending_confirm 8 b")
				if n := s.saves.Load(); n < 3 || n > 13 { // each wears the flash
					t.Errorf("in a minute it was tried %d times", n)
				}
				if mends {
					s.fail.Store(false)
				}
				time.Sleep(2 * time.Minute)
				want, answer := "7 rolled_back 8 a", "408 8 t8"
				if mends {
					want, answer = "8 applied 8 b", "applied 8 t8"
				}
				b.saysIs(t, want)
				b.answersAre(t, "applied 7 t7", answer)
			})
		})
	}
}

// What went back and could not be noted is noted before anything else is
// pending: or a start would try it again.
func TestWhatWentBackIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *brittleStore
		b := startBox(t, "", func(o *Options) {
			s = &brittleStore{Store: o.Store.(*store.Store), at: 2} // pending, and then what went back
			o.Store = s
		})
		b.publish(document(7, "a", ""))
		s.counting = true
		b.publishLater(committed(8, "b"))
		b.confirm(`{"id":"c8","action":"cancel"}`)
		b.saysIs(t, "7 rolled_back 8 a")
		if _, err := b.store.Get(rolledBackName); err == nil {
			t.Fatal("it was noted")
		}
		b.publishLater(committed(9, "c"))
		b.saysIs(t, "9 pending_confirm 9 c")
		b.stop() // as it would be after a power cut
		b = startBox(t, b.dir, nil)
		b.publishLater(committed(8, "b"))
		b.publishLater(committed(9, "c"))
		b.answersAre(t, "408 9 t9", "409 8 t8", "409 9 t9")
	})
}

// A disk that failed may keep a configuration that it was to forget: it went
// back all the same.
func TestWhatWentBackIsNotObeyedFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.publishLater(committed(8, "b"))
		kept, err := b.store.Get(pendingName)
		if err != nil {
			t.Fatal(err)
		}
		record := b.Agent.commit.now.Record
		b.confirm(`{"id":"c8","action":"cancel"}`)
		if err := errors.Join(b.store.Save(record), b.store.Put(pendingName, kept)); err != nil {
			t.Fatal(err)
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		b.saysIs(t, "7 rolled_back 8 a")
		b.answersAre(t, "408 8 t8")
		if state := b.fleet.last("state"); strings.Contains(state, "store_fallback") {
			t.Errorf("the store is said to be damaged: %s", state)
		}
	})
}
