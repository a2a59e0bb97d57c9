package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"sluice/device/system"
)

// hostApply is for sluice-host-apply.service: the part of the daemon's work
// that takes root.
func (c *command) hostApply() *cobra.Command {
	var dir, root string
	cmd := &cobra.Command{
		Use: "host-apply", Short: "Carry out what the daemon wants of the host", Hidden: true, Args: cobra.NoArgs,
		Long: `Carry out what the daemon wants of the host: its networks, its name, its time
servers, a restart. It is started by sluice-host-apply.path, as root, and ends
once nothing is wanted any more.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if root == "/" && os.Geteuid() != 0 {
				return errors.New("host-apply changes the system, and only root may")
			}
			log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
			return system.NewApplier(dir, root, log).Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", system.HostDir, "`directory` of what is wanted, and of the answers")
	cmd.Flags().StringVar(&root, "root", "/", "`directory` where the file system begins")
	return cmd
}

// withoutTime leaves the time to the journal.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
