package relay

import (
	"slices"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/rtp"
)

// The ways two inputs are used.
const (
	FailoverSwitch = "switch"
	FailoverMerge  = "merge"
)

// matrix says which output protocols each input protocol may be sent as. What
// a stream's codecs make impossible is found while it runs.
var matrix = map[string][]string{
	SRT:      {SRT, RTMPPush, RTMPPull, RTP, RTSP},
	RTMP:     {SRT, RTMPPush, RTMPPull, RTP, RTSP},
	RTMPPull: {SRT, RTMPPush, RTMPPull, RTP, RTSP},
	RTP:      {SRT, RTMPPush, RTMPPull, RTP, RTSP},
	RTSP:     {SRT, RTMPPush, RTMPPull, RTP, RTSP},
}

// Carries tells whether an input of one protocol may have an output of another.
func Carries(input, output string) bool { return slices.Contains(matrix[input], output) }

// Capabilities are what this build can do of all that a document may ask for.
// The rest is accepted, and reported as invalid or standby with its reason.
type Capabilities struct {
	Inputs   []string // protocols
	Outputs  []string // protocols
	Failover []string // modes, of two inputs or two destinations
}

// Built returns the capabilities of this build. InputGap and OutputGap decide
// by the same.
func Built() Capabilities {
	return Capabilities{
		Inputs:   []string{SRT, RTMP, RTMPPull, RTP},
		Outputs:  []string{SRT, RTMPPush, RTMPPull, RTP},
		Failover: []string{dial.Backup, dial.Both},
	}
}

// The codes of the reasons for what this build cannot do.
const (
	ReasonUnsupported = "unsupported"
	ReasonFailover    = "failover_unavailable"
)

// InputGap returns why this build cannot run an input as it is asked to, or
// nil. Such an input is invalid.
func InputGap(in Input) *endpoint.Reason {
	if !slices.Contains(Built().Inputs, in.Protocol) {
		return endpoint.Because(ReasonUnsupported, "inputs of protocol %s are not in this build", in.Protocol)
	}
	return nil
}

// OutputGap returns why this build cannot run an output of f as it is asked
// to, or nil. Such an output is invalid.
func OutputGap(f Flow, out Output) *endpoint.Reason {
	if !slices.Contains(Built().Outputs, out.Protocol) {
		return endpoint.Because(ReasonUnsupported, "outputs of protocol %s are not in this build", out.Protocol)
	}
	if out.Protocol != RTP || out.RTP == nil {
		return nil
	}
	if out.RTP.SmoothingLatencyMS > 0 {
		return endpoint.Because(ReasonUnsupported, "smoothing is not in this build: set smoothing_latency_ms to 0")
	}
	if out.RTP.PreserveRTPHeader {
		for _, in := range f.Inputs {
			if in.RTP == nil || in.RTP.Encapsulation != rtp.EncapsulationRTP {
				return endpoint.Because(ReasonUnsupported, "input %s has no RTP header to preserve: set preserve_rtp_header to false", in.ID)
			}
		}
	}
	return nil
}

// carriage is what streams are carried as by a protocol.
func carriage(protocol string) media.Kind {
	switch protocol {
	case RTMP, RTMPPush, RTMPPull:
		return media.FLV
	}
	return media.TS
}

// InputStandby returns why an input of f that could run is held back, or nil. Until
// two inputs can be used together, the one in use is the primary if it is
// enabled and can run, and otherwise the first that is.
func InputStandby(f Flow, in Input) *endpoint.Reason {
	use := ""
	for _, each := range f.Inputs {
		if !each.Enabled || InputGap(each) != nil {
			continue
		}
		if use == "" || f.Failover != nil && each.ID == f.Failover.Primary {
			use = each.ID
		}
	}
	if use == "" || use == in.ID {
		return nil
	}
	return endpoint.Because(ReasonFailover, "failover is not in this build: input %s is in use", use)
}
