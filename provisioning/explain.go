package provisioning

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/device/uplink"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// explainOutput answers why an output is in its state.
func (a *Agent) explainOutput(_ context.Context, c *call) (any, error) {
	var data struct {
		Flow   string `json:"flow"`
		Output string `json:"output"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	if data.Flow == "" || data.Output == "" {
		return nil, no(400, "data needs flow and output")
	}
	for _, f := range a.inForce.Load().document.Engine().Flows {
		for _, o := range f.Outputs {
			if f.ID == data.Flow && o.ID == data.Output {
				x := explanation{f, o, a.o.Engine.Report(), a.o.Uplinks.Status()}
				return map[string]string{"text": x.text() + "."}, nil
			}
		}
	}
	return nil, fmt.Errorf("output %s/%s: %w", data.Flow, data.Output, relay.ErrNotFound)
}

// An explanation is one sentence of why an output is as it is: from the source
// through the flow and the NIC to the peer. It says what is known, each part
// as whoever measured it reports it, and concludes nothing.
type explanation struct {
	flow    relay.Flow // with every uplink named
	output  relay.Output
	report  relay.Report
	uplinks []uplink.Status
}

func (x explanation) name() string { return x.flow.ID + "/" + x.output.ID }

func (x explanation) text() string {
	i := slices.IndexFunc(x.report.Flows, func(f relay.FlowReport) bool { return f.ID == x.flow.ID })
	if i < 0 {
		return x.name() + " has no state yet: its configuration is being applied"
	}
	f := x.report.Flows[i]
	i = slices.IndexFunc(f.Outputs, func(o relay.OutputReport) bool { return o.ID == x.output.ID })
	if i < 0 {
		return x.name() + " has no state yet: its configuration is being applied"
	}
	o := f.Outputs[i]
	text := x.name() + " " + fares(o.State) + ": " + x.why(o)
	if o.State == relay.Disabled || o.State == relay.Invalid {
		return text // whatever the others do
	}
	parts := x.sources(f)
	if o.State != relay.UplinkDown { // which named it
		parts = append(parts, x.ways()...)
	}
	text += "; " + strings.Join(parts, ", ")
	if ends := x.destinations(o); ends != "" {
		text += "; " + ends
	}
	if lost := x.losses(o); lost != "" {
		text += "; " + lost
	}
	return text
}

// fares is a state as a sentence goes on with it.
func fares(s relay.State) string {
	switch s {
	case relay.UplinkDown:
		return "has no uplink"
	case relay.NoSource:
		return "has no source"
	}
	return "is " + string(s)
}

// why is what the output itself has to say.
func (x explanation) why(o relay.OutputReport) string {
	switch o.State {
	case relay.Disabled:
		if !x.flow.Enabled {
			return "the flow " + x.flow.ID + " is not enabled"
		}
		return "it is not enabled"
	case relay.Waiting:
		text := "nobody is connected"
		if n := o.Counters.Refused; n > 0 {
			text += fmt.Sprintf(", and %d were turned away since the daemon started", n)
		}
		return withReason(text, o.Reason)
	case relay.Connecting:
		if o.Reason == nil {
			return "it has had no answer yet"
		}
	case relay.Rejected:
		if o.Reason == nil {
			return "the peer refuses it"
		}
	case relay.NoSource:
		return withReason(peers(o)+" connected, and there is no media to send", o.Reason)
	case relay.Stalled:
		return withReason(x.still(o)+", though there was media", o.Reason)
	case relay.Connected:
		return withReason(peers(o)+" connected and "+takes(o)+" "+rate(o.BitrateBps), o.Reason)
	case relay.Sending:
		return withReason(rate(o.BitrateBps)+" leave the box, and nobody acknowledges what arrives", o.Reason)
	}
	return because(o.Reason, o.State)
}

// withReason adds a reason to what is said already, where there is one.
func withReason(text string, reason *endpoint.Reason) string {
	if reason == nil {
		return text
	}
	return text + " (" + reason.Message + ")"
}

func peers(o relay.OutputReport) string {
	switch n := len(o.Status.Sessions); n {
	case 0:
		return "the peer is"
	case 1:
		return o.Status.Sessions[0].Peer + " is"
	default:
		return fmt.Sprintf("%d peers are", n)
	}
}

func takes(o relay.OutputReport) string {
	if len(o.Status.Sessions) > 1 {
		return "take"
	}
	return "takes"
}

// still says for how long nothing has moved.
func (x explanation) still(o relay.OutputReport) string {
	text, moved := "it has sent nothing", o.Status.Sent
	if o.Status.Acknowledges {
		text, moved = peers(o)+" connected, and nothing was acknowledged", o.Status.Acked
	}
	if moved.IsZero() {
		return text + " yet"
	}
	return text + " for " + span(x.report.Time.Sub(moved))
}

// sources are the input in use, or all that could be.
func (x explanation) sources(f relay.FlowReport) (parts []string) {
	inputs := f.Inputs
	if i := slices.IndexFunc(inputs, func(i relay.InputReport) bool { return i.Active }); i >= 0 {
		inputs = inputs[i : i+1]
	}
	for _, i := range inputs {
		parts = append(parts, x.source(i))
	}
	return parts
}

func (x explanation) source(i relay.InputReport) string {
	name := "the input " + i.ID
	switch {
	case i.State == relay.Receiving, i.State == relay.Standby && i.Reason == nil:
		text := name + " receives " + rate(i.BitrateBps)
		if peer := i.Status.Peer; peer != "" {
			text += " from " + peer
		}
		return text
	case i.State == relay.Stalled:
		peer := ""
		if i.Status.Peer != "" {
			peer = " (encoder at " + i.Status.Peer + " is connected)"
		}
		return withReason(name+" has received no media "+x.ago(i)+peer, i.Reason)
	case i.State == relay.Waiting:
		text := "no encoder is connected to the input " + i.ID
		if x.datagrams(i.ID) {
			text = "nothing comes to the input " + i.ID
		}
		if !i.Status.Received.IsZero() {
			text += ", which has received no media " + x.ago(i)
		}
		return withReason(text, i.Reason)
	case i.State == relay.Disabled:
		return name + " is not enabled"
	}
	if i.Reason == nil {
		return name + " " + fares(i.State)
	}
	return name + " " + fares(i.State) + ": " + i.Reason.Message
}

// datagrams tells of an input to which nobody connects.
func (x explanation) datagrams(input string) bool {
	return slices.ContainsFunc(x.flow.Inputs, func(i relay.Input) bool { return i.ID == input && i.RTP != nil })
}

func (x explanation) ago(i relay.InputReport) string {
	if i.Status.Received.IsZero() {
		return "yet"
	}
	return "for " + span(x.report.Time.Sub(i.Status.Received))
}

// ways are the uplinks that the output's sockets are on.
func (x explanation) ways() (parts []string) {
	names := []string{x.output.Uplink}
	if x.output.RTP != nil {
		names = nil
		for _, d := range x.output.RTP.Destinations {
			if !slices.Contains(names, d.Uplink) {
				names = append(names, d.Uplink)
			}
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(x.uplinks, func(u uplink.Status) bool { return u.Name == name })
		switch {
		case i < 0 && name == "":
			parts = append(parts, "there is no default uplink")
		case i < 0:
			parts = append(parts, "there is no uplink "+name)
		case x.uplinks[i].Reason != nil:
			parts = append(parts, name+" is not ready: "+x.uplinks[i].Reason.Message)
		case x.uplinks[i].Routing != nil:
			parts = append(parts, name+" is ready on "+x.uplinks[i].Interface+" but "+x.uplinks[i].Routing.Message)
		default:
			parts = append(parts, name+" is ready on "+x.uplinks[i].Interface)
		}
	}
	return parts
}

// destinations are told of where there are two, which may differ.
func (x explanation) destinations(o relay.OutputReport) string {
	if len(o.Destinations) < 2 {
		return ""
	}
	var parts []string
	for _, d := range o.Destinations {
		parts = append(parts, withReason(d.Address+" "+fares(d.State), d.Reason))
	}
	return strings.Join(parts, ", ")
}

// losses are what the ledger of the output, and of the conversion that it
// reads, says was not delivered.
func (x explanation) losses(o relay.OutputReport) string {
	var parts []string
	if text := dropped(o.Counters.Dropped); text != "" {
		parts = append(parts, "it dropped "+text+" since the daemon started")
	}
	if o.Conversion != nil {
		if text := dropped(o.Conversion.Dropped); text != "" {
			parts = append(parts, "the conversion that it reads dropped "+text)
		}
	}
	return strings.Join(parts, ", ")
}

func dropped(by map[string]uint64) string {
	var sum uint64
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(by)) {
		if n := by[why]; n > 0 {
			sum += n
			parts = append(parts, fmt.Sprintf("%s %d", why, n))
		}
	}
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%d packets (%s)", sum, strings.Join(parts, ", "))
}

func rate(bps uint64) string {
	switch {
	case bps >= 1e6:
		return fmt.Sprintf("%.1f Mbit/s", float64(bps)/1e6)
	case bps >= 1e3:
		return fmt.Sprintf("%d kbit/s", bps/1e3)
	}
	return fmt.Sprintf("%d bit/s", bps)
}

// span is a time as a person says it.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h", d/time.Hour)
}
