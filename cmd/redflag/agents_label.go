package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"redflag/agent"
	"redflag/api"
)

func newAgentsLabel() *cobra.Command {
	return &cobra.Command{
		Use:   "label ID KEY=VALUE… KEY-…",
		Short: "Change the labels of an agent (admins only)",
		Long: `Change the labels of an agent: KEY=VALUE sets one, KEY- takes one away.

Selectors, settings layers and dynamic rollouts go by the new labels at once;
commands that the agent has, it keeps.

What a payload's signature demands (redflag publish --label, --hardware) does not: a
stolen node could otherwise lead what was signed for one machine to another. That goes
by the machine's own labels, those that it enrolled with. Change them on the machine,
with redflag agent label; redflag agents show has both where they differ.`,
		Example: "  redflag agents label kiosk-17 role=till floor-",
		Args:    atLeastOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			set, remove, err := labelChange(cmd, args[1:])
			if err != nil {
				return err
			}
			req := api.LabelRequest{Set: set, Remove: remove}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var changed api.Agent
			err = client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPatch, "/v1/agents/"+url.PathEscape(args[0])+"/labels", req, &changed)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), changed)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent %s: %s\n", changed.ID, orDash(labelText(changed.Labels)))
			return err
		},
	}
}

// labelChange reads KEY=VALUE and KEY-.
func labelChange(cmd *cobra.Command, args []string) (set map[string]string, remove []string, err error) {
	set = map[string]string{}
	for _, arg := range args {
		k, v, sets := strings.Cut(arg, "=")
		name, removes := strings.CutSuffix(arg, "-")
		switch {
		case sets:
			set[k] = v
		case removes:
			remove = append(remove, name)
		default:
			return nil, nil, usageError{fmt.Errorf("%q is neither KEY=VALUE nor KEY-\n  next: %s --help", arg, cmd.CommandPath())}
		}
	}
	return set, remove, nil
}

// newAgentLabel changes what the machine holds signed constraints against.
func newAgentLabel() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "label KEY=VALUE… KEY-…",
		Short: "Change this machine's own labels, by which it judges what was signed for it",
		Long: `Change this machine's own labels, by which it judges what was signed for it:
KEY=VALUE sets one, KEY- takes one away.

A payload that was published for a label or for a kind of hardware is refused by every
machine that has not enrolled with it or been given it here. No node can change that.
The running agent goes by the new labels at once; the cluster's, by which rollouts
select, change with redflag agents label.`,
		Example: "  sudo redflag agent label hardware=gateway-2 ring- --data-dir /var/lib/redflag-agent",
		Args:    atLeastOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			set, remove, err := labelChange(cmd, args)
			if err != nil {
				return err
			}
			labels, err := agent.Relabel(dir, set, remove)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), labels)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "this machine: %s\n", orDash(labelText(labels)))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "redflag-agent", "folder of the agent")
	addJSONFlag(cmd)
	return cmd
}
