package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"redflag/node"
)

func newNodeRecoverCommand() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a stopped node the only voter, when the majority is lost for good",
		Long: `Make a stopped node the only voter, when the majority is lost for good.

What only the lost nodes had is lost. They must not come back with their old
data: remove them once this node runs, and let them join with empty data
directories and new tokens.`,
		Example: "  redflag node recover --data-dir /var/lib/redflag",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			here, err := node.Recover(dataDir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %s is the only voter now; start it, then remove the lost ones with: redflag nodes remove ID\n", here.ID)
			return err
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", node.Defaults().DataDir, "data directory of the node")
	return cmd
}
