package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newAgentsRevoke() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Put an agent out: its certificate counts no more, here or with its peers",
		Long: `Put an agent out: its certificate counts no more, here or with its peers.

Nodes refuse it at once, peers with their next poll. The id can be enrolled
again, with a new key and a token.`,
		Example: "  redflag agents revoke kiosk-17 --reason stolen",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			err = client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, "/v1/agents/"+url.PathEscape(args[0])+"/revoke",
				api.RevokeRequest{Reason: reason}, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent %s is put out\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}
