package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is wanted is in force when Set returns; the same again asks nobody; a
// daemon that starts again knows what is in force, and a box that starts again
// has to be asked again.
func TestHostSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		h := b.host(t)
		s := Settings{Hostname: "ob-van-3", Links: links()[:2]}
		set := func(h *Host, s Settings, told ...string) {
			t.Helper()
			if err := h.Set(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			b.toldIs(t, told...)
		}
		applied := func() answer {
			a, err := readAnswer(filepath.Join(b.dir, "applied.json"))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		const reload = "networkctl reload"
		set(h, Settings{})
		if a := applied(); a.Sequence != 0 {
			t.Errorf("nothing was wanted, and was answered: %+v", a)
		}
		set(h, s, reload)
		b.hostnameIs(t, "ob-van-3")
		first := applied()
		set(h, s)
		again := NewHost(b.dir)
		set(again, s)
		if a := applied(); a != first {
			t.Errorf("the same again was asked for: %+v", a)
		}

		s.Links = s.Links[:1]
		set(again, s, reload)
		set(h, Settings{}, reload)
		b.hostnameIs(t, "sluice-1234")

		for _, name := range []string{"applied.json", "hostname"} { // /run is empty after a restart
			if err := os.Remove(filepath.Join(b.dir, name)); err != nil && name == "applied.json" {
				t.Fatal(err)
			}
		}
		set(h, s, reload)
		if a := applied(); !a.Done || a.Digest != s.digest() {
			t.Errorf("after a restart nobody was asked: %+v", a)
		}
	})
}

// What cannot be is told in one sentence, and asked for again the next time.
func TestHostSetFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		h := b.host(t)
		s := Settings{Links: links()[:1]}
		b.failed["systemd-networkd"] = true
		for range 2 {
			err := h.Set(t.Context(), s)
			if err == nil || errors.Is(err, ErrNoHost) || !strings.Contains(err.Error(), "systemd-networkd does not run") {
				t.Fatalf("without networkd: %v", err)
			}
		}
		synctest.Wait()
		b.failed["systemd-networkd"] = false
		if err := h.Set(t.Context(), s); err != nil {
			t.Errorf("with networkd: %v", err)
		}
		// It never leaves the daemon.
		if err := h.Set(t.Context(), Settings{Hostname: "a b"}); err == nil || !strings.Contains(err.Error(), "host name") {
			t.Errorf("a host name that is none: %v", err)
		}
	})
}

// Nobody answers: the request is taken back, and the error says so.
func TestHostNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		h := NewHost(b.dir)
		s := Settings{Hostname: "ob-van-3"}
		began := time.Now()
		if err := h.Set(t.Context(), s); !errors.Is(err, ErrNoHost) {
			t.Errorf("nobody answers: %v", err)
		}
		if waited := time.Since(began); waited < takeTime || waited > 2*takeTime {
			t.Errorf("waited %v", waited)
		}
		if err := h.Do(t.Context(), Action{Name: Reboot}); !errors.Is(err, ErrNoHost) {
			t.Errorf("nobody restarts: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Set(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller gave up: %v", err)
		}
		b.nothingWanted(t, "nobody answered")

		h = NewHost(filepath.Join(b.dir, "not-there"))
		if err := h.Set(t.Context(), s); !errors.Is(err, ErrNoHost) {
			t.Errorf("there is no directory: %v", err)
		}
		if err := h.Set(t.Context(), Settings{}); err != nil {
			t.Errorf("nothing is wanted of nobody: %v", err)
		}
	})
}

// A host that begins and does not end is not taken for none.
func TestHostHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		h := NewHost(b.dir)
		go func() {
			time.Sleep(takeTime / 2)
			text, err := b.take(settingsKind)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := parseRequest(text, settingsKind)
			if err == nil {
				err = writeJSON(filepath.Join(b.dir, "applied.json"), answer{Sequence: r.Sequence})
			}
			if err != nil {
				t.Error(err)
			}
		}()
		began := time.Now()
		err := h.Set(t.Context(), Settings{Hostname: "ob-van-3"})
		if waited := time.Since(began); err == nil || errors.Is(err, ErrNoHost) || waited < finishTime {
			t.Errorf("it hangs: after %v: %v", waited, err)
		}
	})
}

// An action is carried out once, and only in the start of the box in which it
// was wanted.
func TestHostDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		h := b.host(t)
		const reboot = "systemctl --no-block reboot"
		if err := h.Do(t.Context(), Action{Name: Reboot}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.toldIs(t, reboot)
		last, err := readAnswer(filepath.Join(b.dir, "acted.json"))
		if err != nil || !last.Done {
			t.Fatalf("the answer is %+v, %v", last, err)
		}
		again := func(r request) {
			t.Helper()
			r.Action = &Action{Name: Reboot}
			if err := writeJSON(filepath.Join(b.dir, "wanted/action.json"), r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			b.toldIs(t)
		}
		again(request{Sequence: last.Sequence, BootID: boot})
		again(request{Sequence: last.Sequence - 1, BootID: boot})
		again(request{Sequence: last.Sequence + 1, BootID: "an earlier one"})
		again(request{Sequence: last.Sequence + 2})
		if err := h.Do(t.Context(), Action{Name: Reboot}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.toldIs(t, reboot)

		b.failed[reboot] = true
		if err := h.Do(t.Context(), Action{Name: Reboot}); err == nil || !strings.Contains(err.Error(), "said no") {
			t.Errorf("a restart that is refused: %v", err)
		}
		for _, a := range []Action{{}, {Name: "halt"}, {Name: Reboot, Seconds: 1}, {Name: Identify}, {Name: Identify, Seconds: 601}} {
			if err := h.Do(t.Context(), a); err == nil || errors.Is(err, ErrNoHost) {
				t.Errorf("%+v: %v", a, err)
			}
		}
	})
}
