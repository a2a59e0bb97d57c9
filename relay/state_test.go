package relay

import (
	"testing"
	"time"

	"sluice/relay/endpoint"
)

// The rows are those of the documentation, each with a fact of the row below
// it that must not win.

var (
	now     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	noBuild = endpoint.Because("unsupported", "not in this build")
	noLink  = endpoint.Because("no_carrier", "wan0 has no carrier")
	secret  = endpoint.Because("bad_secret", "the passphrase is wrong")
	timeout = endpoint.Because("timeout", "no answer")
	taken   = endpoint.Because("port_in_use", "port 9000 is taken")
	held    = endpoint.Because("failover_unavailable", "another is in use")
)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func TestOutputStates(t *testing.T) {
	const long, moment = time.Minute, 100 * time.Millisecond
	acks := func(phase endpoint.Phase, acked time.Time) endpoint.OutputStatus {
		return endpoint.OutputStatus{Phase: phase, Acknowledges: true, Acked: acked}
	}
	sends := func(sent time.Time) endpoint.OutputStatus {
		return endpoint.OutputStatus{Phase: endpoint.Connected, Sent: sent}
	}
	on := facts{now: now, enabled: true, running: true, peer: ago(long)}
	with := func(change func(*facts)) facts {
		f := on
		change(&f)
		return f
	}
	for _, c := range []struct {
		name  string
		facts outputFacts
		want  State
		why   *endpoint.Reason
	}{
		{"disabled before anything", outputFacts{facts: with(func(f *facts) { f.enabled, f.gap, f.uplink = false, noBuild, noLink })}, Disabled, nil},
		{"a gap before the uplink", outputFacts{facts: with(func(f *facts) { f.running, f.gap, f.uplink = false, noBuild, noLink })}, Invalid, noBuild},
		{"unworkable, before the uplink", outputFacts{facts: with(func(f *facts) { f.running, f.uplink, f.failure = false, noLink, &failure{endpoint.Unworkable, taken} })}, Invalid, taken},
		{"unworkable, as the endpoint says", outputFacts{facts: on, status: endpoint.OutputStatus{Phase: endpoint.Unworkable, Reason: taken}}, Invalid, taken},
		{"uplink before a refusal", outputFacts{facts: with(func(f *facts) { f.running, f.uplink, f.failure = false, noLink, &failure{endpoint.Refused, secret} })}, UplinkDown, noLink},
		{"uplink, although it is connected", outputFacts{facts: with(func(f *facts) { f.uplink = noLink }), status: acks(endpoint.Connected, ago(moment)), media: ago(long)}, UplinkDown, noLink},
		{"refused, pausing", outputFacts{facts: with(func(f *facts) { f.running, f.failure = false, &failure{endpoint.Refused, secret} })}, Rejected, secret},
		{"refused, trying again", outputFacts{facts: with(func(f *facts) { f.failure = &failure{endpoint.Refused, secret} }), status: acks(endpoint.Connecting, time.Time{})}, Rejected, secret},
		{"refused, as the endpoint says", outputFacts{facts: on, status: endpoint.OutputStatus{Phase: endpoint.Refused, Reason: secret}}, Rejected, secret},
		{"not started yet", outputFacts{facts: with(func(f *facts) { f.running = false })}, Connecting, nil},
		{"pausing, whatever was before", outputFacts{facts: with(func(f *facts) { f.running, f.failure = false, &failure{endpoint.Connecting, timeout} }), status: acks(endpoint.Connected, ago(moment)), media: ago(long)}, Connecting, timeout},
		{"dialling", outputFacts{facts: on, status: acks(endpoint.Connecting, time.Time{}), media: ago(long)}, Connecting, nil},
		{"dialling again says why", outputFacts{facts: with(func(f *facts) { f.failure = &failure{endpoint.Connecting, timeout} }), status: acks(endpoint.Connecting, time.Time{})}, Connecting, timeout},
		{"listening, without media", outputFacts{facts: on, status: acks(endpoint.Listening, time.Time{})}, Waiting, nil},
		{"a peer without media", outputFacts{facts: on, status: acks(endpoint.Connected, ago(long))}, NoSource, nil},
		{"no acknowledgement for 5 s", outputFacts{facts: on, status: acks(endpoint.Connected, ago(5*time.Second)), media: ago(long)}, Stalled, nil},
		{"never an acknowledgement", outputFacts{facts: on, status: acks(endpoint.Connected, time.Time{}), media: ago(long)}, Stalled, nil},
		{"sent is not acknowledged", outputFacts{facts: on, status: endpoint.OutputStatus{Phase: endpoint.Connected, Acknowledges: true, Sent: ago(moment), Acked: ago(long)}, media: ago(long)}, Stalled, nil},
		{"the peer came a moment ago", outputFacts{facts: with(func(f *facts) { f.peer = ago(moment) }), status: acks(endpoint.Connected, time.Time{}), media: ago(long)}, Connecting, nil},
		{"another peer came in its place a moment ago", outputFacts{facts: on, status: endpoint.OutputStatus{Phase: endpoint.Connected, Acknowledges: true, Joined: ago(moment)}, media: ago(long)}, Connecting, nil},
		{"the media came back a moment ago", outputFacts{facts: on, status: acks(endpoint.Connected, ago(long)), media: ago(moment)}, Connected, nil},
		{"acknowledged", outputFacts{facts: on, status: acks(endpoint.Connected, ago(4900*time.Millisecond)), media: ago(long)}, Connected, nil},
		{"one of two destinations", outputFacts{facts: on, status: endpoint.OutputStatus{Phase: endpoint.Connected, Reason: secret, Acknowledges: true, Acked: ago(moment)}, media: ago(long)}, Connected, secret},
		{"leaves the NIC", outputFacts{facts: on, status: sends(ago(moment)), media: ago(long)}, Sending, nil},
		{"no longer leaves the NIC", outputFacts{facts: on, status: sends(ago(6 * time.Second)), media: ago(long)}, Stalled, nil},
		{"sender without media", outputFacts{facts: on, status: sends(ago(moment))}, NoSource, nil},
	} {
		if got, why := outputState(c.facts); got != c.want || why != c.why {
			t.Errorf("%s: %s (%v), want %s (%v)", c.name, got, why, c.want, c.why)
		}
	}
}

func TestDestinationStates(t *testing.T) {
	rest := endpoint.Because(endpoint.ReasonStandby, "it is called while the other fails")
	for _, c := range []struct {
		phase endpoint.Phase
		why   *endpoint.Reason
		acks  bool
		want  State
	}{
		{endpoint.Connected, nil, true, Connected},
		{endpoint.Connected, nil, false, Sending},
		{endpoint.Connecting, nil, true, Connecting},
		{endpoint.Connecting, timeout, true, Connecting},
		{endpoint.Connecting, rest, true, Standby},
		{endpoint.Refused, secret, true, Rejected},
		{endpoint.Unworkable, taken, true, Invalid},
	} {
		d := destinations(endpoint.OutputStatus{Acknowledges: c.acks, Destinations: []endpoint.DestinationStatus{{Address: "x:1", Phase: c.phase, Reason: c.why}}})
		if want := (DestinationReport{"x:1", c.want, c.why}); len(d) != 1 || d[0] != want {
			t.Errorf("%v, %v: %+v", c.phase, c.why, d)
		}
	}
}

func TestInputStates(t *testing.T) {
	const long, moment = time.Minute, 100 * time.Millisecond
	on := facts{now: now, enabled: true, running: true, peer: ago(long)}
	with := func(change func(*facts)) facts {
		f := on
		change(&f)
		return f
	}
	idle := with(func(f *facts) { f.running = false })
	got := func(received time.Time) endpoint.InputStatus {
		return endpoint.InputStatus{Phase: endpoint.Connected, Received: received}
	}
	for _, c := range []struct {
		name  string
		facts inputFacts
		want  State
		why   *endpoint.Reason
	}{
		{"disabled before anything", inputFacts{facts: with(func(f *facts) { f.enabled, f.gap = false, noBuild }), spare: held}, Disabled, nil},
		{"a gap", inputFacts{facts: with(func(f *facts) { f.gap, f.uplink = noBuild, noLink })}, Invalid, noBuild},
		{"port taken", inputFacts{facts: with(func(f *facts) { f.running, f.failure = false, &failure{endpoint.Unworkable, taken} })}, Invalid, taken},
		{"uplink", inputFacts{facts: with(func(f *facts) { f.uplink = noLink }), status: got(ago(moment))}, UplinkDown, noLink},
		{"uplink of a spare", inputFacts{facts: with(func(f *facts) { f.running, f.uplink = false, noLink }), spare: held}, UplinkDown, noLink},
		{"refused", inputFacts{facts: with(func(f *facts) { f.failure = &failure{endpoint.Refused, secret} })}, Rejected, secret},
		{"not started yet", inputFacts{facts: idle}, Connecting, nil},
		{"spare", inputFacts{facts: idle, spare: held}, Standby, held},
		{"no publisher", inputFacts{facts: on, status: endpoint.InputStatus{Phase: endpoint.Listening}}, Waiting, nil},
		{"no media for 2 s", inputFacts{facts: on, status: got(ago(2 * time.Second))}, Stalled, nil},
		{"never any media", inputFacts{facts: on, status: got(time.Time{})}, Stalled, nil},
		{"the source came a moment ago", inputFacts{facts: with(func(f *facts) { f.peer = ago(moment) }), status: got(ago(long))}, Connecting, nil},
		{"receiving", inputFacts{facts: on, status: got(ago(1900 * time.Millisecond))}, Receiving, nil},
		{"receiving, not looked at since", inputFacts{facts: with(func(f *facts) { f.peer = time.Time{} }), status: got(ago(moment))}, Receiving, nil},
	} {
		if got, why := inputState(c.facts); got != c.want || why != c.why {
			t.Errorf("%s: %s (%v), want %s (%v)", c.name, got, why, c.want, c.why)
		}
	}
}
