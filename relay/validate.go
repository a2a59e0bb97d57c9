package relay

import (
	"fmt"

	"sluice/relay/endpoint"
	"sluice/relay/rtsp"
)

// Fill sets the defaults that follow from other fields: the primary input,
// the public names under which an output is played.
func (f *Flow) Fill() {
	if f.Failover != nil && f.Failover.Mode == FailoverSwitch && f.Failover.Primary == "" && len(f.Inputs) > 0 {
		f.Failover.Primary = f.Inputs[0].ID
	}
	for i := range f.Outputs {
		o := &f.Outputs[i]
		if o.Protocol == RTMPPull && o.RTMP != nil && o.RTMP.StreamKey == "" {
			o.RTMP.StreamKey = o.ID
		}
		if o.Protocol == RTSP && o.RTSP != nil && o.RTSP.Mode == rtsp.ModeServe && o.RTSP.Path == "" {
			o.RTSP.Path = f.ID + "/" + o.ID
		}
	}
}

// Validate returns what is wrong with the configuration beyond what the struct
// tags say of single fields. Pointers begin with at, which stands for c.
// Uplinks are those of Document.Engine: named wherever there is one.
//
// Fields that are missing or have a fault of their own may be zero, and are
// passed over.
func (c Config) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	ids := map[string]string{}
	for i, f := range c.Flows {
		here := fmt.Sprintf("%s/flows/%d", at, i)
		faults = append(faults, unique(ids, f.ID, here, "id")...)
		faults = append(faults, f.validate(here)...)
	}
	return append(faults, portFaults(c, at)...)
}

// unique notes that the item at a place has a value, and reports the second of
// two items that have the same.
func unique(seen map[string]string, value, at, field string) []endpoint.Fault {
	if value == "" {
		return nil
	}
	if first, ok := seen[value]; ok {
		return []endpoint.Fault{endpoint.Faultf(at+"/"+field, "%s %q is taken by %s: use another", field, value, first)}
	}
	seen[value] = at
	return nil
}

func (f Flow) validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	faults = append(faults, f.failover(at)...)
	ids, names := map[string]string{}, map[string]string{}
	for i, in := range f.Inputs {
		here := fmt.Sprintf("%s/inputs/%d", at, i)
		faults = append(faults, unique(ids, in.ID, here, "id")...)
		faults = append(faults, in.validate(here)...)
	}
	ids = map[string]string{}
	for i, out := range f.Outputs {
		here := fmt.Sprintf("%s/outputs/%d", at, i)
		faults = append(faults, unique(ids, out.ID, here, "id")...)
		faults = append(faults, unique(names, out.Name, here, "name")...)
		faults = append(faults, pairFaults(f.Inputs, out, here)...)
		faults = append(faults, out.validate(here)...)
	}
	return faults
}

// failover checks that two inputs say how they are used, and one does not.
func (f Flow) failover(at string) []endpoint.Fault {
	switch {
	case len(f.Inputs) > 1 && f.Failover == nil:
		return []endpoint.Fault{endpoint.Faultf(at+"/failover", "failover is missing: a flow with %d inputs has to say how they are used", len(f.Inputs))}
	case f.Failover == nil:
		return nil
	case len(f.Inputs) == 1:
		return []endpoint.Fault{endpoint.Faultf(at+"/failover", "failover needs two inputs: add one, or remove failover")}
	case f.Failover.Primary == "":
		return nil
	}
	for _, in := range f.Inputs {
		if in.ID == f.Failover.Primary {
			return nil
		}
	}
	fault := endpoint.Faultf(at+"/failover/primary", "primary is %q: use the id of one of the flow's inputs", f.Failover.Primary)
	fault.Code = endpoint.CodeNotFound
	return []endpoint.Fault{fault}
}

// pairFaults reports an output that an input's protocol does not allow.
func pairFaults(inputs []Input, out Output, at string) []endpoint.Fault {
	for _, in := range inputs {
		if in.Protocol != "" && out.Protocol != "" && !Carries(in.Protocol, out.Protocol) {
			return []endpoint.Fault{endpoint.Faultf(at+"/protocol", "protocol is %s: an input of protocol %s cannot be sent so", out.Protocol, in.Protocol)}
		}
	}
	return nil
}

func (in Input) validate(at string) []endpoint.Fault {
	switch {
	case in.Protocol == SRT && in.SRT != nil:
		faults := in.SRT.Validate(at + "/srt")
		if n := len(in.SRT.Destinations); n > 1 {
			faults = append(faults, endpoint.Fault{
				Pointer: at + "/srt/destinations", Code: endpoint.CodeQuantity,
				Message: fmt.Sprintf("destinations has %d items: an input calls one peer", n),
			})
		}
		return faults
	case (in.Protocol == RTMP || in.Protocol == RTMPPull) && in.RTMP != nil:
		return in.RTMP.Validate(at + "/rtmp")
	case in.Protocol == RTP && in.RTP != nil:
		return in.RTP.Validate(at + "/rtp")
	case in.Protocol == RTSP && in.RTSP != nil:
		return in.RTSP.Validate(at + "/rtsp")
	}
	return nil
}

func (out Output) validate(at string) []endpoint.Fault {
	switch {
	case out.Protocol == SRT && out.SRT != nil:
		return out.SRT.Validate(at + "/srt")
	case (out.Protocol == RTMPPush || out.Protocol == RTMPPull) && out.RTMP != nil:
		return out.RTMP.Validate(at + "/rtmp")
	case out.Protocol == RTP && out.RTP != nil:
		return out.RTP.Validate(at + "/rtp")
	case out.Protocol == RTSP && out.RTSP != nil:
		return out.RTSP.Validate(at + "/rtsp")
	}
	return nil
}
