package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newNodesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "nodes",
		GroupID: "steer",
		Short:   "List nodes",
		Example: "  redflag nodes --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var nodes []api.Node
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/nodes", nil, &nodes); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), nodes)
			}
			rows := make([][]string, 0, len(nodes))
			for _, n := range nodes {
				rows = append(rows, []string{n.ID, n.Region, nodeRole(n), aliveText(n.Alive), n.MeshAddr, fmt.Sprintf("%d %%", n.Load), roundTrip(n), orDash(n.Version)})
			}
			return printTable(cmd.OutOrStdout(), "No nodes.", []string{"NODE", "REGION", "ROLE", "STATE", "MESH", "LOAD", "RTT", "VERSION"}, rows)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	cmd.AddCommand(newNodesRemove())
	return cmd
}

func newNodesRemove() *cobra.Command {
	var stolen bool
	cmd := &cobra.Command{
		Use:     "remove ID",
		Short:   "Take a stopped or stolen node out of the cluster for good",
		Example: "  redflag nodes remove us-2\n  redflag nodes remove us-2 --stolen",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := client.Do(cmd.Context(), http.MethodDelete, "/v1/nodes/"+url.PathEscape(args[0])+"?stolen="+strconv.FormatBool(stolen), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %s is removed; it can only come back with a new token and an empty data directory\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&stolen, "stolen", false, "shut it out although it runs: somebody else has it")
	return cmd
}

func nodeRole(n api.Node) string {
	switch {
	case n.Leader:
		return "leader"
	case n.Voter:
		return "voter"
	case n.NonVoter:
		return "non-voter"
	}
	return "joining"
}

// roundTrip is the estimate from the node that was asked.
func roundTrip(n api.Node) string {
	if n.RTT <= 0 {
		return "-"
	}
	return time.Duration(n.RTT).Round(10 * time.Microsecond).String()
}

func aliveText(alive bool) string {
	if alive {
		return "alive"
	}
	return "silent"
}
