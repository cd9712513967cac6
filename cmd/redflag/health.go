package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newHealthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		GroupID: "steer",
		Short:   "Show how every node is; exit code 0 ok, 1 warn, 2 critical",
		Example: "  redflag health && echo all well",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var nodes []api.Health
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/cluster/health", nil, &nodes); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				err = printJSON(cmd.OutOrStdout(), nodes)
			} else {
				err = printHealth(cmd, nodes)
			}
			if err != nil {
				return err
			}
			return healthExit(nodes)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

func printHealth(cmd *cobra.Command, nodes []api.Health) error {
	var rows [][]string
	for _, h := range nodes {
		for _, c := range h.Checks {
			rows = append(rows, []string{h.Node, h.Region, orDash(h.RaftState), fmt.Sprint(h.AppliedIndex), c.Name, string(c.Status), c.Detail, orDash(c.Advice)})
		}
	}
	return printTable(cmd.OutOrStdout(), "No node answered.",
		[]string{"NODE", "REGION", "RAFT", "APPLIED", "CHECK", "STATUS", "DETAIL", "NEXT"}, rows)
}

func healthExit(nodes []api.Health) error {
	worst := api.StatusOK
	for _, h := range nodes {
		worst = worst.Worse(h.Status)
	}
	switch worst {
	case api.StatusCritical:
		return silentError{2}
	case api.StatusWarn:
		return silentError{1}
	default:
		return nil
	}
}
