package provisioning

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/store"
)

// What was committed from the candidate and goes back, in whichever way, is the
// candidate again: of who committed it, secrets and all, to be committed once
// more.
func TestCandidateComesBack(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *box) *box{
		"its time is over": func(_ *testing.T, b *box) *box { time.Sleep(61 * time.Second); return b },
		"it is cancelled": func(t *testing.T, b *box) *box {
			if status, answer := b.settle("commit-cancel", ""); status != 200 {
				t.Fatalf("cancel: %d %s", status, answer)
			}
			return b
		},
		"the box starts again": func(t *testing.T, b *box) *box { b.stop(); return startBox(t, b.dir, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				b.put(t, control.Caller{UID: 9}, 0, draftOf("mine", `,"passphrase":"planted-mine"`))
				by := control.Caller{UID: 7}
				if _, answer := b.local(by, "candidate-commit", `{"confirm_s":60}`); field(t, answer, "data", "accepted", "status") != "pending_confirm" {
					t.Fatalf("commit: %s", answer)
				}
				if revision, _, body := b.candidateIs(t); revision != 0 {
					t.Fatalf("while it is pending: %s", body)
				}
				b = end(t, b)
				b.saysIs(t, "7 rolled_back 8 a")
				revision, changed, body := b.candidateIs(t)
				secret, _ := field(t, body, "document", "state", "flows", 0, "outputs", 0, "srt", "passphrase", "secret").(string)
				if revision < 3 || !changed || field(t, body, "by") != "user 7" || field(t, body, "base_version") != 7.0 ||
					field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "mine" ||
					secret == "" || field(t, body, "document", "secrets", secret, "set") != true || strings.Contains(body, "planted") {
					t.Fatalf("candidate %s", body)
				}
				// Once: who drops it is rid of it.
				if _, answer := b.local(by, "candidate-commit", `{}`); field(t, answer, "data", "accepted", "version") != 9.0 {
					t.Errorf("once more: %s", answer)
				}
				if o := b.engine.last().Flows[0].Outputs[0]; o.Name != "mine" || o.SRT.Passphrase.Reveal() != "planted-mine" {
					t.Errorf("in force: %s %q", o.Name, o.SRT.Passphrase.Reveal())
				}
				b.stop()
				b = startBox(t, b.dir, nil)
				if revision, _, body := b.candidateIs(t); revision != 0 {
					t.Errorf("it comes back again: %s", body)
				}
			})
		})
	}
}

// A candidate that was begun in the window is left alone.
func TestNewerCandidateStays(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%t", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				by := control.Caller{UID: 7}
				b.put(t, by, 0, draftOf("older", ""))
				b.local(by, "candidate-commit", `{"confirm_s":60}`)
				if status, _ := b.put(t, by, 0, draftOf("newer", "")); status != 200 {
					t.Fatalf("put: %d", status)
				}
				if restart {
					b.stop()
					b = startBox(t, b.dir, nil)
				}
				time.Sleep(61 * time.Second)
				b.saysIs(t, "7 rolled_back 8 a")
				if _, _, body := b.candidateIs(t); field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "newer" {
					t.Errorf("candidate %s", body)
				}
			})
		})
	}
}

// What the fleet sent, or a whole document at the box, is no candidate when it
// goes back.
func TestNoCandidateComesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.publishLater(committed(8, "b"))
		time.Sleep(61 * time.Second)
		b.edit(strings.Replace(committed(8, "c"), `"version":8,`, "", 1))
		time.Sleep(61 * time.Second)
		b.saysIs(t, "7 rolled_back 9 a")
		if revision, _, body := b.candidateIs(t); revision != 0 {
			t.Errorf("candidate %s", body)
		}
	})
}

// Whenever the power goes, what was typed is there at the next start.
func TestPowerCutLosesNoCandidate(t *testing.T) {
	const writes = 5 // pending, no candidate, candidate, gone, nothing pending
	for at := range writes + 1 {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("at=%d,done=%t", at, done), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s *brittleStore
					b := startBox(t, "", func(o *Options) {
						s = &brittleStore{Store: o.Store.(*store.Store), at: at, cut: true, done: done}
						o.Store = s
					})
					b.publish(document(7, "a", ""))
					by := control.Caller{UID: 7}
					b.put(t, by, 0, draftOf("mine", ""))
					s.counting = true
					b.local(by, "candidate-commit", `{"confirm_s":60}`)
					time.Sleep(61 * time.Second)
					b.stop()
					if at == 0 && s.writes != writes {
						t.Errorf("%d writes, and the test knows of %d", s.writes, writes)
					}
					for range 2 {
						b = startBox(t, b.dir, nil)
						_, changed, body := b.candidateIs(t)
						if !changed || field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "mine" || field(t, body, "base_version") != 7.0 {
							t.Errorf("candidate %s", body)
						}
						b.stop()
					}
				})
			})
		}
	}
}
