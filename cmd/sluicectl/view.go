package main

import (
	"context"
	"encoding/json"
	"fmt"

	"sluice/device/console/figure"
	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// A view is what the tables are made of: the documents of one box, joined.
type view struct {
	reported config.Reported
	settings settings
	state    config.StateReport
	figures  *config.Telemetry // nil while there are none
}

// settings is the part of the reported state that tables show.
type settings struct {
	Flows []struct {
		ID     string `json:"id"`
		Inputs []struct {
			ID       string `json:"id"`
			Protocol string `json:"protocol"`
		} `json:"inputs"`
		Outputs []outputSettings `json:"outputs"`
	} `json:"flows"`
}

type outputSettings struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Protocol     string   `json:"protocol"`
	Uplink       string   `json:"uplink"`
	Region       string   `json:"region"`
	MaxViewers   int      `json:"max_viewers"`
	PlaybackURLs []string `json:"playback_urls"`
}

// load reads the documents.
func (c *command) load(ctx context.Context) (*view, error) {
	b, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{}
	if err := read(ctx, b, "reported", &v.reported); err != nil {
		return nil, err
	}
	// A box that has only just started may not have looked at its state yet.
	if err := read(ctx, b, "state", &v.state); err != nil && ctx.Err() != nil {
		return nil, err
	}
	if len(v.reported.State) > 0 {
		if err := json.Unmarshal(v.reported.State, &v.settings); err != nil {
			return nil, fmt.Errorf("the reported state cannot be read: %w", err)
		}
	}
	if body, ok := b.Peek(ctx, "telemetry"); ok {
		var t config.Telemetry
		if json.Unmarshal(body, &t) == nil {
			v.figures = &t
		}
	}
	return v, nil
}

func read(ctx context.Context, b box, name string, into any) error {
	body, err := b.Document(ctx, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the %s document cannot be read: %w", name, err)
	}
	return nil
}

// An input is one line of the table of flows.
type input struct {
	flow, protocol string
	config.InputState
	figures *config.InputFigures
}

// An output is one line of the table of outputs.
type output struct {
	flow string
	config.OutputState
	settings outputSettings
	figures  *config.OutputFigures
}

// inputs returns those of every flow in force. The state of one that was only
// just added may yet be unknown.
func (v *view) inputs() []input {
	var all []input
	for _, f := range v.settings.Flows {
		for _, s := range f.Inputs {
			in := input{flow: f.ID, protocol: s.Protocol, figures: v.inputFigures(f.ID, s.ID)}
			in.ID = s.ID
			for _, now := range v.flowState(f.ID).Inputs {
				if now.ID == s.ID {
					in.InputState = now
				}
			}
			all = append(all, in)
		}
	}
	return all
}

// outputs returns those of one flow, or of every flow for an empty id.
func (v *view) outputs(flow string) []output {
	var all []output
	for _, f := range v.settings.Flows {
		if flow != "" && f.ID != flow {
			continue
		}
		for _, s := range f.Outputs {
			o := output{flow: f.ID, settings: s, figures: v.outputFigures(f.ID, s.ID)}
			o.ID = s.ID
			for _, now := range v.flowState(f.ID).Outputs {
				if now.ID == s.ID {
					o.OutputState = now
				}
			}
			all = append(all, o)
		}
	}
	return all
}

func (v *view) flowState(id string) config.FlowState {
	for _, f := range v.state.Flows {
		if f.ID == id {
			return f
		}
	}
	return config.FlowState{}
}

func (v *view) hasFlow(id string) bool {
	for _, f := range v.settings.Flows {
		if f.ID == id {
			return true
		}
	}
	return false
}

func (v *view) hasItem(flow, id string) bool {
	for _, f := range v.settings.Flows {
		if f.ID != flow {
			continue
		}
		for _, i := range f.Inputs {
			if i.ID == id {
				return true
			}
		}
		for _, o := range f.Outputs {
			if o.ID == id {
				return true
			}
		}
	}
	return false
}

func (v *view) inputFigures(flow, id string) *config.InputFigures {
	if v.figures == nil {
		return nil
	}
	for _, f := range v.figures.Flows {
		for i := range f.Inputs {
			if f.ID == flow && f.Inputs[i].ID == id {
				return &f.Inputs[i]
			}
		}
	}
	return nil
}

func (v *view) outputFigures(flow, id string) *config.OutputFigures {
	if v.figures == nil {
		return nil
	}
	for _, f := range v.figures.Flows {
		for i := range f.Outputs {
			if f.ID == flow && f.Outputs[i].ID == id {
				return &f.Outputs[i]
			}
		}
	}
	return nil
}

func (v *view) uplinkFigures(name string) *config.UplinkFigures {
	if v.figures == nil {
		return nil
	}
	for i := range v.figures.Uplinks {
		if v.figures.Uplinks[i].Name == name {
			return &v.figures.Uplinks[i]
		}
	}
	return nil
}

func (i input) bitrate() string {
	if i.figures == nil {
		return "-"
	}
	return figure.Bitrate(i.figures.BitrateBps)
}

func (o output) bitrate() string {
	if o.figures == nil {
		return "-"
	}
	return figure.Bitrate(o.figures.BitrateBps)
}

// viewers of an output that dials are its peer: there is nothing to count.
func (o output) viewers() string {
	if o.settings.MaxViewers == 0 || len(o.settings.PlaybackURLs) == 0 && o.Viewers == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", o.Viewers, o.settings.MaxViewers)
}

// delivers tells whether media arrives where it should.
func delivers(s relay.State) bool { return s == relay.Connected || s == relay.Sending }

func why(r *endpoint.Reason) string {
	if r == nil {
		return ""
	}
	return r.Message
}
