package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newCommandsCommand() *cobra.Command {
	var rollout, agent, state string
	cmd := &cobra.Command{
		Use:     "commands [ID]",
		GroupID: "steer",
		Short:   "List commands with their states, or show one",
		Example: `  redflag commands --rollout r-01K9 --state failed
  redflag commands r-01K9:kiosk-17`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				var c api.Command
				if err := client.Do(cmd.Context(), http.MethodGet, "/v1/commands/"+url.PathEscape(args[0]), nil, &c); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), c)
			}
			query := url.Values{}
			for k, v := range map[string]string{"rollout": rollout, "agent": agent, "state": state} {
				if v != "" {
					query.Set(k, v)
				}
			}
			commands, err := listAll[api.Command](cmd.Context(), client, "/v1/commands", query)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), commands)
			}
			rows := make([][]string, 0, len(commands))
			for _, c := range commands {
				rows = append(rows, commandRow(c))
			}
			return printTable(cmd.OutOrStdout(), "No commands. Create some with: redflag rollout create",
				[]string{"COMMAND", "REGION", "KIND", "ARTIFACT", "STATE", "PEERS", "NODES", "REASON"}, rows)
		},
	}
	cmd.Flags().StringVar(&rollout, "rollout", "", "only commands of this rollout")
	cmd.Flags().StringVar(&agent, "agent", "", "only commands of this agent")
	cmd.Flags().StringVar(&state, "state", "", "only commands in this state")
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

func commandRow(c api.Command) []string {
	state, peers, nodes, reason := string(c.State), "-", "-", "-"
	if c.State == api.StateRunning && c.Phase != "" {
		state = string(c.Phase)
	}
	if c.Transfer != nil {
		peers, nodes = api.Bytes(c.Transfer.FromPeers).String(), api.Bytes(c.Transfer.FromNodes).String()
	}
	if c.Failure != nil {
		reason = c.Failure.String()
	}
	return []string{c.ID, c.Region, string(c.Kind), c.Artifact + " " + c.Version, state, peers, nodes, reason}
}
