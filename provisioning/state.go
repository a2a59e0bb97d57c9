package provisioning

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay"
)

// A monitor remembers what was last seen and said, so that only what is new is
// told. It belongs to the goroutine of Run.
type monitor struct {
	appliedAt    time.Time // a Report from before does not show the document in force
	storeDamaged bool      // and nothing was stored since
	reported     string    // what config/reported said
	network      string    // why the host is not as the document asks, empty if it is

	state   []byte // what state said, without its time
	stateAt time.Time

	alarms  map[alarmKey]config.Alarm // those raised
	items   map[string]seen           // by subject
	uplinks map[string]bool           // by name: whether it was ready
}

// look compares what the box does with what was last seen, and tells what is
// new: as events, as state, and in what is reported.
func (a *Agent) look() {
	uplinks := a.o.Uplinks.Status()
	a.rates.see(time.Now(), uplinks, a.o.Figures)
	r := a.o.Engine.Report()
	if r.Time.Before(a.health.appliedAt) {
		return // another look will show what the document in force does
	}
	a.health.network = a.network.trouble(uplinks)
	a.noticeUplinks(uplinks)
	a.noticeItems(r)
	a.publishState(r, uplinks)
	a.report()
}

// publishState publishes the state if it is new, at most once every StateEvery:
// what changes in between is told then.
func (a *Agent) publishState(r relay.Report, uplinks []uplink.Status) {
	at := now()
	if !a.health.stateAt.IsZero() && at.Sub(a.health.stateAt) < a.o.StateEvery {
		return
	}
	s := a.stateReport(r, uplinks, a.raise(at, a.health.findings(r, uplinks)))
	local := s
	if alarm, connected := a.brokerAlarm(); alarm != nil {
		local.Alarms = append(s.Alarms[:len(s.Alarms):len(s.Alarms)], *alarm)
		if connected {
			s.Alarms = local.Alarms
		} // or else it can only be told at the box
	}
	said := marshal(local)
	if bytes.Equal(said, a.health.state) {
		return
	}
	a.health.state, a.health.stateAt = said, at
	s.Timestamp, local.Timestamp = at, at
	a.retain("state", s)
	a.board.set("state", marshal(local))
}

// brokerAlarm is about the connection, nil while there is nothing to say.
func (a *Agent) brokerAlarm() (alarm *config.Alarm, connected bool) {
	if a.brokerOf(a.inForce.Load()) == nil {
		return nil, false
	}
	s := a.client.Status()
	if s.Reason == nil {
		return nil, s.Connected
	}
	return &config.Alarm{Code: s.Reason.Code, Subject: "broker", Since: stamp(s.Since), Message: s.Reason.Message}, s.Connected
}

func (a *Agent) stateReport(r relay.Report, uplinks []uplink.Status, alarms []config.Alarm) config.StateReport {
	s := config.StateReport{
		Version: a.inForce.Load().version(),
		Uplinks: []config.UplinkState{}, Flows: []config.FlowState{}, Alarms: alarms,
	}
	for _, u := range uplinks {
		s.Uplinks = append(s.Uplinks, config.UplinkState{
			Name: u.Name, Interface: u.Interface, Ready: u.Ready, Reason: u.Reason,
			Carrier: u.Carrier, Addresses: texts(u.Addresses), Gateways: texts(u.Gateways), Routing: u.Routing,
		})
	}
	for _, f := range r.Flows {
		fs := config.FlowState{ID: f.ID, Inputs: []config.InputState{}, Outputs: []config.OutputState{}}
		for _, i := range f.Inputs {
			fs.Inputs = append(fs.Inputs, config.InputState{
				ID: i.ID, State: i.State, Reason: i.Reason, Since: stamp(i.Since), Active: i.Active,
			})
		}
		for _, o := range f.Outputs {
			fs.Outputs = append(fs.Outputs, config.OutputState{
				ID: o.ID, State: o.State, Reason: o.Reason, Since: stamp(o.Since), Viewers: len(o.Status.Sessions),
			})
		}
		s.Flows = append(s.Flows, fs)
	}
	return s
}

// stamp is a time as it stands in documents.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func texts(addresses []netip.Addr) []string {
	all := []string{}
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return all
}

// noticeUplinks tells of uplinks that came or went, and has the broker tried
// again at once when one came.
func (a *Agent) noticeUplinks(uplinks []uplink.Status) {
	ready := make(map[string]bool, len(uplinks))
	for _, u := range uplinks {
		ready[u.Name] = u.Ready
		was, known := a.health.uplinks[u.Name]
		switch {
		case u.Ready && !was:
			if known {
				a.event(config.SeverityInfo, "uplink_ready", "uplink/"+u.Name,
					fmt.Sprintf("%s is ready on %s", u.Name, u.Interface), nil)
			}
			if !a.client.Status().Connected {
				a.client.Retry()
			}
		case !u.Ready && (was || !known):
			a.event(config.SeverityWarning, "uplink_down", "uplink/"+u.Name, u.Reason.Message, nil)
		}
	}
	a.health.uplinks = ready
}

// A seen is what an item was doing.
type seen struct {
	class class
	fed   bool // of an input: it has received media since it was enabled
}

// A class sums the states up that an operator reacts to in the same way.
type class uint8

const (
	idle class = iota // nothing to do, or on its way
	good
	bad
)

func classOf(s relay.State) class {
	switch s {
	case relay.Receiving, relay.Standby, relay.Connected, relay.Sending:
		return good
	case relay.Invalid, relay.UplinkDown, relay.Rejected, relay.Stalled:
		return bad
	}
	return idle
}

func inputSubject(flow, input string) string   { return "flow/" + flow + "/input/" + input }
func outputSubject(flow, output string) string { return "flow/" + flow + "/output/" + output }

// noticeItems tells of items that began or ceased to work.
func (a *Agent) noticeItems(r relay.Report) {
	items := make(map[string]seen)
	for _, f := range r.Flows {
		for _, i := range f.Inputs {
			subject := inputSubject(f.ID, i.ID)
			a.noticeItem("input_state", subject, i.State, because(i.Reason, i.State))
			fed := a.health.items[subject].fed && i.State != relay.Disabled
			items[subject] = seen{classOf(i.State), fed || classOf(i.State) == good}
		}
		for _, o := range f.Outputs {
			subject := outputSubject(f.ID, o.ID)
			a.noticeItem("output_state", subject, o.State, because(o.Reason, o.State))
			items[subject] = seen{class: classOf(o.State)}
		}
	}
	a.health.items = items
}

func (a *Agent) noticeItem(kind, subject string, state relay.State, message string) {
	is, was := classOf(state), a.health.items[subject].class
	if is == was {
		return
	}
	severity := config.SeverityInfo
	if is == bad {
		severity = config.SeverityWarning
	}
	a.event(severity, kind, subject, message, map[string]any{"state": state})
}
