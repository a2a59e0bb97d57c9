package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sluice/device/console/figure"
	"sluice/provisioning/config"
)

func (c *command) srt() *cobra.Command {
	return &cobra.Command{
		Use: "srt [FLOW|FLOW/ITEM]", Short: "Show the SRT connections in figures, and which latency suits them",
		Long: `Show the SRT connections of inputs and outputs in figures, and which latency
suits them.

Times are in milliseconds. LATENCY is what both sides agreed upon; LOST and
RESENT are parts of the packets since the connection began, DROPPED came too
late to be of use. BUFFER is what waits for its time or to be acknowledged,
FLIGHT are packets that are not acknowledged yet, DRIFT is the peer's clock
against ours. --json has all that is known.`,
		Example: `  sluicectl srt
  sluicectl srt stage/hub
  sluicectl output set stage/hub srt.latency_ms=240`,
		Args:              argsBetween(0, 1, "at most FLOW, FLOW/INPUT or FLOW/OUTPUT"),
		ValidArgsFunction: c.completeSRT,
		RunE: func(cmd *cobra.Command, args []string) error {
			flow, item := "", ""
			if len(args) == 1 {
				flow, item, _ = strings.Cut(args[0], "/")
			}
			v, err := c.load(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case flow != "" && !v.hasFlow(flow):
				return fmt.Errorf("there is no flow %s", flow)
			case item != "" && !v.hasItem(flow, item):
				return fmt.Errorf("flow %s has no input or output %s", flow, item)
			}
			if err := c.awaitFigures(cmd.Context(), v); err != nil {
				return err
			}
			all := v.connections(flow, item)
			switch {
			case c.json:
				return c.printJSON(list(all))
			case len(all) > 0:
				c.printConnections(all)
			case flow == "":
				fmt.Fprintln(c.out, "The box has no SRT connections.")
			case item == "":
				fmt.Fprintf(c.out, "Flow %s has no SRT connections.\n", flow)
			default:
				fmt.Fprintf(c.out, "%s/%s has no SRT connections.\n", flow, item)
			}
			return nil
		},
	}
}

// awaitFigures waits for telemetry where there is none yet: a broker keeps no
// copy of it, and the box's next comes in its own time.
func (c *command) awaitFigures(ctx context.Context, v *view) error {
	if v.figures != nil {
		return nil
	}
	fmt.Fprintln(c.err, "Waiting for the box's figures, which come about every 10 s.")
	var t config.Telemetry
	if err := read(ctx, c.box, "telemetry", &t); err != nil {
		return fmt.Errorf("no figures came: %w", err)
	}
	v.figures = &t
	return nil
}

// The directions of a connection, as the box sees them.
const (
	inward  = "in"
	outward = "out"
)

// A connection is an SRT connection of an input or output.
type connection struct {
	Flow      string `json:"flow"`
	Item      string `json:"item"`
	Direction string `json:"direction"`
	config.LinkFigures
}

// connections returns those of one item, of one flow for an empty item, or of
// every flow for an empty id.
func (v *view) connections(flow, item string) []connection {
	var all []connection
	add := func(in, id, direction string, links []config.LinkFigures) {
		if flow != "" && in != flow || item != "" && id != item {
			return
		}
		for _, l := range links {
			all = append(all, connection{in, id, direction, l})
		}
	}
	for _, f := range v.figures.Flows {
		for _, i := range f.Inputs {
			add(f.ID, i.ID, inward, i.SRT)
		}
		for _, o := range f.Outputs {
			add(f.ID, o.ID, outward, o.SRT)
		}
	}
	return all
}

// String names the connection by its item and peer.
func (l connection) String() string {
	if l.Direction == inward {
		return l.Flow + "/" + l.Item + " from " + l.Peer
	}
	return l.Flow + "/" + l.Item + " to " + l.Peer
}

// traffic is the half of a connection's figures that its direction is about.
type traffic struct {
	packets, lost, again, dropped uint64
	mbps, latency, buffer         float64 // times in ms
	flight, drift                 string
}

func (l connection) traffic() traffic {
	if l.Direction == inward {
		return traffic{
			l.PktRecv, l.PktRcvLoss, l.PktRcvRetrans, l.PktRcvDrop,
			l.MbpsRecvRate, l.MsRcvTsbPdDelay, l.MsRcvBuf, "-", figure.Short(l.MsDrift),
		}
	}
	return traffic{
		l.PktSent, l.PktSndLoss, l.PktRetrans, l.PktSndDrop,
		l.MbpsSendRate, l.MsSndTsbPdDelay, l.MsSndBuf, strconv.FormatUint(l.PktFlightSize, 10), "-",
	}
}

// printConnections prints the connections, and what to change.
func (c *command) printConnections(all []connection) {
	t := table{head: []string{
		"FLOW/ITEM AND PEER, TIMES IN MS", "RTT", "VAR", "LATENCY", "RATE", "LOST", "RESENT", "DROPPED", "BUFFER", "FLIGHT", "DRIFT",
	}}
	for _, l := range all {
		name, f := l.String(), l.traffic()
		if l.Session != "" {
			name += ", session " + prefix(l.Session, 8)
		}
		t.add(name, figure.Short(l.MsRTT), figure.Short(l.MsRTTVar), figure.Short(f.latency), figure.Bitrate(uint64(f.mbps*1e6)),
			figure.Percent(f.lost, f.packets)+"%", figure.Percent(f.again, f.packets)+"%", strconv.FormatUint(f.dropped, 10),
			figure.Short(f.buffer), f.flight, f.drift)
	}
	t.print(c.out, c.width)
	said := false
	for _, l := range all {
		advice := l.advice()
		if advice == "" {
			continue
		}
		if !said {
			fmt.Fprintln(c.out)
			said = true
		}
		c.sentence(advice)
	}
}

// advice is a sentence where the latency in use is less than the path wants.
// The larger of both sides' latencies is used, so that ours alone will do.
func (l connection) advice() string {
	f := l.traffic()
	if float64(l.AdvisedLatencyMs) <= f.latency {
		return ""
	}
	return fmt.Sprintf("%v: use latency_ms %d or more (round trip %s ms +- %s, %s %% lost; %s ms is in use)",
		l, l.AdvisedLatencyMs, figure.Short(l.MsRTT), figure.Short(l.MsRTTVar), figure.Percent(f.lost, f.packets), figure.Short(f.latency))
}

// advised is the latency that suits all the connections, 0 where none is known.
func advised(links []config.LinkFigures) int {
	most := 0
	for _, l := range links {
		most = max(most, l.AdvisedLatencyMs)
	}
	return most
}

// prefix returns the first n bytes of an ASCII id.
func prefix(id string, n int) string { return id[:min(n, len(id))] }

// sentence prints one that may take several lines.
func (c *command) sentence(text string) {
	text = clean(text)
	if c.width <= 0 {
		fmt.Fprintln(c.out, text)
		return
	}
	for i, part := range wrap(text, c.width-2*len(gap)) {
		if i > 0 {
			part = gap + gap + part
		}
		fmt.Fprintln(c.out, part)
	}
}
