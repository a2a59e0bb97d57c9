package console

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluice/device/console/figure"
	"sluice/device/control"
)

// A view is the documents of the box, joined.
type view struct {
	reported reportedDocument
	state    stateDocument
	figures  telemetryDocument
}

// load reads the documents. A box that has only just started has no state yet.
func (s *session) load(ctx context.Context) (*view, error) {
	v := &view{}
	if err := s.document(ctx, "reported", &v.reported); err != nil && !errors.Is(err, control.ErrNoDocument) {
		return nil, err
	}
	if err := s.document(ctx, "state", &v.state); err != nil && !errors.Is(err, control.ErrNoDocument) {
		return nil, err
	}
	if err := s.document(ctx, "telemetry", &v.figures); err != nil && !errors.Is(err, control.ErrNoDocument) {
		return nil, err
	}
	return v, nil
}

// An item is an input or output as it is configured, with its state and
// figures. Those of one that was only just added may yet be unknown.
type item struct {
	flow, protocol string
	itemState
	settings outputSettings // of an output
	figures  *itemFigures
}

func (i item) String() string { return i.flow + "/" + i.ID }

func (i item) bitrate() string {
	if i.figures == nil {
		return "-"
	}
	return figure.Bitrate(i.figures.BitrateBps)
}

// viewers of an output that dials are its peer: there is nothing to count.
func (i item) viewers() string {
	if i.settings.MaxViewers == 0 || len(i.settings.PlaybackURLs) == 0 && i.Viewers == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", i.Viewers, i.settings.MaxViewers)
}

// delivers tells whether media arrives where it should.
func (i item) delivers() bool { return i.State == "connected" || i.State == "sending" }

// inputs returns those of one flow, or of every flow for an empty id.
func (v *view) inputs(flow string) []item {
	var all []item
	for _, f := range v.reported.State.Flows {
		if flow != "" && f.ID != flow {
			continue
		}
		for _, c := range f.Inputs {
			now, figures := v.now(f.ID, c.ID, false)
			all = append(all, item{flow: f.ID, protocol: c.Protocol, itemState: now, figures: figures})
		}
	}
	return all
}

// outputs returns those of one flow, or of every flow for an empty id.
func (v *view) outputs(flow string) []item {
	var all []item
	for _, f := range v.reported.State.Flows {
		if flow != "" && f.ID != flow {
			continue
		}
		for _, c := range f.Outputs {
			now, figures := v.now(f.ID, c.ID, true)
			all = append(all, item{flow: f.ID, protocol: c.Protocol, itemState: now, settings: c, figures: figures})
		}
	}
	return all
}

// now returns the state and figures of one item.
func (v *view) now(flow, id string, output bool) (itemState, *itemFigures) {
	state := itemState{ID: id}
	for _, f := range v.state.Flows {
		items := f.Inputs
		if output {
			items = f.Outputs
		}
		for _, i := range items {
			if f.ID == flow && i.ID == id {
				state = i
			}
		}
	}
	for _, f := range v.figures.Flows {
		items := f.Inputs
		if output {
			items = f.Outputs
		}
		for k := range items {
			if f.ID == flow && items[k].ID == id {
				return state, &items[k]
			}
		}
	}
	return state, nil
}

func (v *view) hasFlow(id string) bool {
	for _, f := range v.reported.State.Flows {
		if f.ID == id {
			return true
		}
	}
	return false
}

// flow is an error where there is no flow of that id; an empty one is all.
func (v *view) flow(id string) error {
	if id == "" || v.hasFlow(id) {
		return nil
	}
	return fmt.Errorf("there is no flow %s", id)
}

// output returns the one that FLOW/OUTPUT names.
func (v *view) output(name string) (item, error) {
	flow, id, err := splitName(name, "FLOW/OUTPUT")
	if err != nil {
		return item{}, err
	}
	if err := v.flow(flow); err != nil {
		return item{}, err
	}
	for _, o := range v.outputs(flow) {
		if o.ID == id {
			return o, nil
		}
	}
	return item{}, fmt.Errorf("flow %s has no output %s", flow, id)
}

// splitName reads FLOW/OUTPUT and the like.
func splitName(name, form string) (flow, id string, err error) {
	flow, id, ok := strings.Cut(name, "/")
	if !ok || flow == "" || id == "" {
		return "", "", fmt.Errorf("%s is not %s, such as stage/wall", name, form)
	}
	return flow, id, nil
}

// named is the check of an argument FLOW/OUTPUT.
func named(name string) error {
	_, _, err := splitName(name, "FLOW/OUTPUT")
	return err
}

// The values of arguments. A daemon that is not there has none.

func (s *session) flowNames(ctx context.Context) (all []choice) {
	var r reportedDocument
	_ = s.document(ctx, "reported", &r)
	for _, f := range r.State.Flows {
		all = append(all, choice{f.ID, f.Name})
	}
	return all
}

func (s *session) outputNames(ctx context.Context) (all []choice) {
	var r reportedDocument
	_ = s.document(ctx, "reported", &r)
	for _, f := range r.State.Flows {
		for _, o := range f.Outputs {
			all = append(all, choice{f.ID + "/" + o.ID, o.Name})
		}
	}
	return all
}

func (s *session) itemNames(ctx context.Context) (all []choice) {
	var r reportedDocument
	_ = s.document(ctx, "reported", &r)
	for _, f := range r.State.Flows {
		all = append(all, choice{f.ID, f.Name})
		for _, i := range f.Inputs {
			all = append(all, choice{f.ID + "/" + i.ID, i.Protocol + " input"})
		}
		for _, o := range f.Outputs {
			all = append(all, choice{f.ID + "/" + o.ID, o.Name})
		}
	}
	return all
}

func (s *session) uplinkNames(ctx context.Context) (all []choice) {
	var st stateDocument
	_ = s.document(ctx, "state", &st)
	for _, u := range st.Uplinks {
		all = append(all, choice{u.Name, u.Interface})
	}
	return all
}
