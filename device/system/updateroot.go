package system

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// sequence is what rand.Text makes.
var sequence = regexp.MustCompile(`^[A-Z2-7]{20,40}$`)

// A RootUpdate is root's side of an update: it takes the bundle that the daemon
// downloaded, and gives it to RAUC, which believes its signature alone.
type RootUpdate struct {
	Dir    string    // HostDir
	Bundle string    // what was downloaded
	Own    string    // directory of root alone
	RAUC   string    // program
	Log    io.Writer // what RAUC prints
}

// Run takes the order and carries it out.
func (u *RootUpdate) Run(ctx context.Context) error {
	seq, err := u.order()
	if err != nil {
		return err
	}
	if err := u.tell(updateProgress{Sequence: seq}); err != nil {
		return err
	}
	end := updateProgress{Sequence: seq, Percent: 100, Done: true}
	if err := u.install(ctx, seq); err != nil {
		end.Percent, end.Error = 0, err.Error()
	}
	if err := u.tell(end); err != nil {
		return err
	}
	if end.Error != "" {
		return errors.New(end.Error)
	}
	return nil
}

// order takes away what the daemon asks for. Its user may be anybody's.
func (u *RootUpdate) order() (seq string, err error) {
	wanted := filepath.Join(u.Dir, updateWanted)
	text, err := readPlain(wanted)
	if e := os.Remove(wanted); err == nil {
		err = e
	}
	if err != nil {
		return "", fmt.Errorf("the order: %w", err)
	}
	return readOrder(text)
}

func readOrder(text []byte) (seq string, err error) {
	var o updateOrder
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return "", fmt.Errorf("the order cannot be read: %w", err)
	}
	if !sequence.MatchString(o.Sequence) {
		return "", errors.New("the order has no sequence number")
	}
	return o.Sequence, nil
}

// tell says how far it is, to whoever may read.
func (u *RootUpdate) tell(p updateProgress) error {
	return writeJSON(filepath.Join(u.Dir, updateApplied), p)
}

// install has RAUC install the bundle, after it became root's.
func (u *RootUpdate) install(ctx context.Context, seq string) error {
	own := filepath.Join(u.Own, updateBundle)
	if err := u.take(own); err != nil {
		return fmt.Errorf("the bundle cannot be taken: %w", err)
	}
	defer os.Remove(own)
	cmd := exec.CommandContext(ctx, u.RAUC, "install", own)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("RAUC: %w", err)
	}
	why := u.follow(seq, out)
	if err := cmd.Wait(); err != nil {
		if why == "" {
			why = err.Error()
		}
		return fmt.Errorf("RAUC: %s", why)
	}
	return nil
}

// take copies the bundle to where only root can change it, and removes it from
// where the daemon could.
func (u *RootUpdate) take(own string) error {
	from, err := openPlain(u.Bundle)
	if err != nil {
		return err
	}
	defer from.Close()
	defer os.Remove(u.Bundle)
	if err := os.MkdirAll(u.Own, 0o700); err != nil {
		return err
	}
	to, err := os.OpenFile(own, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, io.LimitReader(from, maxBundle+1))
	if err == nil && n > maxBundle {
		err = fmt.Errorf("it has more than %d bytes", maxBundle)
	}
	if err = errors.Join(err, to.Close()); err != nil {
		os.Remove(own)
	}
	return err
}

var (
	percentLine = regexp.MustCompile(`^\s*(\d{1,3})% `)
	lastError   = regexp.MustCompile(`^LastError: (.+)`)
)

// follow passes on what RAUC prints ("  40% Checking slot states"), and returns
// what it says went wrong.
func (u *RootUpdate) follow(seq string, out io.Reader) (why string) {
	lines := bufio.NewScanner(out)
	last, named := 0, false
	for lines.Scan() {
		fmt.Fprintln(u.Log, lines.Text())
		if m := percentLine.FindStringSubmatch(lines.Text()); m != nil {
			if p, _ := strconv.Atoi(m[1]); p > last && p < 100 {
				last = p
				_ = u.tell(updateProgress{Sequence: seq, Percent: p}) // what counts is told at the end
			}
		} else if line := strings.TrimSpace(lines.Text()); line != "" && !named {
			why = line // what it says last, where it does not name it
		}
		if m := lastError.FindStringSubmatch(strings.TrimSpace(lines.Text())); m != nil {
			why, named = m[1], true
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line too long ends the scan, and must not stop RAUC
	return why
}
