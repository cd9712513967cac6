package main

import (
	"errors"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

// agentArtifact is what versions of the agent are published as.
const agentArtifact = "redflag"

func newAgentsUpdate() *cobra.Command {
	req := api.CreateRolloutRequest{Kind: api.KindUpdateAgent}
	var to []string
	var watch bool
	var plan planFlags
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Bring agents to another version of themselves",
		Long: `Bring agents to another version of themselves.

Publish the binary first: redflag publish ./redflag --name redflag --version 1.5.0 --type self
An agent runs the new binary beside itself and has it poll before it makes way;
the new one must poll again after the switch, or the old one comes back.`,
		Example: "  redflag agents update --version 1.5.0 --to label:ring=canary --watch",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.Selector, err = api.ParseSelector(to...); err != nil {
				return err
			}
			if req.Plan, err = plan.plan(); err != nil {
				return err
			}
			if req.Version == "" {
				return usageError{errors.New("which version?\n  next: pass --version; redflag artifacts lists them")}
			}
			if req.ID == "" {
				req.ID = "r-" + ulid.Make().String()
			}
			return startRollout(cmd, req, watch)
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Artifact, "artifact", agentArtifact, "name that the agent is published as")
	f.StringVar(&req.Version, "version", "", "version to go to")
	f.StringArrayVar(&to, "to", nil, "which agents: all, region:NAME, label:KEY=VALUE or agent:ID; terms narrow each other")
	f.BoolVar(&watch, "watch", false, "stay and show progress until every agent is done")
	f.StringVar(&req.ID, "rollout-id", "", "id of the rollout, to make a repeat harmless (default: a new one)")
	plan.add(cmd)
	return cmd
}
