package provisioning

import (
	"encoding/json"

	"sluice/provisioning/config"
)

// The documents that are for people at the box alone.

// saved is the configuration that so many came after in the store, redacted: 0
// is the one in force, but for a commit that is pending.
func (a *Agent) saved(n int) (json.RawMessage, bool) {
	records, err := a.o.Store.Records()
	if err != nil {
		a.log.Error("stored configurations cannot be read", "error", err)
		return nil, false
	}
	document := factory().document
	switch {
	case n < len(records):
		if document, err = config.Parse(records[n].Document, a.storedOptions()); err != nil {
			a.log.Error("a stored configuration cannot be read", "version", records[n].Version, "error", err)
			return nil, false
		}
	case n > 0:
		return nil, false
	}
	return document.RedactedDesired(), true
}

// commits are what can be gone back to, and what is pending.
func (a *Agent) commits() (json.RawMessage, bool) {
	records, err := a.o.Store.Records()
	if err != nil {
		a.log.Error("stored configurations cannot be read", "error", err)
		return nil, false
	}
	all := config.Commits{Pending: a.commit.public.Load().shown(), Commits: []config.PastCommit{}, Ended: a.commit.ended.Load()}
	for n, r := range records {
		all.Commits = append(all.Commits, config.PastCommit{
			N: n, Version: r.Version, Origin: r.Origin, By: r.By, Comment: r.Comment,
			ReceivedAt: r.ReceivedAt, Digest: r.Digest,
		})
	}
	return marshal(all), true
}

// fleet is how the box stands with its fleet manager.
func (a *Agent) fleet() config.Fleet {
	force := a.inForce.Load()
	f := config.Fleet{
		State: config.StatusDisconnected, DesiredVersion: force.desired,
		LastAnswer: a.told.Load(), OwnedLocally: a.ownedLocally(),
	}
	s := a.client.Status()
	f.Reason, f.Since, f.Via = s.Reason, stamp(s.Since), s.Via
	if broker := a.brokerOf(force); broker != nil {
		f.Broker = broker.Broker
		status := a.status()
		f.State, f.Since = status.State, status.Timestamp
	}
	return f
}
