package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxBannerUplinks keeps the status block on one screen.
const maxBannerUplinks = 8

// banner is what a box says of itself to whoever presses Enter: a screen of 80
// by 24 with the login, or less.
func (s *session) banner(ctx context.Context) string {
	var b strings.Builder
	var id identity
	if err := s.document(ctx, "console", &id); err != nil {
		return fold(cleanLines(sentence(err.Error()))+"\n", s.width)
	}
	s.called(id)
	serial := ""
	if id.SerialNumber != "" {
		serial = "serial number " + id.SerialNumber
	}
	b.WriteString(labelled("Box", s.width, id.Name, id.Model, serial))
	b.WriteString(labelled("Version", s.width, "sluiced "+dash(id.Version)))
	if v, err := s.load(ctx); err == nil {
		b.WriteString(s.bannerUplinks(v))
		b.WriteString(labelled("Flows", s.width, v.summary()))
		configuration := v.document()
		if id.Factory {
			configuration = "none yet: setup makes one"
		}
		b.WriteString(labelled("Document", s.width, configuration))
	}
	b.WriteString(labelled("Fleet", s.width, s.fleetState(ctx)))
	if id.FirstPassword != "" && s.o.Login {
		b.WriteString(labelled("Password", s.width, id.FirstPassword+" (the first one, of any name, until it is changed)"))
	}
	return b.String()
}

// called has the prompt name the box as it is called now.
func (s *session) called(id identity) {
	if id.Name != "" {
		s.box = cut(clean(id.Name), 20)
	}
}

func (s *session) bannerUplinks(v *view) string {
	if len(v.state.Uplinks) == 0 {
		return labelled("Uplinks", s.width, "none")
	}
	var b strings.Builder
	label := "Uplinks"
	for i, u := range v.state.Uplinks {
		if i == maxBannerUplinks {
			b.WriteString(labelled("", s.width, fmt.Sprintf("and %d more: show uplinks", len(v.state.Uplinks)-i)))
			break
		}
		state, what := u.readiness()
		line := fmt.Sprintf("%-11s%s (%s) %s: %s", label, u.Name, dash(u.Interface), state, dash(what))
		b.WriteString(cut(clean(line), s.width) + "\n")
		label = ""
	}
	return b.String()
}

// readiness returns the state, and the addresses or why there is no use in them.
func (u uplinkState) readiness() (state, what string) {
	if !u.Ready {
		return "down", why(u.Reason)
	}
	return "ready", strings.Join(u.Addresses, " ")
}

// summary counts what matters.
func (v *view) summary() string {
	flows, receiving := len(v.reported.State.Flows), 0
	for _, f := range v.reported.State.Flows {
		for _, i := range v.inputs(f.ID) {
			if i.State == "receiving" {
				receiving++
				break
			}
		}
	}
	outputs, up := v.outputs(""), 0
	for _, o := range outputs {
		if o.delivers() {
			up++
		}
	}
	alarms := "no alarm"
	switch n := len(v.state.Alarms); {
	case n == 1:
		alarms = "1 alarm: show alarms"
	case n > 1:
		alarms = fmt.Sprintf("%d alarms: show alarms", n)
	}
	return fmt.Sprintf("%d of %d receiving, %d of %d outputs connected, %s", receiving, flows, up, len(outputs), alarms)
}

// document says which configuration is in force.
func (v *view) document() string {
	r := v.reported
	status := strings.ReplaceAll(dash(r.Status), "_", " ")
	if status == "applied" {
		status = "in force" // as a commit says it
	}
	what := fmt.Sprintf("version %d, %s, from %s", r.Version, status, dash(r.Origin))
	if r.DesiredVersion != 0 && r.DesiredVersion != r.Version { // 0: no fleet has sent one
		what += fmt.Sprintf("; version %d is desired", r.DesiredVersion)
	}
	return what
}

// fleetState is in one line how the box and its fleet stand.
func (s *session) fleetState(ctx context.Context) string {
	var f fleetDocument
	if err := s.document(ctx, "fleet", &f); err != nil || f.Broker == "" {
		return "no broker is configured"
	}
	what := dash(f.State)
	if f.Via != "" {
		what += " through " + f.Via
	}
	if f.Reason != nil {
		what += ": " + why(f.Reason)
	}
	return what
}

// remind tells, before a prompt, of a commit that goes back unless it is
// confirmed. The error is errSessionLost where the daemon does not know the
// login any more; a daemon that is not there is told by the next command.
func (s *session) remind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if s.o.Login {
		if err := s.request(ctx, "console-session", nil, nil); errors.Is(err, errSessionLost) {
			return err
		}
	}
	var id identity
	if s.document(ctx, "console", &id) == nil {
		s.called(id) // a commit may have named it, or gone back
	}
	if s.script {
		return nil
	}
	var commits commitsDocument
	if s.document(ctx, "commits", &commits) != nil {
		return nil
	}
	if was := s.waits; was != nil && (commits.Pending == nil || commits.Pending.ID != was.ID) {
		s.print(fold(clean(commits.Ended.of(was))+"\n", s.width))
	}
	if s.waits = commits.Pending; s.waits != nil {
		s.printf("%s\n", s.waits)
	}
	return nil
}

// A pending is a commit that is not confirmed yet.
type pending struct {
	ID        string    `json:"id"`
	Version   uint64    `json:"version"`
	By        string    `json:"by"`
	ConfirmBy time.Time `json:"confirm_by"`
	How       string    `json:"how"` // explicit or session
}

func (p *pending) String() string {
	return fmt.Sprintf("version %d goes back at %s unless confirmed: confirm", p.Version, clock(p.ConfirmBy))
}

// An ended commit is the last that was pending.
type ended struct {
	ID      string    `json:"id"`
	Version uint64    `json:"version"`
	Kept    bool      `json:"kept"`
	At      time.Time `json:"at"`
	Why     string    `json:"why"`
}

// of says what became of a commit that somebody saw waiting.
func (e *ended) of(was *pending) string {
	switch {
	case e == nil, e.ID != was.ID, e.Version != was.Version:
		return fmt.Sprintf("Version %d waits no longer: show commits tells whether it was kept.", was.Version)
	case e.Kept:
		return fmt.Sprintf("Version %d is kept since %s: %s", e.Version, clock(e.At), ends(e.Why))
	}
	return fmt.Sprintf("Version %d went back at %s: %s", e.Version, clock(e.At), ends(e.Why))
}
