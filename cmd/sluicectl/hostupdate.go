package main

import (
	"github.com/spf13/cobra"

	"sluice/device/system"
)

func (c *command) hostUpdate() *cobra.Command {
	u := system.RootUpdate{RAUC: "rauc", Log: c.err}
	cmd := &cobra.Command{
		Use: "host-update", Short: "Install the firmware that the daemon downloaded (for sluice-update.service)",
		Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return u.Run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&u.Dir, "dir", system.HostDir, "`directory` of orders and progress")
	f.StringVar(&u.Bundle, "bundle", "/var/lib/sluice/update.raucb", "`file` that the daemon downloaded")
	f.StringVar(&u.Own, "own", "/var/lib/sluice-update", "`directory` of root alone")
	return cmd
}
