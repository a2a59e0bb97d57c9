package system

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// What is in HostDir about updates: the daemon's order, and how far root is.
// `sluicectl host-update` is root's side.
const (
	updateWanted  = "wanted/update.json"
	updateApplied = "update.json"
)

// updateBundle is the downloaded firmware, in the state directory.
const updateBundle = "update.raucb"

// An updateOrder has firmware installed that was downloaded.
type updateOrder struct {
	Sequence string `json:"sequence"`
}

// An updateProgress says how far an order is.
type updateProgress struct {
	Sequence string `json:"sequence"`
	Percent  int    `json:"percent"`
	Done     bool   `json:"done"`
	Error    string `json:"error,omitempty"` // with Done: why it failed
}

// readProgress returns none where there is none.
func readProgress(name string) (p updateProgress) {
	if text, err := readPlain(name); err != nil || json.Unmarshal(text, &p) != nil {
		return updateProgress{}
	}
	return p
}

const (
	updateLook  = 500 * time.Millisecond
	updateBegin = 30 * time.Second // for root to take the order
)

// An Installer downloads firmware and has root install it.
type Installer struct {
	// Dir is that of Host, State the daemon's own.
	Dir, State string
	// RAUC is the configuration of RAUC: without it the box has no slots.
	RAUC string
}

// A DialFunc makes a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Install downloads the bundle and returns once it is installed, or why it is
// not: ErrNoHost where the box has no slots for firmware. Of the percents, the
// first half is the download.
func (i *Installer) Install(ctx context.Context, u Update, dial DialFunc, progress func(percent int)) error {
	for _, needed := range []string{i.RAUC, filepath.Dir(filepath.Join(i.Dir, updateWanted))} {
		if _, err := os.Stat(needed); err != nil {
			return ErrNoHost
		}
	}
	bundle := filepath.Join(i.State, updateBundle)
	defer os.Remove(bundle) // root takes it away; what is left is of no use
	if err := i.download(ctx, u.URL, bundle, dial, func(p int) { progress(p / 2) }); err != nil {
		return err
	}
	seq := rand.Text()
	if err := writeJSON(filepath.Join(i.Dir, updateWanted), updateOrder{seq}); err != nil {
		return fmt.Errorf("asking for the installation: %w", err)
	}
	return i.await(ctx, seq, func(p int) { progress(50 + p/2) })
}

func (i *Installer) download(ctx context.Context, url, bundle string, dial DialFunc, progress func(int)) error {
	if err := os.Remove(bundle); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(bundle, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	return newDownload(url, dial, file).run(ctx, progress)
}

// await follows what root tells, until it is done.
func (i *Installer) await(ctx context.Context, seq string, progress func(int)) error {
	look := time.NewTicker(updateLook)
	defer look.Stop()
	began := time.Now()
	last := 0
	for taken := false; ; {
		p := readProgress(filepath.Join(i.Dir, updateApplied))
		if p.Sequence == seq {
			taken = true
			if p.Percent > last {
				last = p.Percent
				progress(p.Percent)
			}
		}
		switch {
		case p.Sequence == seq && p.Done && p.Error != "":
			return errors.New(p.Error)
		case p.Sequence == seq && p.Done:
			return nil
		case !taken && time.Since(began) > updateBegin:
			return errors.New("nobody installs it: sluice-update.path does not run on this box")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}
