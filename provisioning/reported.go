package provisioning

import (
	"fmt"
	"strings"

	"sluice/provisioning/config"
	"sluice/relay"
)

// report publishes what is in force, if that is not what was said last.
func (a *Agent) report() {
	f := a.inForce.Load()
	r := a.o.Engine.Report()
	status := config.StatusApplied
	switch {
	case a.commit.now != nil:
		status = config.StatusPendingConfirm
	case f.wentBack:
		status = config.StatusRolledBack
	case a.network.trouble(a.o.Uplinks.Status()) != "", !r.Time.Before(a.health.appliedAt) && degraded(r):
		status = config.StatusDegraded
	}
	commit := a.commit.now.shown()
	urls := playback(r)
	said := fmt.Sprint(f.version(), f.desired, f.origin, f.digest, status, commit != nil, urls.said)
	if said == a.health.reported {
		return
	}
	a.health.reported = said
	body := marshal(config.Reported{
		Schema: config.Schema, Version: f.version(), DesiredVersion: f.desired,
		Status: status, Origin: f.origin, Digest: f.digest, Commit: commit,
		State: f.document.RedactedState(urls.of), Timestamp: now(),
	})
	a.retainBody("config/reported", body)
	a.board.set("reported", body)
}

// degraded tells whether an item cannot work as asked, for a reason that only
// the box could find out.
func degraded(r relay.Report) bool {
	for _, f := range r.Flows {
		for _, i := range f.Inputs {
			if i.State == relay.Invalid {
				return true
			}
		}
		for _, o := range f.Outputs {
			if o.State == relay.Invalid {
				return true
			}
		}
	}
	return false
}

// A playbackURLs holds those of every output.
type playbackURLs struct {
	byOutput map[[2]string][]string // by the ids of flow and output
	said     string                 // all of them, to be compared
}

func playback(r relay.Report) playbackURLs {
	p := playbackURLs{byOutput: make(map[[2]string][]string)}
	var said strings.Builder
	for _, f := range r.Flows {
		for _, o := range f.Outputs {
			if len(o.PlaybackURLs) > 0 {
				p.byOutput[[2]string{f.ID, o.ID}] = o.PlaybackURLs
				fmt.Fprintf(&said, "%s/%s %s\n", f.ID, o.ID, o.PlaybackURLs)
			}
		}
	}
	p.said = said.String()
	return p
}

func (p playbackURLs) of(flow, output string) []string { return p.byOutput[[2]string{flow, output}] }
