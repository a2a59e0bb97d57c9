package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/store"
)

// errWentBack is about a document that was not confirmed.
var errWentBack = errors.New("it went back")

// restore puts the newest document of the store in force that was confirmed,
// or needed no confirmation. A box that has none starts empty. The error says
// that the store cannot be read at all.
func (a *Agent) restore(ctx context.Context) error {
	gone := a.recallCommits()
	var document *config.Document
	record, passedOver, err := a.o.Store.Load(func(r store.Record) (err error) {
		if a.commit.wentBack(r.Version, r.Digest) {
			// A disk that fails may keep what it could not be made to forget.
			return errWentBack
		}
		// Another build may have written it, whose rules were others.
		if document, err = config.Parse(r.Document, a.storedOptions()); err != nil {
			return fmt.Errorf("version %d: %w", r.Version, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the stored configuration: %w", err)
	}
	passedOver = slices.DeleteFunc(passedOver, func(err error) bool { return errors.Is(err, errWentBack) })
	f := a.inForce.Load()
	instead := "the box starts empty"
	if record != nil {
		instead = fmt.Sprintf("version %d is in force", record.Version)
		f = &inForce{
			document: document, digest: record.Digest, origin: record.Origin, desired: record.Version,
			receivedAt: record.ReceivedAt, by: record.By, comment: record.Comment, owned: record.Owned,
		}
		a.log.Info("stored configuration in force", "version", record.Version, "origin", record.Origin)
	}
	if len(passedOver) > 0 {
		a.health.storeDamaged = true
		a.log.Error("stored configuration passed over", "error", errors.Join(passedOver...), "instead", instead)
		a.event(config.SeverityError, "store_fallback", "store",
			fmt.Sprintf("what was stored last cannot be used: %s", instead), map[string]any{"version": f.version()})
	}
	if g := a.commit.gone; len(g) > 0 && g[0].Version > f.version() {
		back := *f
		back.desired, back.wentBack = g[0].Version, true
		f = &back
	}
	// Media first: what the host is to be like may take it seconds.
	a.enforce(ctx, f, 0)
	if gone != nil && gone.Record.Version > f.version() {
		const why = "the box started again before it was confirmed"
		a.commit.end(*gone, false, why)
		a.tellWentBack(*gone, why, "")
	}
	return nil
}

const (
	// settleTime bounds how long the Engine is given to show a new document.
	settleTime = 500 * time.Millisecond
	// hostTime bounds how long the host is waited for. It goes on if it takes
	// longer, and is looked at again.
	hostTime = 10 * time.Second
)

// enforce makes the box obey f, and waits, within patience, until the host
// does, and until the Engine shows what became of it: what is told next is then
// about f.
func (a *Agent) enforce(ctx context.Context, f *inForce, patience time.Duration) {
	before := a.inForce.Load()
	a.network.want(a.hostSettings(f))
	if err := a.o.Uplinks.Set(f.document.State.Uplinks); err != nil {
		// They are taken all the same, and looked at again.
		a.log.Error("NICs", "error", err)
	}
	if a.o.SetTLS != nil {
		a.o.SetTLS(f.document.State.Device.TLS)
	}
	a.o.Engine.Apply(f.document.Engine())
	a.inForce.Store(f)
	a.health.appliedAt = time.Now()
	a.beat()
	if f.wentBack {
		// A session that comes back by it is to begin with this, and not with
		// what was pending.
		a.report()
	}

	a.network.await(ctx, patience)
	a.beat()
	if a.networkDiffers(before, f) {
		a.network.due = true
	}
	a.dial(patience == 0)

	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil && a.o.Engine.Report().Time.Before(a.health.appliedAt) {
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}
