package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/device/console/figure"
	"sluice/provisioning/config"
)

func (c *command) uplinks() *cobra.Command {
	return &cobra.Command{
		Use: "uplinks", Short: "List the NIC roles", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := c.load(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(list(v.state.Uplinks))
			}
			c.printNICs(cmd.Context(), v)
			return nil
		},
	}
}

// printUplinks prints what an overview needs.
func (c *command) printUplinks(v *view) {
	t := table{head: []string{"UPLINK", "NIC", "STATE", "IN", "OUT", "ADDRESSES"}}
	for _, u := range v.state.Uplinks {
		state, what := readiness(u)
		in, out := v.rates(u.Name)
		t.add(u.Name, dash(u.Interface), state, in, out, what)
	}
	t.print(c.out, c.width)
}

// printNICs prints all that is known of the uplinks.
func (c *command) printNICs(ctx context.Context, v *view) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // good to have, no more
	defer cancel()
	var info config.Info
	_ = read(ctx, c.box, "info", &info)
	t := table{head: []string{"UPLINK", "NIC", "DRIVER", "SPEED", "CARRIER", "STATE", "IN", "OUT", "GATEWAY", "ADDRESSES"}}
	for _, u := range v.state.Uplinks {
		driver, speed, carrier := "", "", "no"
		for _, n := range info.Interfaces {
			if n.Name == u.Interface {
				driver = n.Driver
				if n.SpeedMbps > 0 {
					speed = figure.Bitrate(uint64(n.SpeedMbps) * 1e6)
				}
			}
		}
		if u.Carrier {
			carrier = "yes"
		}
		state, what := readiness(u)
		if u.Ready && u.Routing != nil {
			what += "; " + why(u.Routing)
		}
		in, out := v.rates(u.Name)
		t.add(u.Name, dash(u.Interface), dash(driver), dash(speed), carrier, state, in, out, dash(strings.Join(u.Gateways, " ")), what)
	}
	t.print(c.out, c.width)
}

// readiness returns the state, and the addresses or why there is no use in them.
func readiness(u config.UplinkState) (state, what string) {
	if !u.Ready {
		return "down", why(u.Reason)
	}
	return "ready", strings.Join(u.Addresses, " ")
}

// rates returns what passes through an uplink's NIC.
func (v *view) rates(name string) (in, out string) {
	if f := v.uplinkFigures(name); f != nil {
		return figure.Bitrate(f.RxBps), figure.Bitrate(f.TxBps)
	}
	return "-", "-"
}

// tests are what can be tried. Each word of args fills a field of the request.
var tests = []struct {
	name, args, short string
	fields            []string
}{
	{"link", "UPLINK", "Is the uplink ready?", []string{"uplink"}},
	{"ping", "UPLINK HOST", "Does a host answer ICMP echo requests?", []string{"uplink", "host"}},
	{"dns", "UPLINK NAME", "Which addresses does a name have there?", []string{"uplink", "host"}},
	{"tcp", "UPLINK HOST PORT", "Does a host accept TCP connections?", []string{"uplink", "host", "port"}},
	{"srt", "UPLINK HOST PORT", "Does an SRT listener answer?", []string{"uplink", "host", "port"}},
	{"ntp", "UPLINK HOST", "What is the clock of the box by a time server?", []string{"uplink", "host"}},
	{"multicast", "UPLINK GROUP PORT", "Does anything come to a multicast group?", []string{"uplink", "host", "port"}},
	{"fleet", "", "Can the fleet's broker be reached, through each uplink that leads to it?", nil},
	{"output", "FLOW/OUTPUT", "Can the destinations of an output be reached?", []string{"output"}},
}

func (c *command) test() *cobra.Command {
	root := &cobra.Command{
		Use: "test", Short: "Try what can be reached through one uplink",
		Long: `Try what can be reached through one uplink.

The box tries it, from the uplink's NIC and address and with its name servers.
The exit status is 1 where it does not work.`,
		Example: `  sluicectl test link wan0
  sluicectl test srt wan1 hub.example.com 7000
  sluicectl test output stage/hub`,
		RunE: ofGroup,
	}
	for _, test := range tests {
		cmd := &cobra.Command{
			Use: strings.TrimSpace(test.name + " " + test.args), Short: test.short,
			Args: argsBetween(len(test.fields), len(test.fields), cmp.Or(test.args, "none")),
			RunE: func(cmd *cobra.Command, args []string) error {
				data := object{"test": test.name}
				for i, field := range test.fields {
					switch field {
					case "port":
						port, err := strconv.Atoi(args[i])
						if err != nil {
							return usagef("%q is no port", args[i])
						}
						data["port"] = port
					case "output":
						r, err := parseRef(args[i])
						if err != nil {
							return err
						}
						data["flow"], data["output"] = r.flow, r.output
					default:
						data[field] = args[i]
					}
				}
				return c.try(cmd.Context(), data)
			},
		}
		if test.name == "output" {
			cmd.ValidArgsFunction = c.completeOutputs
		}
		root.AddCommand(cmd)
	}
	return root
}

// try has the box try something, and tells how it went.
func (c *command) try(ctx context.Context, data object) error {
	b, err := c.connect(ctx)
	if err != nil {
		return err
	}
	body, err := b.Request(ctx, "test", data)
	if err != nil {
		return err
	}
	var r config.TestResult
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if c.json {
		if err := c.printJSON(body); err != nil {
			return err
		}
	} else {
		c.printResult(r, "")
	}
	if !r.OK {
		return errTold
	}
	return nil
}

// printResult tells how a test went, and those that it is made of.
func (c *command) printResult(r config.TestResult, indent string) {
	label := indent + r.Test
	if r.Uplink != "" {
		label += " through " + r.Uplink
		if r.Interface != "" {
			label += " (" + r.Interface + ")"
		}
	}
	verdict := "ok"
	if !r.OK {
		verdict = "failed"
	}
	c.line(label+": ", verdict+": "+r.Message)
	if r.TimeMS > 0 {
		c.line(indent+"Time       ", fmt.Sprintf("%.1f ms", r.TimeMS))
	}
	if r.OffsetMS != nil {
		c.line(indent+"Offset     ", fmt.Sprintf("%.1f ms", *r.OffsetMS))
	}
	if len(r.Addresses) > 0 {
		c.line(indent+"Addresses  ", r.Addresses...)
	}
	if len(r.Sources) > 0 {
		c.line(indent+"Sources    ", r.Sources...)
	}
	for _, each := range r.Results {
		c.printResult(each, indent+"  ")
	}
}
