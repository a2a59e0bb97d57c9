package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	applyTime   = 20 * time.Second // bounds one application of settings
	backTime    = 10 * time.Second // bounds going back after one that failed
	commandTime = 10 * time.Second
)

// An Applier is root's side: it carries out what the daemon's user wants, whom
// it does not trust. Make it with NewApplier.
type Applier struct {
	dir    string // of requests and answers
	root   string // where the file system begins
	log    *slog.Logger
	run    func(ctx context.Context, name string, args ...string) (string, error)
	netd   networkd
	lights lights
}

// NewApplier returns the Applier for requests in a directory such as HostDir.
// root is /, or for tests a directory with what stands for it.
func NewApplier(dir, root string, log *slog.Logger) *Applier {
	return &Applier{dir: dir, root: root, log: log, run: command, netd: newNetworkd(root), lights: lights{root: root, log: log}}
}

// command runs a program of systemd and returns what it says.
func command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	said, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil && said != "" {
		err = fmt.Errorf("%s: %w", said, err)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return said, err
}

// Run carries out what is wanted until nothing is, and no light blinks any
// more. The error is of the directory; what a request ends with is in its
// answer.
func (a *Applier) Run(ctx context.Context) error {
	defer a.lights.stop()
	for {
		took := false
		for _, k := range []kind{settingsKind, actionKind} {
			text, err := a.take(k)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			took = true
			switch _, gone := os.Lstat(filepath.Join(a.dir, "wanted", k.wanted)); {
			case err == nil:
				err = a.carryOut(ctx, k, text)
			case gone != nil: // there is nobody to answer
				a.log.Error("a request is refused", "file", k.wanted, "error", err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", k.wanted, err)
			}
		}
		switch {
		case ctx.Err() != nil, !took && !a.lights.on():
			return nil
		case !took:
			select {
			case <-ctx.Done():
			case <-a.lights.done:
			case <-time.After(200 * time.Millisecond): // while lights blink, more may be wanted
			}
		}
	}
}

// take moves a request to where the daemon's user cannot reach it, and reads it.
// Whatever is called like one does not stay, or this would be started for ever.
func (a *Applier) take(k kind) ([]byte, error) {
	wanted, taken := filepath.Join(a.dir, "wanted", k.wanted), filepath.Join(a.dir, ".taken-"+k.wanted)
	if _, err := os.Lstat(wanted); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(taken); err != nil {
		return nil, err
	}
	if err := os.Rename(wanted, taken); err != nil {
		// A directory of another user cannot be moved, and is no request.
		return nil, errors.Join(err, os.RemoveAll(wanted))
	}
	text, err := readPlain(taken)
	return text, errors.Join(err, os.RemoveAll(taken))
}

// carryOut does what a request says, once, and answers it.
func (a *Applier) carryOut(ctx context.Context, k kind, text []byte) error {
	r, err := parseRequest(text, k)
	say := func(done bool, err error) error {
		said := answer{Sequence: r.Sequence, Done: done}
		if r.Settings != nil {
			said.Digest = r.Settings.digest()
		}
		if err != nil {
			said.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		return writeJSON(filepath.Join(a.dir, k.answer), said)
	}
	last, err2 := readAnswer(filepath.Join(a.dir, k.answer))
	switch {
	case err != nil:
		a.log.Error("a request is refused", "file", k.wanted, "error", err)
		if r.Sequence == 0 {
			return nil // nobody could be answered
		}
		return say(true, err)
	case err2 != nil:
		return err2
	case k == actionKind && r.Sequence <= last.Sequence:
		a.log.Warn("an action was carried out before", "sequence", r.Sequence)
		return nil
	case k == actionKind && r.BootID != bootID(a.root):
		return say(true, errors.New("the action was wanted before the box started"))
	}
	// What ends us half-way shows as what was begun and is not done.
	if err := say(false, nil); err != nil {
		return err
	}
	if k == settingsKind {
		err = a.apply(ctx, *r.Settings)
	} else {
		err = a.act(ctx, *r.Action)
	}
	if err != nil {
		a.log.Error("what is wanted cannot be done", "file", k.wanted, "error", err)
	} else {
		a.log.Info("what is wanted is done", "file", k.wanted)
	}
	return say(true, err)
}

// apply makes the host be as the settings say, or leaves it as it was.
func (a *Applier) apply(ctx context.Context, s Settings) error {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	had, err := a.read()
	if err != nil {
		return err
	}
	name, err := a.hostname()
	if err != nil {
		return err
	}
	want := s.files()
	if err := a.able(ctx, had, want); err != nil {
		return err
	}
	if err = a.make(ctx, s, had, want); err == nil {
		return nil
	}
	back, cancelBack := context.WithTimeout(context.WithoutCancel(ctx), backTime)
	defer cancelBack()
	if now, err2 := a.read(); err2 != nil {
		err = errors.Join(err, err2)
	} else if err2 := errors.Join(a.write(now, had), a.tell(back, now, had), a.setHostname(name)); err2 != nil {
		err = errors.Join(err, fmt.Errorf("and it could not be put back as it was: %w", err2))
	}
	return err
}

// make does it: all files first, then what is no longer wanted goes, then those
// who read them are told.
func (a *Applier) make(ctx context.Context, s Settings, had, want map[string]string) error {
	if err := a.write(had, want); err != nil {
		return err
	}
	if err := a.tell(ctx, had, want); err != nil {
		return err
	}
	if err := a.netd.await(ctx, s, had, want); err != nil {
		return err
	}
	return a.giveName(s.Hostname)
}

// able tells why the settings could never be in force: those who read the files
// do not run.
func (a *Applier) able(ctx context.Context, had, want map[string]string) error {
	for _, r := range readers {
		if r.changed(had, want) && r.any(want) && !a.active(ctx, r.unit) {
			return fmt.Errorf("%s does not run on this box, so its %s cannot be set", r.unit, r.what)
		}
	}
	return nil
}

func (a *Applier) active(ctx context.Context, unit string) bool {
	state, _ := a.run(ctx, "systemctl", "is-active", unit+".service")
	return state == "active" || state == "reloading"
}

// tell has those read their files who have others now.
func (a *Applier) tell(ctx context.Context, had, want map[string]string) error {
	for _, r := range readers {
		if !r.changed(had, want) || !a.active(ctx, r.unit) {
			continue
		}
		if _, err := a.run(ctx, r.tell[0], r.tell[1:]...); err != nil {
			return fmt.Errorf("%s does not take its %s: %w", r.unit, r.what, err)
		}
	}
	return nil
}

// readers are who reads the files.
var readers = []reader{
	// It configures again the NICs whose file is new, gone or changed, and no
	// others: networkctl(1).
	{networkDir, "systemd-networkd", "network", []string{"networkctl", "reload"}},
	{timesyncDir, "systemd-timesyncd", "time servers", []string{"systemctl", "try-restart", "systemd-timesyncd.service"}},
}

type reader struct {
	dir, unit, what string
	tell            []string
}

func (r reader) any(files map[string]string) bool {
	for name := range files {
		if filepath.Dir(name) == r.dir {
			return true
		}
	}
	return false
}

func (r reader) changed(had, want map[string]string) bool {
	for name := range union(had, want) {
		if filepath.Dir(name) == r.dir && !same(had, want, name) {
			return true
		}
	}
	return false
}

// same tells whether a file is in neither, or in both with one content.
func same(had, want map[string]string, name string) bool {
	x, inHad := had[name]
	y, inWant := want[name]
	return inHad == inWant && x == y
}

func union(a, b map[string]string) map[string]bool {
	all := make(map[string]bool)
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// read returns our files as they are.
func (a *Applier) read() (map[string]string, error) {
	all := make(map[string]string)
	for _, dir := range []string{networkDir, timesyncDir} {
		entries, err := os.ReadDir(filepath.Join(a.root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ours+"-") && !strings.HasPrefix(e.Name(), ours+".") {
				continue
			}
			text, err := readPlain(filepath.Join(a.root, dir, e.Name()))
			if err != nil {
				return nil, err
			}
			all[filepath.Join(dir, e.Name())] = string(text)
		}
	}
	return all, nil
}

// write makes the files be those that are wanted.
func (a *Applier) write(had, want map[string]string) error {
	for name, text := range want {
		if same(had, want, name) {
			continue
		}
		file := filepath.Join(a.root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := writeWhole(file, []byte(text)); err != nil {
			return err
		}
	}
	for name := range had {
		if _, ok := want[name]; !ok {
			if err := os.Remove(filepath.Join(a.root, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
