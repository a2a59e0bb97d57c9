package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// maxTyped bounds what is typed where something is asked, in bytes.
const maxTyped = 256

func (c *command) explain() *cobra.Command {
	return &cobra.Command{
		Use: "explain FLOW/OUTPUT", Short: "Say why an output is as it is",
		Long: `Say in one sentence why an output is as it is: from the encoder through the
flow and the NIC to the peer.`,
		Example: "  sluicectl explain stage/wall",
		Args:    argsBetween(1, 2, "one output"), ValidArgsFunction: c.completeOutputs,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseRefs(args)
			if err != nil {
				return err
			}
			if len(refs) != 1 {
				return usagef("explain takes one output")
			}
			var answer struct {
				Text string `json:"text"`
			}
			body, err := c.ask(cmd, "output-explain", object{"flow": refs[0].flow, "output": refs[0].output}, &answer)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(body)
			}
			fmt.Fprintf(c.out, "%s\n", clean(answer.Text))
			return nil
		},
	}
}

// ask makes a request, and reads the answer where there is one to read.
func (c *command) ask(cmd *cobra.Command, name string, data, into any) (json.RawMessage, error) {
	b, err := c.connect(cmd.Context())
	if err != nil {
		return nil, err
	}
	body, err := b.Request(cmd.Context(), name, data)
	if err != nil || into == nil {
		return body, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return body, nil
}

func (c *command) supportBundle() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use: "support-bundle", Short: "Write what others need to know of the box into one file",
		Long: `Write what others need to know of the box into one .tar.gz: its documents
without secrets, events, log, NICs, routes, sockets, memory. Look into it before
you send it on: names and addresses of your network are in it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var bundle struct {
				Name   string `json:"name"`
				Base64 string `json:"base64"`
			}
			if _, err := c.ask(cmd, "support-bundle", object{}, &bundle); err != nil {
				return err
			}
			body, err := base64.StdEncoding.DecodeString(bundle.Base64)
			if err != nil {
				return fmt.Errorf("the bundle cannot be read: %w", err)
			}
			if file == "-" {
				_, err := c.out.Write(body)
				return err
			}
			if file == "" {
				// The box says the name, and not where.
				if file = filepath.Base(clean(bundle.Name)); !strings.HasSuffix(file, ".tar.gz") {
					return errors.New("the bundle has no name: give one with -o")
				}
			}
			if err := os.WriteFile(file, body, 0o600); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(object{"file": file, "size": len(body)})
			}
			fmt.Fprintf(c.out, "%s: %d bytes.\n", clean(file), len(body))
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write; - for standard output (default the name that the box gives)")
	return cmd
}

func (c *command) reboot() *cobra.Command {
	return &cobra.Command{
		Use: "reboot", Short: "Start the box again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := c.ask(cmd, "reboot", object{}, nil); err != nil {
				return err
			}
			return c.told("The box starts again.")
		},
	}
}

// told says that something was done.
func (c *command) told(message string) error {
	if c.json {
		return c.printJSON(object{"ok": true})
	}
	fmt.Fprintln(c.out, message)
	return nil
}

func (c *command) identify() *cobra.Command {
	return &cobra.Command{
		Use: "identify [SECONDS]", Short: "Have the box show itself by its lights",
		Args: argsBetween(0, 1, "at most a time in seconds"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data := object{}
			if len(args) > 0 {
				seconds, err := strconv.Atoi(args[0])
				if err != nil {
					return usagef("%q is no time in seconds", args[0])
				}
				data["seconds"] = seconds
			}
			if _, err := c.ask(cmd, "identify", data, nil); err != nil {
				return err
			}
			return c.told("The box shows itself.")
		},
	}
}

func (c *command) factoryReset() *cobra.Command {
	return &cobra.Command{
		Use: "factory-reset", Short: "Have the box forget everything",
		Long: `Have the box forget everything: its configurations, the candidate, the
console's password, the key that secrets are sealed to. It starts again as it
was before it was ever set up. That is done at the box alone, and asks for its
serial number; of a box that has none, for its name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.broker.Broker != "" {
				return usagef("factory-reset is done at the box itself, and not over a broker")
			}
			fmt.Fprint(c.err, "The box will forget everything. Type its serial number: ")
			line, err := bufio.NewReader(io.LimitReader(c.in, maxTyped)).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			typed := strings.TrimSpace(line)
			if typed == "" {
				return errors.New("nothing was typed: nothing was changed")
			}
			if _, err := c.ask(cmd, "factory-reset", object{"serial_number": typed}, nil); err != nil {
				return err
			}
			return c.told("The box has forgotten everything, and starts again.")
		},
	}
}
