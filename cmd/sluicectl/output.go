package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/provisioning/config"
	"sluice/relay"
)

func (c *command) output() *cobra.Command {
	group := &cobra.Command{
		Use: "output", Short: "Add, change, remove and switch outputs",
		RunE: ofGroup,
	}
	group.AddCommand(c.outputAdd(), c.outputSet(), c.outputRm(), c.outputSwitch("enable", true),
		c.outputSwitch("disable", false), c.outputKick())
	return group
}

// ofGroup is what a command does that only leads to others.
func ofGroup(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("there is no command %q in %s", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

// The object of each protocol in an output.
var protocolObject = map[string]string{
	relay.SRT: "srt", relay.RTMP: "rtmp", relay.RTMPPush: "rtmp", relay.RTMPPull: "rtmp", relay.RTP: "rtp", relay.RTSP: "rtsp",
}

// addFlags are the common fields of a new output. Those that stay empty are
// left to the box's defaults.
type addFlags struct {
	protocol, name, description, uplink, region string
	allow, to, set                              []string
	maxViewers, dscp                            int
	disabled                                    bool
	mode, streamID, path, app, encapsulation    string
	port, latency, keyLength, ttl               int
	file                                        string
	secrets                                     secretFlags
}

func (c *command) outputAdd() *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use: "add FLOW OUTPUT --protocol PROTOCOL [flags]", Short: "Add an output to a flow",
		Long: `Add an output to a flow.

What has no flag of its own is set by --set, with the name that it has in the
document; or the whole output is read from a JSON file.`,
		Example: `  sluicectl output add stage wall --protocol SRT --mode listener --port 9100
  sluicectl output add stage hub --protocol SRT --mode caller \
      --to hub.example.com:7000 --key-length 32 --passphrase-file hub.pass
  sluicectl output add stage headend --protocol RTP --to 239.1.1.1:5004 \
      --uplink lan0 --set rtp.destinations.0.uplink=lan1`,
		Args:              argsBetween(1, 2, "FLOW and OUTPUT"),
		ValidArgsFunction: c.completeFlows,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseRefs(args)
			if err != nil {
				return err
			}
			if len(refs) != 1 {
				return usagef("one output at a time")
			}
			r := refs[0]
			o, err := c.build(r, &f, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			version, err := c.change(cmd.Context(), func(d *draft) error { return d.add(r, o) })
			if err != nil || c.json {
				return err
			}
			c.showPlayback(cmd.Context(), r, version)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.protocol, "protocol", "", "SRT, RTMP_PUSH, RTMP_PULL, RTP or RTSP")
	fl.StringVar(&f.name, "name", "", "shown to operators (default OUTPUT)")
	fl.StringVar(&f.description, "description", "", "for operators")
	fl.StringVar(&f.uplink, "uplink", "", "NIC `role` (default the box's default uplink)")
	fl.StringVar(&f.region, "region", "", "where the stream goes; selects an uplink")
	fl.StringSliceVar(&f.allow, "allow", nil, "`CIDR` that may connect; may be repeated (default everyone)")
	fl.IntVar(&f.maxViewers, "max-viewers", 0, "sessions at a time of a listening output")
	fl.IntVar(&f.dscp, "dscp", 0, "Differentiated Services code point, 0-63")
	fl.BoolVar(&f.disabled, "disabled", false, "add it switched off")
	fl.StringVar(&f.mode, "mode", "", "SRT: listener or caller; RTSP: serve or announce")
	fl.IntVar(&f.port, "port", 0, "port to listen on")
	fl.StringSliceVar(&f.to, "to", nil, "`destination`: HOST:PORT, or a URL for RTMP_PUSH and RTSP; may be repeated")
	fl.IntVar(&f.latency, "latency-ms", 0, "SRT: receiver buffer in milliseconds")
	fl.IntVar(&f.keyLength, "key-length", 0, "SRT: AES key length in bytes: 16, 24 or 32")
	fl.StringVar(&f.streamID, "stream-id", "", "SRT: stream id")
	fl.StringVar(&f.app, "app", "", "RTMP_PULL: application name")
	fl.StringVar(&f.path, "path", "", "RTSP: path that is served")
	fl.StringVar(&f.encapsulation, "encapsulation", "", "RTP: rtp or udp")
	fl.IntVar(&f.ttl, "ttl", 0, "RTP: time to live")
	fl.StringArrayVar(&f.set, "set", nil, "`field=value` of the document, such as srt.peer_idle_timeout_ms=8000; may be repeated")
	fl.StringVar(&f.file, "file", "", "`file` with the output as a JSON object, - for standard input; flags are put on top")
	f.secrets.register(fl)
	completeWords(cmd, "protocol", relay.SRT, relay.RTMPPush, relay.RTMPPull, relay.RTP, relay.RTSP)
	completeWords(cmd, "mode", "listener", "caller", "serve", "announce")
	completeWords(cmd, "encapsulation", "rtp", "udp")
	completeWords(cmd, "key-length", "16", "24", "32")
	return cmd
}

// build makes the new output of the flags; changed tells which figures were given.
func (c *command) build(r ref, f *addFlags, changed func(flag string) bool) (object, error) {
	o := object{}
	if f.file != "" {
		body, err := c.readFile(f.file)
		if err != nil {
			return nil, err
		}
		if o, err = decode(body); err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
	}
	o["id"] = r.output
	if f.protocol != "" {
		o["protocol"] = strings.ToUpper(f.protocol)
	}
	protocol, _ := o["protocol"].(string)
	name, known := protocolObject[protocol]
	if !known {
		return nil, usagef("--protocol is %q: use SRT, RTMP_PUSH, RTMP_PULL, RTP or RTSP", f.protocol)
	}
	if _, ok := o[name].(object); !ok {
		o[name] = object{}
	}
	sub := o[name].(object)
	for _, t := range []struct {
		in    object
		field string
		text  string
	}{
		{o, "name", f.name},
		{o, "description", f.description},
		{o, "uplink", f.uplink},
		{o, "region", f.region},
		{sub, "mode", f.mode},
		{sub, "stream_id", f.streamID},
		{sub, "path", f.path},
		{sub, "app", f.app},
		{sub, "encapsulation", f.encapsulation},
	} {
		if t.text != "" {
			t.in[t.field] = t.text
		}
	}
	for _, n := range []struct {
		flag   string
		in     object
		field  string
		figure int
	}{
		{"max-viewers", o, "max_viewers", f.maxViewers},
		{"dscp", o, "dscp", f.dscp},
		{"port", sub, "port", f.port},
		{"latency-ms", sub, "latency_ms", f.latency},
		{"key-length", sub, "key_length", f.keyLength},
		{"ttl", sub, "ttl", f.ttl},
	} {
		if changed(n.flag) {
			n.in[n.field] = n.figure
		}
	}
	if o["name"] == nil {
		o["name"] = r.output
	}
	if len(f.allow) > 0 {
		o["allow"] = f.allow
	}
	if f.disabled {
		o["enabled"] = false
	}
	if err := destinations(protocol, sub, f.to); err != nil {
		return nil, err
	}
	for _, s := range f.set {
		path, text, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef("--set wants field=value")
		}
		if err := setField(o, path, text); err != nil {
			return nil, err
		}
	}
	return o, c.putSecrets(o, &f.secrets)
}

// destinations puts --to where the protocol has it.
func destinations(protocol string, sub object, to []string) error {
	if len(to) == 0 {
		return nil
	}
	if protocol == relay.RTSP {
		if len(to) > 1 {
			return usagef("RTSP has one destination")
		}
		sub["url"] = to[0]
		return nil
	}
	var all []any
	for _, t := range to {
		if protocol == relay.RTMP || protocol == relay.RTMPPush {
			all = append(all, object{"url": t})
			continue
		}
		host, port, err := net.SplitHostPort(t)
		n, bad := strconv.Atoi(port)
		if err != nil || bad != nil {
			return usagef("--to is %q: use HOST:PORT, such as 192.0.2.1:7000 or [2001:db8::1]:7000", t)
		}
		all = append(all, object{"host": host, "port": n})
	}
	sub["destinations"] = all
	return nil
}

func (c *command) outputSet() *cobra.Command {
	var secrets secretFlags
	cmd := &cobra.Command{
		Use: "set FLOW/OUTPUT [field=value ...]", Short: "Change fields of an output",
		Long: `Change fields of an output, by the names that they have in the document.
null takes a field away, and with it back to its default.`,
		Example: `  sluicectl output set stage/wall name="Monitor wall" max_viewers=8 srt.latency_ms=200
  sluicectl output set stage/wall allow="10.0.0.0/8;192.168.1.0/24"
  sluicectl output set stage/hub srt.destinations.0.port=7001 --ask-passphrase`,
		Args:              argsBetween(1, 100, "FLOW/OUTPUT and fields"),
		ValidArgsFunction: c.completeSet,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err != nil {
				return err
			}
			if len(args) == 1 && !secrets.given() {
				return usagef("nothing to set: give field=value")
			}
			_, err = c.change(cmd.Context(), func(d *draft) error {
				return d.edit(r, func(o object) error {
					for _, a := range args[1:] {
						path, text, ok := strings.Cut(a, "=")
						if !ok {
							return usagef("%d arguments, and one of them is not field=value", len(args))
						}
						if err := setField(o, path, text); err != nil {
							return err
						}
					}
					return c.putSecrets(o, &secrets)
				})
			})
			return err
		},
	}
	secrets.register(cmd.Flags())
	return cmd
}

func (c *command) outputRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm FLOW/OUTPUT...", Aliases: []string{"remove"}, Short: "Remove outputs",
		Args: argsBetween(1, 100, "FLOW/OUTPUT"), ValidArgsFunction: c.completeOutputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeEach(cmd.Context(), args, (*draft).remove)
		},
	}
}

func (c *command) outputSwitch(verb string, on bool) *cobra.Command {
	short := "Switch outputs on"
	if !on {
		short = "Switch outputs off: keep them, close their sockets"
	}
	return &cobra.Command{
		Use: verb + " FLOW/OUTPUT...", Short: short,
		Args: argsBetween(1, 100, "FLOW/OUTPUT"), ValidArgsFunction: c.completeOutputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeEach(cmd.Context(), args, func(d *draft, r ref) error {
				return d.edit(r, func(o object) error { o["enabled"] = on; return nil })
			})
		},
	}
}

// changeEach makes the same edit to several outputs, in one document.
func (c *command) changeEach(ctx context.Context, args []string, edit func(*draft, ref) error) error {
	refs, err := parseRefs(args)
	if err != nil {
		return err
	}
	_, err = c.change(ctx, func(d *draft) error {
		for _, r := range refs {
			if err := edit(d, r); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (c *command) outputKick() *cobra.Command {
	var session string
	cmd := &cobra.Command{
		Use: "kick FLOW/OUTPUT --session ID", Short: "Disconnect a viewer of an output",
		Long:              "Disconnect a viewer of an output. 'sluicectl outputs FLOW/OUTPUT' lists the sessions.",
		Args:              argsBetween(1, 2, "FLOW/OUTPUT"),
		ValidArgsFunction: c.completeOutputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseRefs(args)
			if err != nil {
				return err
			}
			if len(refs) != 1 || session == "" {
				return usagef("say which session: one output, and --session ID")
			}
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			data, err := b.Request(cmd.Context(), "output-kick",
				object{"flow": refs[0].flow, "output": refs[0].output, "session": session})
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(data)
			}
			fmt.Fprintf(c.out, "Session %s of %s is disconnected.\n", session, refs[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&session, "session", "", "`id` of the session")
	completeBy(cmd, "session", c.completeSessions)
	return cmd
}

// showPlayback says where a new output can be played, once the box has told.
func (c *command) showPlayback(ctx context.Context, r ref, version uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		body, err := c.box.Document(ctx, "reported")
		if err != nil {
			return
		}
		var now config.Reported
		v := &view{}
		if json.Unmarshal(body, &now) != nil || json.Unmarshal(now.State, &v.settings) != nil {
			return
		}
		if now.Version >= version {
			for _, f := range v.settings.Flows {
				for _, o := range f.Outputs {
					if f.ID == r.flow && o.ID == r.output {
						for _, url := range o.PlaybackURLs {
							c.line("Play: ", url)
						}
					}
				}
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// argsBetween wants between low and high arguments.
func argsBetween(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			s := "s"
			if len(args) == 1 {
				s = ""
			}
			return usagef("%d argument%s: give %s", len(args), s, what)
		}
		return nil
	}
}
