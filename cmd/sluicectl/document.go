package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/endpoint"
)

func (c *command) apply() *cobra.Command {
	var confirm time.Duration
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Apply a whole document",
		Long: `Apply a whole desired document, - for standard input. Without a version it
takes the next one. With --confirm the box goes back to what is in force now
unless 'sluicectl confirm' comes within that time.`,
		Args: argsBetween(1, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := c.readFile(args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("confirm") {
				if body, err = withCommit(body, confirm); err != nil {
					return err
				}
			}
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			return c.tell(b.Apply(cmd.Context(), body))
		},
	}
	cmd.Flags().DurationVar(&confirm, "confirm", 0, "`time` to confirm it, 10s to 24h, before the box goes back")
	return cmd
}

// documents are what get prints.
var documents = []string{"desired", "reported", "state", "telemetry", "info", "status", "schema", "commits", "saved", "candidate", "fleet", "clock"}

func (c *command) get() *cobra.Command {
	return &cobra.Command{
		Use: "get " + strings.Join(documents, "|"), Short: "Print a document of the box as JSON",
		Args: cobra.MatchAll(argsBetween(1, 1, "the name of one document"), func(_ *cobra.Command, args []string) error {
			if !slices.Contains(documents, args[0]) {
				return usagef("there is no document %q: use one of %s", args[0], strings.Join(documents, ", "))
			}
			return nil
		}),
		ValidArgs: documents,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			body, err := b.Document(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printJSON(body)
		},
	}
}

func (c *command) watch() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Short: "Show what changes, as it does",
		Long: `Show what changes, as it does, until it is interrupted. With --json, one line
for each document that the box sends, telemetry included.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			w := watcher{c: c, items: make(map[string]string)}
			err = b.Watch(cmd.Context(), func(name string, body json.RawMessage) error {
				if c.json {
					line, err := json.Marshal(struct {
						Name string          `json:"name"`
						Body json.RawMessage `json:"body"`
					}{name, body})
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(c.out, "%s\n", line)
					return err
				}
				return w.see(name, body)
			})
			if cmd.Context().Err() != nil {
				return nil // interrupted, as it should be
			}
			return err
		},
	}
}

// A watcher turns documents into lines about what is new in them.
type watcher struct {
	c       *command
	items   map[string]string // what was last said of each
	version uint64
}

func (w *watcher) see(name string, body json.RawMessage) error {
	switch name {
	case "state":
		var s config.StateReport
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("the state cannot be read: %w", err)
		}
		w.state(s)
	case "reported":
		var r config.Reported
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("the reported document cannot be read: %w", err)
		}
		if r.Version != w.version {
			w.version = r.Version
			w.say(r.Timestamp, "document", fmt.Sprintf("version %d, %s, from %s", r.Version, r.Status, r.Origin))
		}
	case "event":
		var e config.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("an event cannot be read: %w", err)
		}
		w.say(e.Timestamp, dash(e.Subject), e.Severity+": "+e.Message)
	case "status":
		var s config.Status
		if json.Unmarshal(body, &s) == nil {
			w.say(s.Timestamp, "box", s.State)
		}
	}
	return nil
}

func (w *watcher) state(s config.StateReport) {
	now := make(map[string]string)
	say := func(at time.Time, item, what string, r *endpoint.Reason) {
		if r != nil {
			what += ": " + r.Message
		}
		now[item] = what
		if w.items[item] != what {
			w.say(at, item, what)
		}
	}
	for _, u := range s.Uplinks {
		what := "down"
		if u.Ready {
			what = "ready " + strings.Join(u.Addresses, " ")
		}
		say(s.Timestamp, u.Name, what, u.Reason)
	}
	for _, f := range s.Flows {
		for _, i := range f.Inputs {
			say(i.Since, f.ID+"/"+i.ID+" (input)", string(i.State), i.Reason)
		}
		for _, o := range f.Outputs {
			what := string(o.State)
			if o.Viewers > 0 && o.State != relay.Disabled {
				what += fmt.Sprintf(" (%d)", o.Viewers)
			}
			at := o.Since
			if _, known := w.items[f.ID+"/"+o.ID]; known {
				at = s.Timestamp // the number of viewers or the reason may be all that is new
			}
			say(at, f.ID+"/"+o.ID, what, o.Reason)
		}
	}
	for _, a := range s.Alarms {
		say(a.Since, a.Subject, "alarm: "+a.Message, nil)
	}
	for item := range w.items {
		if _, there := now[item]; !there {
			w.say(s.Timestamp, item, "gone")
		}
	}
	w.items = now
}

func (w *watcher) say(at time.Time, item, what string) {
	fmt.Fprintf(w.c.out, "%s  %-20s  %s\n", at.Local().Format(time.TimeOnly), clean(item), clean(what))
}
