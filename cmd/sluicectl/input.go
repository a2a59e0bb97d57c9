package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sluice/device/console/figure"
	"sluice/provisioning/config"
	"sluice/relay"
)

func (c *command) input() *cobra.Command {
	return &cobra.Command{
		Use: "input [FLOW|FLOW/INPUT]", Short: "Show what a source brings: programmes, PIDs, codecs, rates",
		Long: `Show what a source brings: programmes, PIDs, codecs, rates.

The box looks at each input in use for about 3 s, or for up to 11 s where key
frames are far apart. The last column tells whether outputs that the stream has
to be converted for carry it: RTMP where the source is MPEG-TS, MPEG-TS where
it is RTMP. Of an RTMP source, PIDs and programme are those that MPEG-TS
outputs get. --json prints one object for a flow, a list for all.`,
		Example: `  sluicectl input
  sluicectl input stage
  sluicectl input stage/enc-a --json`,
		Args:              argsBetween(0, 1, "at most FLOW or FLOW/INPUT"),
		ValidArgsFunction: c.completeInputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			v, err := c.load(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				flow, id, _ := strings.Cut(args[0], "/")
				body, seen, err := c.inspect(ctx, v, flow, id)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(body)
				}
				c.printInspection(seen)
				return nil
			}
			bodies := []json.RawMessage{}
			for i, f := range v.settings.Flows {
				body, seen, err := c.inspect(ctx, v, f.ID, "")
				if err != nil {
					return err
				}
				if bodies = append(bodies, body); c.json {
					continue
				}
				if i > 0 {
					fmt.Fprintln(c.out)
				}
				c.printInspection(seen)
			}
			switch {
			case c.json:
				return c.printJSON(bodies)
			case len(bodies) == 0:
				fmt.Fprintln(c.out, "The box has no flows.")
			}
			return nil
		},
	}
}

// inspect has the box look at the input in use of a flow, which is to be the
// one that is named, if any.
func (c *command) inspect(ctx context.Context, v *view, flow, id string) (body json.RawMessage, seen config.Inspection, err error) {
	if !v.hasFlow(flow) {
		return nil, seen, fmt.Errorf("there is no flow %s", flow)
	}
	if id != "" && !v.hasInput(flow, id) {
		return nil, seen, fmt.Errorf("flow %s has no input %s", flow, id)
	}
	for _, in := range v.flowState(flow).Inputs {
		if in.ID == id && in.State == relay.Standby {
			return nil, seen, fmt.Errorf("%s/%s is in standby: %s", flow, id, why(in.Reason))
		}
	}
	if body, err = c.box.Request(ctx, "input-inspect", object{"flow": flow}); err != nil {
		return nil, seen, err
	}
	if err := json.Unmarshal(body, &seen); err != nil {
		return nil, seen, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if id != "" && seen.Input != id {
		return nil, seen, fmt.Errorf("%s/%s is not in use: %s is", flow, id, seen.Input)
	}
	return body, seen, nil
}

func (v *view) hasInput(flow, id string) bool {
	for _, in := range v.inputs() {
		if in.flow == flow && in.ID == id {
			return true
		}
	}
	return false
}

// printInspection prints a source: a table for each programme.
func (c *command) printInspection(v config.Inspection) {
	parts := []string{v.Flow + "/" + v.Input, v.Protocol}
	if v.Carriage != "" && v.Carriage != v.Protocol {
		parts = append(parts, v.Carriage)
	}
	c.paragraph("Input      ", strings.Join(parts, ", "))
	state := dash(string(v.State))
	if v.BitrateBps > 0 {
		state += ", " + figure.Bitrate(v.BitrateBps)
	}
	if v.Reason != nil {
		state += ": " + why(v.Reason)
	}
	c.paragraph("State      ", state)
	if v.Note != "" {
		c.paragraph("Note       ", v.Note)
	}
	for _, p := range v.Programs {
		fmt.Fprintln(c.out)
		how := "not taken"
		switch {
		case v.Carriage == config.CarriageRTMP:
			how = "as MPEG-TS outputs get it"
		case p.Taken:
			how = "taken"
		}
		c.line("Programme  ", strconv.Itoa(int(p.Number)), "PMT "+figure.PID(p.PMTPID), how)
		if len(p.Streams) == 0 {
			c.line("           ", "no streams are known")
			continue
		}
		t := table{head: []string{"PID", "TYPE", "CODEC", "FORMAT", "BITRATE", "TO " + v.Conversion}}
		for _, s := range p.Streams {
			carried := "yes"
			if !s.Carried {
				carried = "no: " + dash(s.LeftOut)
			}
			t.add(figure.PID(s.PID), s.Type, dash(s.Codec), format(s), figure.Bitrate(s.BitrateBps), carried)
		}
		t.print(c.out, c.width)
	}
}

// format is what is known of pictures or sound.
func format(s config.InspectedStream) string {
	var parts []string
	if s.Width > 0 {
		parts = append(parts, fmt.Sprintf("%dx%d", s.Width, s.Height))
	}
	if s.FrameRate > 0 {
		parts = append(parts, figure.Decimals(s.FrameRate, 2)+" fps")
	}
	if s.SampleRate > 0 {
		parts = append(parts, figure.Decimals(float64(s.SampleRate)/1000, 3)+" kHz")
	}
	if s.Channels > 0 {
		parts = append(parts, fmt.Sprintf("%d ch", s.Channels))
	}
	return dash(strings.Join(parts, " "))
}

// paragraph prints a sentence beside its label, on as many lines as it takes.
func (c *command) paragraph(label, text string) {
	lines := []string{clean(text)}
	if c.width > 0 {
		lines = wrap(lines[0], c.width-len(label))
	}
	for _, line := range lines {
		fmt.Fprintln(c.out, label+line)
		label = strings.Repeat(" ", len(label))
	}
}
