package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
					speed = bitrate(uint64(n.SpeedMbps) * 1e6)
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
		return bitrate(f.RxBps), bitrate(f.TxBps)
	}
	return "-", "-"
}

// tests are what can be tried through an uplink.
var tests = []struct {
	name, args, short string
	port              bool
}{
	{"link", "UPLINK", "Is the uplink ready?", false},
	{"ping", "UPLINK HOST", "Does a host answer ICMP echo requests?", false},
	{"dns", "UPLINK NAME", "Which addresses does a name have there?", false},
	{"tcp", "UPLINK HOST PORT", "Does a host accept TCP connections?", true},
	{"srt", "UPLINK HOST PORT", "Does an SRT listener answer?", true},
}

func (c *command) test() *cobra.Command {
	root := &cobra.Command{
		Use: "test", Short: "Try what can be reached through one uplink",
		Long: `Try what can be reached through one uplink.

The box tries it, from the uplink's NIC and address and with its name servers.
The exit status is 1 where it does not work.`,
		Example: `  sluicectl test link wan0
  sluicectl test srt wan1 hub.example.com 7000`,
	}
	for _, test := range tests {
		root.AddCommand(&cobra.Command{
			Use: test.name + " " + test.args, Short: test.short,
			Args: cobra.ExactArgs(len(strings.Fields(test.args))),
			RunE: func(cmd *cobra.Command, args []string) error {
				data := object{"test": test.name, "uplink": args[0]}
				if len(args) > 1 {
					data["host"] = args[1]
				}
				if test.port {
					port, err := strconv.Atoi(args[2])
					if err != nil {
						return usagef("%q is no port", args[2])
					}
					data["port"] = port
				}
				return c.try(cmd.Context(), data)
			},
		})
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
		verdict := "ok"
		if !r.OK {
			verdict = "failed"
		}
		c.line(fmt.Sprintf("%s through %s (%s): ", r.Test, r.Uplink, dash(r.Interface)), verdict+": "+r.Message)
		if r.TimeMS > 0 {
			c.line("Time       ", fmt.Sprintf("%.1f ms", r.TimeMS))
		}
		if len(r.Addresses) > 0 {
			c.line("Addresses  ", r.Addresses...)
		}
	}
	if !r.OK {
		return errTold
	}
	return nil
}
