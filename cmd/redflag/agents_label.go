package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newAgentsLabel() *cobra.Command {
	return &cobra.Command{
		Use:   "label ID KEY=VALUE… KEY-…",
		Short: "Change the labels of an agent (admins only)",
		Long: `Change the labels of an agent: KEY=VALUE sets one, KEY- takes one away.

Selectors, settings layers and dynamic rollouts go by the new labels at once;
commands that the agent has, it keeps. What a signed target demands by label goes
by the labels that the machine enrolled with.`,
		Example: "  redflag agents label kiosk-17 role=till floor-",
		Args:    atLeastOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.LabelRequest{Set: map[string]string{}}
			for _, arg := range args[1:] {
				k, v, set := strings.Cut(arg, "=")
				name, remove := strings.CutSuffix(arg, "-")
				switch {
				case set:
					req.Set[k] = v
				case remove:
					req.Remove = append(req.Remove, name)
				default:
					return usageError{fmt.Errorf("%q is neither KEY=VALUE nor KEY-\n  next: %s --help", arg, cmd.CommandPath())}
				}
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var agent api.Agent
			err = client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPatch, "/v1/agents/"+url.PathEscape(args[0])+"/labels", req, &agent)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), agent)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent %s: %s\n", agent.ID, orDash(labelText(agent.Labels)))
			return err
		},
	}
}
