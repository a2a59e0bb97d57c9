package main

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/provisioning/config"
	"sluice/relay"
)

// completionTime is how long a shell may be kept waiting.
const completionTime = 2 * time.Second

// completeWords completes a flag from a list.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	completeBy(cmd, flag, cobra.FixedCompletions(words, noFiles))
}

// completeBy completes a flag by what a function returns.
func completeBy(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag is not there: a mistake in this program
	}
}

// configured returns the flows that the box has; none if it cannot be asked.
func (c *command) configured(ctx context.Context) settings {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	c.timeout = completionTime
	b, err := c.connect(ctx)
	if err != nil {
		return settings{}
	}
	var now config.Reported
	var s settings
	if read(ctx, b, "reported", &now) != nil || json.Unmarshal(now.State, &s) != nil {
		return settings{}
	}
	return s
}

// known returns the flows and outputs that the box has.
func (c *command) known(ctx context.Context) (flows, outputs []string) {
	for _, f := range c.configured(ctx).Flows {
		flows = append(flows, f.ID)
		for _, o := range f.Outputs {
			outputs = append(outputs, f.ID+"/"+o.ID)
		}
	}
	return flows, outputs
}

// completeSessions completes the sessions of the output that args name, each
// with its peer.
func (c *command) completeSessions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	refs, err := parseRefs(args)
	if err != nil || len(refs) != 1 {
		return nil, noFiles
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c.timeout = completionTime
	v, err := c.load(ctx)
	if err != nil {
		return nil, noFiles
	}
	var sessions []string
	for _, o := range v.outputs(refs[0].flow) {
		if o.ID != refs[0].output || o.figures == nil {
			continue
		}
		for _, s := range o.figures.Sessions {
			sessions = append(sessions, cobra.CompletionWithDesc(s.ID, s.Peer))
		}
	}
	return sessions, noFiles
}

const noFiles = cobra.ShellCompDirectiveNoFileComp

func (c *command) completeFlows(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	flows, _ := c.known(cmd.Context())
	return flows, noFiles
}

func (c *command) completeOutputs(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	_, outputs := c.known(cmd.Context())
	return outputs, noFiles
}

func (c *command) completeFlowsAndOutputs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	flows, outputs := c.known(cmd.Context())
	return append(flows, outputs...), noFiles
}

// completeInputs completes the flows and their inputs.
func (c *command) completeInputs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	var flows, inputs []string
	for _, f := range c.configured(cmd.Context()).Flows {
		flows = append(flows, f.ID)
		for _, i := range f.Inputs {
			inputs = append(inputs, f.ID+"/"+i.ID)
		}
	}
	return append(flows, inputs...), noFiles
}

// completeSRT completes the flows, and the inputs and outputs that speak SRT.
func (c *command) completeSRT(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	var flows, items []string
	for _, f := range c.configured(cmd.Context()).Flows {
		flows = append(flows, f.ID)
		for _, i := range f.Inputs {
			if i.Protocol == relay.SRT {
				items = append(items, f.ID+"/"+i.ID)
			}
		}
		for _, o := range f.Outputs {
			if o.Protocol == relay.SRT {
				items = append(items, f.ID+"/"+o.ID)
			}
		}
	}
	return append(flows, items...), noFiles
}

// completeSet completes the output, then the names of its fields.
func (c *command) completeSet(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		_, outputs := c.known(cmd.Context())
		return outputs, noFiles
	}
	var fields []string
	leaves(reflect.TypeFor[relay.Output](), "", &fields)
	return fields, noFiles | cobra.ShellCompDirectiveNoSpace
}

// leaves lists the fields below t that output set can set.
func leaves(t reflect.Type, path string, all *[]string) {
	fields := fieldsOf(elem(t))
	for _, name := range names(fields) {
		ft := elem(fields[name])
		at := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case ft == secretType:
		case fieldsOf(ft) != nil:
			leaves(ft, at, all)
		case ft.Kind() == reflect.Slice && fieldsOf(elem(ft.Elem())) != nil:
			leaves(ft.Elem(), at+".0", all)
		default:
			*all = append(*all, at+"=")
		}
	}
}
