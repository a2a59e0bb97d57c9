package provisioning

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"sluice/device/system"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// An Updater writes firmware to where the box starts from next. system.Host is
// one.
type Updater interface {
	// Install returns once it is done, or why it cannot be: system.ErrNoHost
	// where this box has no other slot for firmware. It is downloaded over
	// connections of dial. progress is called with percents as they grow. The
	// firmware that runs is not touched.
	Install(ctx context.Context, u system.Update, dial system.DialFunc, progress func(percent int)) error
}

const (
	// updateName is where the store keeps what became of the last firmware
	// that was wanted.
	updateName = "update"
	maxUpdate  = 4 << 10 // bytes
	// maxTries is how often one is begun that a power cut, or an end of the
	// daemon, broke off.
	maxTries = 3
	// installTime bounds the download and the writing.
	installTime = 2 * time.Hour
)

// An updater has the firmware that the fleet wants installed, once: what is
// retained comes again at every connection, and a box that came back with its
// old firmware is not to go round in circles.
type updater struct {
	wanted chan []byte // the newest; capacity 1
}

// An attempt is what the store keeps of one.
type attempt struct {
	Digest string `json:"digest"` // of the wish as it was received
	State  string `json:"state"`  // of config.UpdateReported
	Tries  int    `json:"tries"`
	Boot   string `json:"boot"` // start of the box in which it was installed
	Reason string `json:"reason,omitempty"`
}

// receiveUpdate is called by the connection, and does not wait.
func (a *Agent) receiveUpdate(m mqtt.Message) {
	if len(m.Payload) == 0 {
		return // it was cleared
	}
	for {
		select {
		case a.updates.wanted <- m.Payload:
			return
		default:
		}
		select {
		case <-a.updates.wanted: // a newer one takes its place
		default:
		}
	}
}

func (u *updater) run(ctx context.Context, a *Agent) {
	for {
		select {
		case <-ctx.Done():
			return
		case raw := <-u.wanted:
			a.update(ctx, raw)
		}
	}
}

// readUpdate reads a wish for firmware strictly.
func readUpdate(raw []byte) (u config.UpdateDesired, err error) {
	if len(raw) > maxUpdate {
		return u, fmt.Errorf("it has %d bytes: use at most %d", len(raw), maxUpdate)
	}
	if err := decode(raw, &u); err != nil {
		return u, fmt.Errorf("it cannot be read: %w", err)
	}
	if u.Version == "" || len(u.Version) > 64 {
		return u, errors.New("version is missing or longer than 64: give that of the firmware")
	}
	at, err := url.Parse(u.URL)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || len(u.URL) > 2048:
		return u, errors.New("url is not one of a bundle: use http:// or https://, and at most 2048 characters")
	case at.User != nil:
		return u, errors.New("url holds a user: a bundle is protected by its signature, not by a password")
	}
	return u, nil
}

// update decides on a wish for firmware, and carries it out.
func (a *Agent) update(ctx context.Context, raw []byte) {
	u, err := readUpdate(raw)
	r := config.UpdateReported{DesiredVersion: u.Version}
	if err != nil {
		a.reportUpdate(r, config.UpdateRefused, err.Error())
		return
	}
	sum := sha256.Sum256(raw)
	last := a.lastAttempt(hex.EncodeToString(sum[:]))
	switch {
	case a.o.Info().Version == u.Version:
		a.reportUpdate(r, config.UpdateCurrent, "")
		return
	case last.State == config.UpdateInstalled && last.Boot == a.o.SystemBootID:
		a.reportUpdate(r, config.UpdateInstalled, "it starts with the next start of the box")
		a.startUpdated(ctx, u, r)
		return
	case last.State == config.UpdateInstalled:
		last.State, last.Reason = config.UpdateFailed,
			fmt.Sprintf("the box started again, and not with it: it runs %s", a.o.Info().Version)
		a.keepAttempt(last)
	case last.State == config.UpdateInstalling && last.Tries >= maxTries:
		last.State, last.Reason = config.UpdateFailed, fmt.Sprintf("it was broken off %d times", last.Tries)
		a.keepAttempt(last)
	}
	if last.State == config.UpdateFailed {
		a.reportUpdate(r, last.State, last.Reason+": publish another wish to have it tried again")
		return
	}
	a.install(ctx, u, r, last)
}

// install does it, and notes each step before it is taken.
func (a *Agent) install(ctx context.Context, u config.UpdateDesired, r config.UpdateReported, try attempt) {
	if a.o.Updater == nil {
		a.reportUpdate(r, config.UpdateRefused, "this box cannot install firmware: it has no other slot for it")
		return
	}
	try.State, try.Tries = config.UpdateInstalling, try.Tries+1
	a.keepAttempt(try)
	a.reportUpdate(r, try.State, "")
	a.event(config.SeverityInfo, "update_begun", "update", "firmware "+u.Version+" is being installed", nil)
	bounded, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	err := a.o.Updater.Install(bounded, system.Update{URL: u.URL}, a.dialFleet, func(percent int) {
		r.ProgressPercent = percent
		a.reportUpdate(r, config.UpdateInstalling, "")
	})
	switch {
	case ctx.Err() != nil:
		return // the daemon ends; it is tried again at its next start
	case errors.Is(err, system.ErrNoHost):
		// Nothing was begun: what is installed on the box later may do it.
		a.keepAttempt(attempt{})
		a.reportUpdate(r, config.UpdateRefused, "this box cannot install firmware: it has no other slot for it")
		return
	case err != nil:
		try.State, try.Reason = config.UpdateFailed, err.Error()
		a.event(config.SeverityError, "update_failed", "update", fmt.Sprintf("firmware %s: %v", u.Version, err), nil)
		a.keepAttempt(try)
		a.reportUpdate(r, try.State, try.Reason)
		return
	}
	try.State, try.Boot = config.UpdateInstalled, a.o.SystemBootID
	a.keepAttempt(try)
	r.ProgressPercent = 100
	a.event(config.SeverityInfo, "update_installed", "update", "firmware "+u.Version+" is installed", nil)
	a.reportUpdate(r, try.State, "it starts with the next start of the box")
	a.startUpdated(ctx, u, r)
}

// dialFleet makes a connection by the first of the ways to the broker that has
// one.
func (a *Agent) dialFleet(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if a.o.Dial == nil {
		var any net.Dialer
		return any.DialContext(ctx, network, address)
	}
	for _, way := range a.dialers() {
		if conn, err = way.Dial(ctx, network, address); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// startUpdated starts the box again where the wish says so.
func (a *Agent) startUpdated(ctx context.Context, u config.UpdateDesired, r config.UpdateReported) {
	if !u.Reboot || a.o.Host == nil {
		return
	}
	a.reportUpdate(r, config.UpdateInstalled, "the box starts again")
	if err := a.o.Host.Do(ctx, system.Action{Name: system.Reboot}); err != nil {
		a.reportUpdate(r, config.UpdateInstalled, fmt.Sprintf("the box cannot be started again: %v", err))
	}
}

func (a *Agent) reportUpdate(r config.UpdateReported, state, message string) {
	r.Version, r.State, r.Message, r.Timestamp = a.o.Info().Version, state, message, now()
	body := marshal(r)
	a.retainBody("update/reported", body)
	a.board.set("update", body)
}

// lastAttempt returns what became of that wish so far: nothing, if another one
// was the last.
func (a *Agent) lastAttempt(digest string) attempt {
	var last attempt
	if text, err := a.o.Store.Get(updateName); err != nil || json.Unmarshal(text, &last) != nil || last.Digest != digest {
		return attempt{Digest: digest}
	}
	return last
}

func (a *Agent) keepAttempt(t attempt) {
	if err := a.o.Store.Put(updateName, marshal(t)); err != nil {
		a.log.Error("the progress of the update cannot be stored", "error", err)
	}
}
