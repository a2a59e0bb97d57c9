package relay

import (
	"time"

	"sluice/relay/endpoint"
)

// After these an item is no longer what it was.
const (
	mediaPause = 2 * time.Second // without media a source has stalled
	silence    = 5 * time.Second // without a confirmation of media a peer has
)

// facts are what the state of any item is derived from.
type facts struct {
	now     time.Time
	enabled bool             // the item and its flow are
	gap     *endpoint.Reason // why this build cannot do what is asked
	uplink  *endpoint.Reason // why no uplink of the item can be used
	running bool             // an endpoint runs; otherwise its status is of the past
	peer    time.Time        // since when it is connected
	failure *failure         // of the last attempt; nil once one has worked
}

type inputFacts struct {
	facts
	spare  *endpoint.Reason // why it is held back while another is in use
	status endpoint.InputStatus
}

type outputFacts struct {
	facts
	status endpoint.OutputStatus
	media  time.Time // since when the flow has had media without a pause; zero while it has none
	// lack is what of the stream the output does not carry; nothing tells that
	// it carries nothing.
	lack    *endpoint.Reason
	nothing bool
}

// inputState derives the state of an input: the first that is true wins.
func inputState(f inputFacts) (State, *endpoint.Reason) {
	s, why := f.peerless(f.status.Phase, f.status.Reason)
	switch {
	case f.spare != nil && s == Connecting: // it is not run: nothing connects
		return Standby, f.spare
	case s != "":
		return s, why
	case f.now.Sub(latest(f.status.Received, f.peer)) >= mediaPause:
		return Stalled, nil
	case f.now.Sub(f.status.Received) >= mediaPause:
		return Connecting, nil // the peer is there, and has a moment to begin
	}
	return Receiving, nil
}

// outputState derives the state of an output: the first that is true wins.
func outputState(f outputFacts) (State, *endpoint.Reason) {
	s, why := f.peerless(f.status.Phase, f.status.Reason)
	switch {
	case s != "" && s != Waiting:
		return s, why
	case f.nothing && !f.media.IsZero():
		return Invalid, f.lack
	case s != "":
		return s, why
	}
	moved, state := f.status.Sent, Sending
	if f.status.Acknowledges {
		moved, state = f.status.Acked, Connected
	}
	switch {
	case f.media.IsZero():
		return NoSource, nil
	case f.now.Sub(latest(moved, f.media, f.peer, f.status.Joined)) >= silence:
		return Stalled, nil
	case moved.IsZero():
		return Connecting, nil // the first media is on its way
	}
	if f.status.Reason == nil {
		return state, f.lack
	}
	return state, f.status.Reason
}

// destinations derives the states of an output's destinations.
func destinations(s endpoint.OutputStatus) []DestinationReport {
	var all []DestinationReport
	for _, d := range s.Destinations {
		r := DestinationReport{Address: d.Address, State: Connecting, Reason: d.Reason}
		switch {
		case d.Phase == endpoint.Unworkable:
			r.State = Invalid
		case d.Phase == endpoint.Refused:
			r.State = Rejected
		case d.Phase == endpoint.Connected && s.Acknowledges:
			r.State = Connected
		case d.Phase == endpoint.Connected:
			r.State = Sending
		case d.Reason != nil && d.Reason.Code == endpoint.ReasonStandby:
			r.State = Standby
		}
		all = append(all, r)
	}
	return all
}

// peerless derives the states in which there is no peer; "" means that there
// is one. What the last attempt was refused for stands until one works.
func (f facts) peerless(phase endpoint.Phase, why *endpoint.Reason) (State, *endpoint.Reason) {
	if !f.running {
		phase, why = endpoint.Connecting, nil
	}
	if phase == endpoint.Connecting && f.failure != nil {
		phase = f.failure.phase
		if why == nil || phase != endpoint.Connecting {
			why = f.failure.reason
		}
	}
	switch {
	case !f.enabled:
		return Disabled, nil
	case f.gap != nil:
		return Invalid, f.gap
	case phase == endpoint.Unworkable:
		return Invalid, why
	case f.uplink != nil:
		return UplinkDown, f.uplink
	case phase == endpoint.Refused:
		return Rejected, why
	case phase == endpoint.Connecting:
		return Connecting, why
	case phase == endpoint.Listening:
		return Waiting, why
	}
	return "", nil
}

// latest returns the last of the times.
func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
