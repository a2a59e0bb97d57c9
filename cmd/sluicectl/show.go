package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/device/console/figure"
	"sluice/device/control"
	"sluice/provisioning/config"
)

func (c *command) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the box, and all that it relays", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := c.load(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(v.state)
			}
			c.printBox(cmd.Context(), v)
			c.section("UPLINKS")
			c.printUplinks(v)
			c.section("INPUTS")
			c.printInputs(v)
			c.section("OUTPUTS")
			c.printOutputs(v, "")
			if len(v.state.Alarms) > 0 {
				c.section("ALARMS")
				t := table{head: []string{"SUBJECT", "SINCE", "MESSAGE"}}
				for _, a := range v.state.Alarms {
					t.add(a.Subject, figure.Ago(c.now(), a.Since), a.Message)
				}
				t.print(c.out, c.width)
			}
			return nil
		},
	}
}

func (c *command) section(name string) { fmt.Fprintf(c.out, "\n%s\n", name) }

// printBox says which box it is and which configuration is in force.
func (c *command) printBox(ctx context.Context, v *view) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // good to have, no more
	defer cancel()
	var info config.Info
	if read(ctx, c.box, "info", &info) == nil {
		c.line("Box       ", info.Device, info.Model, info.Architecture, "sluiced "+info.Version)
	}
	var status config.Status
	switch err := read(ctx, c.box, "status", &status); {
	case err == nil:
		c.line("Fleet     ", status.State)
	case errors.Is(err, control.ErrNoDocument):
		c.line("Fleet     ", "no broker is configured")
	}
	what := fmt.Sprintf("version %d, %s, from %s", v.reported.Version, v.reported.Status, v.reported.Origin)
	if v.reported.DesiredVersion != v.reported.Version {
		what += fmt.Sprintf("; version %d is desired", v.reported.DesiredVersion)
	}
	c.line("Document  ", what)
	if v.figures == nil {
		return
	}
	s := v.figures.System
	load := fmt.Sprintf("CPU %.0f %%, memory %s, up %s", s.CPUPercent, figure.Scaled(s.RSSBytes, "B"),
		figure.Ago(c.now(), c.now().Add(-time.Duration(s.UptimeS*float64(time.Second)))))
	if s.TemperatureC != nil {
		load += fmt.Sprintf(", %.0f °C", *s.TemperatureC)
	}
	c.line("System    ", load)
}

// line prints what is known, side by side.
func (c *command) line(label string, parts ...string) {
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	fmt.Fprintln(c.out, cut(label+clean(strings.Join(known, ", ")), c.width))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// list makes an empty list of none, for programs.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func (c *command) flows() *cobra.Command {
	return &cobra.Command{
		Use: "flows", Short: "List the flows and their inputs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := c.load(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(list(v.state.Flows))
			}
			c.printInputs(v)
			return nil
		},
	}
}

func (c *command) printInputs(v *view) {
	t := table{head: []string{"FLOW/INPUT", "PROTOCOL", "STATE", "SINCE", "BITRATE", "OUTPUTS", "REASON"}}
	for _, in := range v.inputs() {
		all, up := v.outputs(in.flow), 0
		for _, o := range all {
			if delivers(o.State) {
				up++
			}
		}
		t.add(in.flow+"/"+in.ID, in.protocol, dash(string(in.State)), figure.Ago(c.now(), in.Since), in.bitrate(),
			fmt.Sprintf("%d/%d", up, len(all)), why(in.Reason))
	}
	t.print(c.out, c.width)
}

func (c *command) outputs() *cobra.Command {
	return &cobra.Command{
		Use: "outputs [FLOW|FLOW/OUTPUT]", Short: "List the outputs, or show one in full",
		Args:              argsBetween(0, 1, "at most FLOW or FLOW/OUTPUT"),
		ValidArgsFunction: c.completeFlowsAndOutputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			flow, id := "", ""
			if len(args) == 1 {
				flow, id, _ = strings.Cut(args[0], "/")
			}
			v, err := c.load(cmd.Context())
			if err != nil {
				return err
			}
			all := v.outputs(flow)
			if id != "" {
				for _, o := range all {
					if o.ID == id {
						return c.showOutput(o)
					}
				}
				return fmt.Errorf("flow %s has no output %s", flow, id)
			}
			if flow != "" && !v.hasFlow(flow) {
				return fmt.Errorf("there is no flow %s", flow)
			}
			if c.json {
				docs := make([]object, 0, len(all))
				for _, o := range all {
					docs = append(docs, o.document())
				}
				return c.printJSON(docs)
			}
			c.printOutputs(v, flow)
			return nil
		},
	}
}

func (c *command) printOutputs(v *view, flow string) {
	t := table{head: []string{"FLOW/OUTPUT", "PROTOCOL", "STATE", "SINCE", "BITRATE", "VIEWERS", "REASON"}}
	for _, o := range v.outputs(flow) {
		t.add(o.flow+"/"+o.ID, o.settings.Protocol, dash(string(o.State)), figure.Ago(c.now(), o.Since), o.bitrate(),
			o.viewers(), why(o.Reason))
	}
	t.print(c.out, c.width)
}

// document joins what the box's documents say of one output.
func (o output) document() object {
	d := object{
		"flow": o.flow, "id": o.ID, "state": o.State, "reason": o.Reason, "since": o.Since, "viewers": o.Viewers,
		"protocol": o.settings.Protocol, "name": o.settings.Name, "playback_urls": list(o.settings.PlaybackURLs),
	}
	if o.figures != nil {
		d["figures"] = o.figures
	}
	return d
}

// showOutput prints all that is known of one output.
func (c *command) showOutput(o output) error {
	if c.json {
		return c.printJSON(o.document())
	}
	c.line("Output    ", o.flow+"/"+o.ID, o.settings.Name)
	c.line("Protocol  ", o.settings.Protocol)
	c.line("State     ", dash(string(o.State))+" for "+figure.Ago(c.now(), o.Since), why(o.Reason))
	for i, url := range o.settings.PlaybackURLs {
		if i == 0 {
			c.line("Play      ", url)
		} else {
			c.line("          ", url)
		}
	}
	f := o.figures
	if f == nil {
		return nil
	}
	c.line("Bitrate   ", figure.Bitrate(f.BitrateBps))
	c.line("Sent      ", figure.Scaled(f.Bytes, "B"), figure.Count(f.Packets.Sent, "packets"))
	if f.BytesAcked > 0 {
		c.line("Confirmed ", figure.Scaled(f.BytesAcked, "B"))
	}
	c.line("Lost      ", figure.Count(f.Packets.Lost, "packets"), figure.Count(f.Packets.Retransmitted, "sent again"), figure.Dropped(f.Packets.Dropped))
	if f.RTTMs > 0 || f.LatencyMs > 0 {
		advice := ""
		if ms := advised(f.SRT); ms > 0 {
			advice = fmt.Sprintf("%d ms or more advised", ms)
		}
		latency := ""
		if f.LatencyMs > 0 { // of SRT
			latency = fmt.Sprintf("latency %.0f ms", f.LatencyMs)
		}
		c.line("Network   ", fmt.Sprintf("round trip %.1f ms", f.RTTMs), latency, advice)
	}
	if n := f.Conversion; n != nil {
		c.line("Converted ", figure.Count(n.Frames, "frames"), figure.Count(n.Jumps, "jumps of the source's clock"), figure.Dropped(n.Dropped))
	}
	c.line("Peers     ", figure.Count(uint64(len(f.Sessions)), "now"), figure.Count(f.Reconnections, "reconnections"), figure.Count(f.Refused, "refused"))
	if len(f.Destinations) > 0 {
		fmt.Fprintln(c.out)
		t := table{head: []string{"DESTINATION", "STATE", "REASON"}}
		for _, d := range f.Destinations {
			t.add(d.Address, string(d.State), why(d.Reason))
		}
		t.print(c.out, c.width)
	}
	if len(f.Sessions) > 0 {
		fmt.Fprintln(c.out)
		t := table{head: []string{"SESSION", "PEER", "SINCE", "BITRATE"}}
		for _, s := range f.Sessions {
			t.add(s.ID, s.Peer, figure.Ago(c.now(), s.Since), figure.Bitrate(s.BitrateBps))
		}
		t.print(c.out, c.width)
	}
	return nil
}
