package main

import (
	"errors"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

// newAgentsOrder makes a command that asks a set of agents for one thing that is no
// install.
func newAgentsOrder(cmd *cobra.Command, kind api.Kind) *cobra.Command {
	req := api.CreateRolloutRequest{Kind: kind}
	var to []string
	var watch bool
	var plan planFlags
	cmd.Args = exactArgs()
	if kind.NeedsArtifact() {
		cmd.Args = exactArgs("ARTIFACT")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if req.Selector, err = api.ParseSelector(to...); err != nil {
			return err
		}
		if req.Plan, err = plan.plan(); err != nil {
			return err
		}
		if kind.NeedsArtifact() {
			req.Artifact = args[0]
		}
		if kind.NeedsVersion() && req.Version == "" {
			return usageError{errors.New("which version?\n  next: pass --version; redflag artifacts lists them")}
		}
		if req.ID == "" {
			req.ID = "r-" + ulid.Make().String()
		}
		return startRollout(cmd, req, watch)
	}
	f := cmd.Flags()
	if kind.NeedsVersion() {
		f.StringVar(&req.Version, "version", "", "version of it")
	}
	f.StringArrayVar(&to, "to", nil, "which agents: all, region:NAME, label:KEY=VALUE or agent:ID; terms narrow each other")
	f.BoolVar(&watch, "watch", false, "stay and show progress until every agent is done")
	f.StringVar(&req.ID, "rollout-id", "", "id of the rollout, to make a repeat harmless (default: a new one)")
	plan.add(cmd)
	return cmd
}

func newAgentsCollectLogs() *cobra.Command {
	return newAgentsOrder(&cobra.Command{
		Use:   "collect-logs",
		Short: "Have agents hand in what helps to find out about them",
		Long: `Have agents hand in what helps to find out about them.

Each writes its process, readiness, journal and artifacts and the last 200 lines that
systemd has kept of it into its log, at most 64 KiB of each, from where they go to the
nodes. It says nothing of other programs. For any one agent, whichever is fit, see
redflag pools run collect_logs.`,
		Example: `  redflag agents collect-logs --to agent:kiosk-17 --watch
  redflag logs --correlation ID                   # the correlation that it prints`,
	}, api.KindCollectLogs)
}

func newAgentsReboot() *cobra.Command {
	return newAgentsOrder(&cobra.Command{
		Use:   "reboot",
		Short: "Restart machines, and hear that they are back",
		Long: `Restart machines, and hear that they are back.

Only a machine whose agent runs with --allow-reboot does it, in its own window and
while nobody holds the package manager's lock. It is asked once, whatever happens in
between; the command succeeds when the agent polls from the next boot. Use waves, so
that not all are down at once.`,
		Example: `  redflag agents reboot --to label:ring=canary --wave 1 --wave 25% --gate power --watch`,
	}, api.KindReboot)
}

func newAgentsRun() *cobra.Command {
	return newAgentsOrder(&cobra.Command{
		Use:   "run ARTIFACT",
		Short: "Run a signed module on machines, without installing it",
		Long: `Run a signed module on machines, without installing it.

A module is a bundle of scripts (redflag publish --type exec) with a program called
run. The operator's signature on it and the cluster's command are needed as for an
install; the machine verifies the bundle for each run, runs it once, and takes none
that is older than what it has installed or run. What it prints is in redflag
commands and in the agent's log.`,
		Example: `  redflag publish ./clean.tar --name clean --version 1 --type exec
  redflag agents run clean --version 1 --to region:eu-west --watch`,
	}, api.KindRunModule)
}
