package provisioning

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// An alarmKey tells alarms apart.
type alarmKey struct{ code, subject string }

// findings lists what a person should look at now, with a sentence each.
func (m *monitor) findings(r relay.Report, uplinks []uplink.Status) map[alarmKey]string {
	found := make(map[alarmKey]string)
	for _, u := range uplinks {
		if u.Routing != nil {
			found[alarmKey{"uplink_unrouted", "uplink/" + u.Name}] = u.Routing.Message
		}
		if !u.Ready { // then there is a reason, which names the uplink
			found[alarmKey{"uplink_down", "uplink/" + u.Name}] = u.Reason.Message
		}
	}
	for _, f := range r.Flows {
		for _, i := range f.Inputs {
			subject := inputSubject(f.ID, i.ID)
			if code := inputAlarm(i.State, m.items[subject].fed); code != "" {
				found[alarmKey{code, subject}] = because(i.Reason, i.State)
			}
		}
		for _, o := range f.Outputs {
			if classOf(o.State) == bad {
				found[alarmKey{"output_" + string(o.State), outputSubject(f.ID, o.ID)}] = because(o.Reason, o.State)
			}
		}
	}
	if m.network != "" {
		found[alarmKey{"network_not_applied", "network"}] = m.network
	}
	if m.storeDamaged {
		found[alarmKey{"store_fallback", "store"}] = "the newest stored configuration is damaged: an older one is in force"
	}
	return found
}

// inputAlarm returns the code of an input's alarm, empty if there is none. One
// that has fed the flow is missed when it no longer does.
func inputAlarm(state relay.State, fed bool) string {
	switch state {
	case relay.Invalid, relay.UplinkDown:
		return "input_" + string(state)
	case relay.Stalled:
		return "input_lost"
	case relay.Rejected, relay.Connecting, relay.Waiting:
		if fed {
			return "input_lost"
		}
		if state == relay.Rejected {
			return "input_rejected"
		}
	}
	return ""
}

// because is the reason of a state as a sentence.
func because(reason *endpoint.Reason, state relay.State) string {
	if reason != nil {
		return reason.Message
	}
	return "it is " + string(state)
}

// raise makes alarms of what was found. One that stays keeps the time at which
// it was raised.
func (a *Agent) raise(at time.Time, found map[alarmKey]string) []config.Alarm {
	raised := make(map[alarmKey]config.Alarm, len(found))
	for key, message := range found {
		since := at
		if old, ok := a.health.alarms[key]; ok {
			since = old.Since
		}
		raised[key] = config.Alarm{Code: key.code, Subject: key.subject, Since: since, Message: message}
	}
	a.health.alarms = raised
	alarms := slices.AppendSeq(make([]config.Alarm, 0, len(raised)), maps.Values(raised))
	slices.SortFunc(alarms, func(x, y config.Alarm) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Code, y.Code))
	})
	return alarms
}
