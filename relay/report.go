package relay

import (
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/remux"
)

// A State is what an operator sees of an input or output.
type State string

// The states of inputs and outputs, in the order in which they are tried: the
// first that is true wins.
const (
	Disabled   State = "disabled"
	Invalid    State = "invalid"
	UplinkDown State = "uplink_down"
	Rejected   State = "rejected"
	Connecting State = "connecting"
	Waiting    State = "waiting"
	NoSource   State = "no_source" // outputs
	Stalled    State = "stalled"
	Standby    State = "standby"   // inputs, and second destinations
	Receiving  State = "receiving" // inputs
	Connected  State = "connected" // outputs
	Sending    State = "sending"   // outputs
)

// A Report is what the Engine's items are doing, at one moment.
type Report struct {
	Time  time.Time
	Flows []FlowReport // in the order of the configuration
}

// A FlowReport is the part of a Report about one flow.
type FlowReport struct {
	ID      string
	Inputs  []InputReport
	Outputs []OutputReport
}

// An InputReport is the part of a Report about one input.
type InputReport struct {
	ID         string
	State      State
	Reason     *endpoint.Reason // nil where the state says it all
	Since      time.Time        // when State became what it is
	Active     bool             // this is the input in use
	BitrateBps uint64           // over the last 2 s
	Counters   Counters
	Status     endpoint.InputStatus
}

// An OutputReport is the part of a Report about one output.
type OutputReport struct {
	ID           string
	State        State
	Reason       *endpoint.Reason // nil where the state says it all
	Since        time.Time        // when State became what it is
	BitrateBps   uint64           // over the last 2 s
	PlaybackURLs []string
	Destinations []DestinationReport // of an output that dials, as configured; empty while it does not run
	Counters     Counters
	Conversion   *remux.Counters // of the stream that it reads, from when that began; nil: it is not converted
	Status       endpoint.OutputStatus
}

// A DestinationReport is the part of an OutputReport about one destination.
type DestinationReport struct {
	Address string // host:port as configured
	State   State  // Connecting, Rejected, Invalid, Standby, or Connected; Sending where nobody acknowledges
	Reason  *endpoint.Reason
}

// Counters is a copy of a Ledger.
type Counters struct {
	Packets       uint64 // sent to peers, or received
	Bytes         uint64
	BytesAcked    uint64
	Lost          uint64
	Retransmitted uint64
	Refused       uint64
	Reconnections uint64
	Dropped       map[string]uint64 // by reason
}
