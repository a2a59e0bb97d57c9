package system

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A slot is a box with slots for firmware, whose RAUC is a script of the test.
type slot struct {
	*Installer
	root *RootUpdate
	url  string
}

// newSlot serves the content as a bundle. The script is RAUC's: $2 is the file.
func newSlot(t *testing.T, script string) *slot {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"run/wanted", "state", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rauc, conf := filepath.Join(dir, "bin", "rauc"), filepath.Join(dir, "system.conf")
	for name, text := range map[string]string{rauc: "#!/bin/sh\n" + script, conf: ""} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(server.Close)
	return &slot{
		&Installer{Dir: filepath.Join(dir, "run"), State: filepath.Join(dir, "state"), RAUC: conf},
		&RootUpdate{
			Dir: filepath.Join(dir, "run"), Bundle: filepath.Join(dir, "state", updateBundle),
			Own: filepath.Join(dir, "own"), RAUC: rauc, Log: io.Discard,
		},
		server.URL,
	}
}

// systemd runs root's side whenever there is an order, as a path unit does.
func (s *slot) systemd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := os.Lstat(filepath.Join(s.Dir, updateWanted)); err == nil {
				_ = s.root.Run(ctx) // it tells the daemon
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestInstall(t *testing.T) {
	s := newSlot(t, `
[ "$1" = install ] && [ "$(stat -c %a "$2")" = 600 ] || exit 9
cp "$2" "$(dirname "$2")/installed"
echo "installing"
echo "  0% Installing"
echo " 40% Determining slot states"
sleep 1
echo "100% Installing done."
`)
	s.systemd(t)
	var percents []int
	if err := s.Install(t.Context(), Update{URL: s.url}, new(net.Dialer).DialContext, func(p int) { percents = append(percents, p) }); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(s.root.Own, "installed"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("RAUC was given %d bytes, not what is served (%v)", len(got), err)
	}
	if !slices.IsSorted(percents) || len(slices.Compact(slices.Clone(percents))) < len(percents) || !slices.Contains(percents, 50) || !slices.Contains(percents, 70) || percents[len(percents)-1] != 100 {
		t.Errorf("progress %v", percents)
	}
	for _, left := range []string{s.root.Bundle, filepath.Join(s.root.Own, updateBundle), filepath.Join(s.Dir, updateWanted)} {
		if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", filepath.Base(left))
		}
	}
}

func TestInstallFails(t *testing.T) {
	s := newSlot(t, `
echo "LastError: signature verification failed: unable to get local issuer certificate"
head -c 200000 /dev/zero
exit 1
`)
	s.systemd(t)
	err := s.Install(t.Context(), Update{URL: s.url}, new(net.Dialer).DialContext, func(int) {})
	if err == nil || !strings.Contains(err.Error(), "signature verification failed") {
		t.Errorf("it was refused, and we hear %v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.root.Own, updateBundle)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the bundle is left")
	}
}

func TestInstallNeedsSlots(t *testing.T) {
	s := newSlot(t, "")
	s.RAUC += ".none"
	s.url = "http://127.0.0.1:1/" // nobody would answer
	if err := s.Install(t.Context(), Update{URL: s.url}, nil, nil); !errors.Is(err, ErrNoHost) {
		t.Errorf("a box without slots says %v", err)
	}
}

// The daemon's user may be anybody's: root takes a plain file, and no other.
func TestRootTakesPlainFiles(t *testing.T) {
	const order = `{"sequence":"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}`
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(order), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(s *slot) error{
		"the bundle is a link": func(s *slot) error { return os.Symlink(secret, s.root.Bundle) },
		"there is no bundle":   func(*slot) error { return nil },
		"the bundle is a directory": func(s *slot) error {
			return os.Mkdir(s.root.Bundle, 0o755)
		},
	} {
		s := newSlot(t, "echo called >$0.called")
		if err := prepare(s); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, updateWanted), []byte(order), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.root.Run(t.Context()); err == nil {
			t.Errorf("%s: it is installed", name)
		}
		if _, err := os.Stat(s.root.RAUC + ".called"); err == nil {
			t.Errorf("%s: RAUC is given it", name)
		}
		if p := readProgress(filepath.Join(s.Dir, updateApplied)); !p.Done || p.Error == "" {
			t.Errorf("%s: the daemon hears %+v", name, p)
		}
	}
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what the link leads to was touched: %v", err)
	}
}

func FuzzUpdateOrder(f *testing.F) {
	f.Add([]byte(`{"sequence":"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}`))
	f.Add([]byte(`{"sequence":"../../etc"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if seq, err := readOrder(text); err == nil && !sequence.MatchString(seq) {
			t.Errorf("%q is taken", seq)
		}
	})
}
