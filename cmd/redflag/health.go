package main

import (
	"net/http"
	"os"

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
			if err := showHealth(cmd, nodes); err != nil {
				return err
			}
			return healthExit(nodes)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

func showHealth(cmd *cobra.Command, nodes []api.Health) error {
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), nodes)
	}
	out, live := cmd.OutOrStdout().(*os.File)
	colour := live && isTerminal(out) && os.Getenv("NO_COLOR") == ""
	var rows [][]string
	for _, h := range nodes {
		for _, c := range h.Checks {
			since := "-"
			if !c.Since.IsZero() {
				since = ago(c.Since)
			}
			rows = append(rows, []string{h.Node, h.Region, plain(c.Name), statusText(c.Status, colour), since, plain(c.Detail), orDash(plain(c.Advice))})
		}
	}
	status := "STATUS"
	if colour { // as wide as the escapes of the cells below it
		status = "\x1b[39m" + status + "\x1b[0m"
	}
	return printColoured(cmd.OutOrStdout(), "No node answered.",
		[]string{"NODE", "REGION", "CHECK", status, "SINCE", "DETAIL", "NEXT"}, rows)
}

var statusColours = map[api.Status]string{api.StatusOK: "32", api.StatusWarn: "33", api.StatusCritical: "31"}

func statusText(s api.Status, colour bool) string {
	if !colour {
		return string(s)
	}
	return "\x1b[" + statusColours[s] + "m" + string(s) + "\x1b[0m"
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
