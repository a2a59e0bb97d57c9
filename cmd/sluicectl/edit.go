package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/provisioning/config"
	"sluice/relay/endpoint"
)

// A ref names one output.
type ref struct{ flow, output string }

func (r ref) String() string { return r.flow + "/" + r.output }

// parseRef reads FLOW/OUTPUT.
func parseRef(s string) (ref, error) {
	flow, output, ok := strings.Cut(s, "/")
	if !ok || flow == "" || output == "" {
		return ref{}, usagef("%q is not FLOW/OUTPUT, such as stage/wall", s)
	}
	return ref{flow, output}, nil
}

// parseRefs reads FLOW/OUTPUT, or FLOW and OUTPUT.
func parseRefs(args []string) ([]ref, error) {
	if len(args) == 2 && !strings.Contains(args[0]+args[1], "/") {
		return []ref{{args[0], args[1]}}, nil
	}
	var all []ref
	for _, a := range args {
		r, err := parseRef(a)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// A draft is the document in force, being edited.
type draft struct {
	version uint64 // in force
	state   object
}

// draftOf returns the document in force, with secrets as {"set": true}: the box
// keeps those that are sent back so.
func draftOf(ctx context.Context, b box) (*draft, error) {
	body, err := b.Document(ctx, "reported")
	if err != nil {
		return nil, err
	}
	var r config.Reported
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the reported document cannot be read: %w", err)
	}
	state, err := decode(r.State)
	if err != nil {
		return nil, fmt.Errorf("the reported state: %w", err)
	}
	d := &draft{version: r.Version, state: state}
	for _, flow := range objects(state["flows"]) {
		for _, o := range objects(flow["outputs"]) {
			delete(o, "playback_urls") // told by the box, not to it
		}
	}
	return d, nil
}

// document returns the edited document, to be applied on top of the one that
// it was made from and no other.
func (d *draft) document() ([]byte, error) {
	return json.Marshal(object{"schema": config.Schema, "base_version": d.version, "state": d.state})
}

func objects(v any) []object {
	list, _ := v.([]any)
	var all []object
	for _, item := range list {
		if o, ok := item.(object); ok {
			all = append(all, o)
		}
	}
	return all
}

// flow returns the flow of that id.
func (d *draft) flow(id string) (object, error) {
	var ids []string
	for _, f := range objects(d.state["flows"]) {
		name, _ := f["id"].(string)
		if name == id {
			return f, nil
		}
		ids = append(ids, name)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("there is no flow %s: the box has none yet", id)
	}
	return nil, fmt.Errorf("there is no flow %s: the box has %s", id, strings.Join(ids, ", "))
}

// find returns the flow of an output, and the output's index in it; -1 if it
// is not there.
func (d *draft) find(r ref) (flow object, index int, err error) {
	if flow, err = d.flow(r.flow); err != nil {
		return nil, -1, err
	}
	for i, o := range objects(flow["outputs"]) {
		if o["id"] == r.output {
			return flow, i, nil
		}
	}
	return flow, -1, nil
}

// edit changes one output that is there.
func (d *draft) edit(r ref, change func(object) error) error {
	flow, i, err := d.find(r)
	if err != nil {
		return err
	}
	if i < 0 {
		return fmt.Errorf("flow %s has no output %s", r.flow, r.output)
	}
	return change(objects(flow["outputs"])[i])
}

func (d *draft) add(r ref, output object) error {
	flow, i, err := d.find(r)
	if err != nil {
		return err
	}
	if i >= 0 {
		return fmt.Errorf("flow %s has an output %s already: change it with 'output set %s'", r.flow, r.output, r)
	}
	list, _ := flow["outputs"].([]any)
	flow["outputs"] = append(list, output)
	return nil
}

func (d *draft) remove(r ref) error {
	flow, i, err := d.find(r)
	if err != nil {
		return err
	}
	if i < 0 {
		return fmt.Errorf("flow %s has no output %s", r.flow, r.output)
	}
	list, _ := flow["outputs"].([]any)
	flow["outputs"] = append(list[:i:i], list[i+1:]...)
	return nil
}

// change edits the document in force and applies it. It returns the version
// that is then in force.
func (c *command) change(ctx context.Context, edit func(*draft) error) (uint64, error) {
	b, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	d, err := draftOf(ctx, b)
	if err != nil {
		return 0, err
	}
	if err := edit(d); err != nil {
		return 0, err
	}
	body, err := d.document()
	if err != nil {
		return 0, err
	}
	a, err := b.Apply(ctx, body)
	return a.Version, c.tell(a, err)
}

// tell says what became of a document.
func (c *command) tell(a config.Accepted, err error) error {
	var refused *config.Rejected
	switch {
	case errors.As(err, &refused):
		c.tellFaults(refused)
		return errTold
	case err != nil:
		return err
	case c.json:
		if err := c.printJSON(a); err != nil {
			return err
		}
	default:
		c.tellAccepted(a)
	}
	if a.Status == config.StatusSuperseded {
		return errTold
	}
	return nil
}

func (c *command) tellAccepted(a config.Accepted) {
	switch a.Status {
	case config.StatusApplied:
		fmt.Fprintf(c.out, "Version %d is in force.\n", a.Version)
	case config.StatusUnchanged:
		fmt.Fprintf(c.out, "Nothing to change: version %d is in force already.\n", a.Version)
	case config.StatusPendingConfirm:
		fmt.Fprintf(c.out, "Version %d is in force until it is confirmed", a.Version)
		if a.ConfirmBy != nil {
			fmt.Fprintf(c.out, ", at the latest at %s", a.ConfirmBy.Local().Format(time.TimeOnly))
		}
		fmt.Fprintln(c.out, ": 'sluicectl commits' shows by what.")
	case config.StatusSuperseded:
		fmt.Fprintf(c.err, "sluicectl: version %d was not applied: a newer one came before its turn\n", a.Version)
	default:
		fmt.Fprintf(c.out, "Version %d: %s.\n", a.Version, a.Status)
	}
}

func (c *command) tellFaults(r *config.Rejected) {
	if c.json {
		c.printJSON(r)
		return
	}
	fmt.Fprintf(c.err, "sluicectl: refused: %s\n", clean(r.Message))
	for _, f := range r.Errors {
		if f.Pointer == "" {
			fmt.Fprintf(c.err, "  %s\n", clean(f.Message))
			continue
		}
		fmt.Fprintf(c.err, "  %s\n    %s\n", clean(f.Pointer), clean(f.Message))
	}
	if outrun(r) {
		fmt.Fprintf(c.err, "Version %d is in force. Somebody else may have changed it: look, and try again.\n", r.CurrentVersion)
	}
}

// outrun tells whether a document was refused because another version is in
// force than its author knew of: not because of a commit, which is 409 too.
func outrun(r *config.Rejected) bool {
	return r.Code == 409 && slices.ContainsFunc(r.Errors, func(f endpoint.Fault) bool {
		return f.Pointer == "/base_version" || f.Pointer == "/version" && r.Version <= r.CurrentVersion
	})
}
