package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newRegionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "regions",
		GroupID: "steer",
		Short:   "List regions and who coordinates each",
		Long: `List regions and who coordinates each.

A region's coordinator is the one node that fetches payloads from other regions;
the other nodes of the region fetch from it. The leader chooses it by the setting
region.coordinator (nearest, least_loaded or pinned:NODE) and renews its lease
while it is heard. After region.coordinator_lease of silence another node of the
region takes over, or the nearest of another region, which stands in until one
of the region is back: the region's agents then poll it.`,
		Example: `  redflag regions
  redflag settings set --region eu-west region.coordinator=pinned:eu-west-2`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var regions []api.Region
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/regions", nil, &regions); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), regions)
			}
			rows := make([][]string, 0, len(regions))
			for _, r := range regions {
				rows = append(rows, []string{
					r.Name, fmt.Sprintf("%d of %d", r.Alive, r.Nodes), strconv.Itoa(r.Agents),
					coordinatorOf(r), sinceOf(r), r.Policy, time.Duration(r.Lease).String(),
				})
			}
			return printTable(cmd.OutOrStdout(), "No regions: a cluster has one as soon as it has a node.",
				[]string{"REGION", "NODES ALIVE", "AGENTS", "COORDINATOR", "SINCE", "POLICY", "LEASE"}, rows)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

// coordinatorOf says who acts, and in which capacity.
func coordinatorOf(r api.Region) string {
	switch {
	case r.StandIn:
		return r.Acting + " (stands in)"
	case r.Coordinator == nil && r.Acting != "":
		return r.Acting + " (no lease)"
	}
	return orDash(r.Acting)
}

func sinceOf(r api.Region) string {
	if r.Coordinator == nil {
		return "-"
	}
	return ago(r.Coordinator.Since)
}
