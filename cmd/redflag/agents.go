package main

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newAgentsCommand() *cobra.Command {
	var selectors []string
	cmd := &cobra.Command{
		Use:     "agents [ID]",
		GroupID: "steer",
		Short:   "List agents, or show one",
		Example: `  redflag agents --select region:eu-west --select label:role=kiosk
  redflag agents kiosk-17 --json`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return showAgent(cmd, client, args[0], false)
			}
			agents, err := api.List[api.Agent](cmd.Context(), client, "/v1/agents", url.Values{"select": selectors}, 0)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), agents)
			}
			rows := make([][]string, 0, len(agents))
			for _, a := range agents {
				rows = append(rows, agentRow(a))
			}
			return printTable(cmd.OutOrStdout(), "No agents yet. Make a token with redflag token create, and start redflag agent with it on a machine.",
				[]string{"AGENT", "REGION", "LABELS", "ACTIVITY", "LAST POLL", "VIA", "NOT READY", "INSTALLED"}, rows)
		},
	}
	cmd.Flags().StringArrayVar(&selectors, "select", nil, selectHelp)
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of text")
	cmd.AddCommand(newAgentsShow(), newAgentsReadiness(), newAgentsOutdated(), newAgentsUpdate(),
		newAgentsCollectLogs(), newAgentsReboot(), newAgentsRun(), newAgentsRevoke(), newAgentsLabel())
	return cmd
}

func agentRow(a api.Agent) []string {
	row := []string{a.ID, a.Region, orDash(labelText(a.Labels)), "silent", "never", "-", "-", "-"}
	p := a.Presence
	if p == nil {
		return row
	}
	var installed []string
	for _, i := range p.Installed {
		installed = append(installed, i.Name+" "+i.Version)
	}
	row[3], row[4], row[5] = string(p.Activity), ago(p.LastPoll), p.Node
	row[6], row[7] = orDash(strings.Join(notReady(p.Readiness), ", ")), orDash(strings.Join(installed, ", "))
	return row
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}
