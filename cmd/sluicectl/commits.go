package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice/provisioning/config"
)

func (c *command) commits() *cobra.Command {
	return &cobra.Command{
		Use: "commits", Short: "Show what is to be confirmed, and what was in force before",
		Long: `Show the document that is in force until it is confirmed, if there is one, and
those that the box keeps, the newest first. Over the broker the former alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			body, err := b.Document(cmd.Context(), "commits")
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(body)
			}
			var all config.Commits
			if err := json.Unmarshal(body, &all); err != nil {
				return fmt.Errorf("the commits cannot be read: %w", err)
			}
			c.printCommits(all)
			return nil
		},
	}
}

func (c *command) printCommits(all config.Commits) {
	if p := all.Pending; p == nil {
		fmt.Fprintln(c.out, "No commit is pending.")
	} else {
		by := "'sluicectl confirm'"
		if p.How == "session" {
			by = "the box's session with its broker, or by " + by
		}
		fmt.Fprintf(c.out, "Version %d goes back at %s unless it is confirmed by %s.\nCommit   %s\n",
			p.Version, p.ConfirmBy.Local().Format(time.TimeOnly), by, clean(p.ID))
	}
	if len(all.Commits) == 0 {
		return
	}
	fmt.Fprintln(c.out)
	t := table{head: []string{"N", "VERSION", "ORIGIN", "BY", "RECEIVED", "COMMENT"}}
	for _, p := range all.Commits {
		t.add(fmt.Sprint(p.N), fmt.Sprint(p.Version), dash(p.Origin), dash(p.By), p.ReceivedAt.Local().Format(time.DateTime), dash(p.Comment))
	}
	t.print(c.out, c.width)
}

func (c *command) confirm() *cobra.Command {
	return c.settle("confirm", "Keep the document that is in force until it is confirmed", "Version %d stays in force.\n")
}

func (c *command) cancel() *cobra.Command {
	return c.settle("cancel", "Go back from a document that was not confirmed", "Version %d is in force again.\n")
}

// settle makes the command that confirms or cancels.
func (c *command) settle(action, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: action + " [ID]", Short: short,
		Long: short + `.
ID is that of the commit, as 'sluicectl commits' shows it: without one it is
whichever is pending.`,
		Args: argsBetween(0, 1, "at most the ID of a commit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			version, err := b.Settle(cmd.Context(), action, id)
			var refused *config.Rejected
			switch {
			case errors.As(err, &refused):
				c.tellFaults(refused)
				return errTold
			case err != nil:
				return err
			case c.json:
				return c.printJSON(map[string]uint64{"version": version})
			}
			fmt.Fprintf(c.out, done, version)
			return nil
		},
	}
}

// withCommit asks in a document for a commit of its own.
func withCommit(document []byte, within time.Duration) ([]byte, error) {
	seconds := int(within / time.Second)
	if seconds < 10 || seconds > 86400 || within%time.Second != 0 {
		return nil, usagef("--confirm is %v: use whole seconds, 10s to 24h", within)
	}
	doc, err := decode(bytes.TrimSpace(document))
	if err != nil {
		return nil, err
	}
	doc["commit"] = map[string]any{"id": rand.Text()[:8], "rollback_s": seconds}
	return json.Marshal(doc)
}
