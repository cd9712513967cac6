package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"redflag/agent"
	"redflag/agent/install"
	"redflag/api"
	"redflag/telemetry"
)

func newAgentCommand() *cobra.Command {
	var cfg agent.Config
	var down, up, budget, metered, reboot string
	var windows []string
	cmd := &cobra.Command{
		Use:     "agent",
		GroupID: "run",
		Short:   "Run the agent of this machine",
		Long: `Run the agent of this machine.

It enrols once with --token, then polls the nearest node, installs what the
operator has signed and the cluster has commanded, and shares pieces with the
peers of its region. After that the data directory alone is enough to start it.
It opens one port, for swarm peers; nodes never connect to it otherwise.`,
		Example: `  REDFLAG_TOKEN=rf1.… redflag agent --region eu-west --node 10.0.0.5:7420 --data-dir /var/lib/redflag-agent
  redflag agent --data-dir /var/lib/redflag-agent --upload-limit 2mbit`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.DownloadLimit, err = api.ParseRate(down); err != nil {
				return usageError{fmt.Errorf("--download-limit: %w", err)}
			}
			if cfg.UploadLimit, err = api.ParseRate(up); err != nil {
				return usageError{fmt.Errorf("--upload-limit: %w", err)}
			}
			cfg.VersionsBudget, err = keepBytes(budget)
			if err != nil {
				return err
			}
			if cfg.Metered, err = parseMetered(metered); err != nil {
				return err
			}
			for _, s := range windows {
				w, err := api.ParseWindow(s)
				if err != nil {
					return err
				}
				cfg.Windows = append(cfg.Windows, w)
			}
			cfg.RebootCommand = strings.Fields(reboot)
			cfg.Version = version
			cfg.LogOutput = telemetry.NewOutput(os.Stderr)
			cfg.Logger = telemetry.NewLogger("agent", cfg.LogOutput, cfg.Debug)
			if err := agent.Succeed(cfg.DataDir); err != nil {
				return err
			}
			a, err := agent.New(cfg)
			if err != nil {
				return err
			}
			err = a.Run(cmd.Context())
			if errors.Is(err, install.ErrRestart) {
				return agent.Restart(cfg.DataDir, cmd.ErrOrStderr())
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.ID, "id", "", "name of this machine in the cluster (default: its host name)")
	f.StringVar(&cfg.Region, "region", "", "region that this machine is in; needed to enrol")
	f.StringToStringVar(&cfg.Labels, "label", nil, "label for selectors, KEY=VALUE; may be repeated; sent at enrolment")
	f.StringSliceVar(&cfg.Nodes, "node", nil, "mesh host:port of a node for the first contact; may be repeated")
	f.StringVar(&cfg.Token, "token", "", "registration token, needed once")
	f.StringVar(&cfg.RootFile, "root", "", "the operator's root.json, to trust it rather than the token's root hash")
	f.StringVar(&cfg.DataDir, "data-dir", "redflag-agent", "folder for identity, journal, payloads and installed versions")
	f.StringVar(&cfg.SwarmAddr, "swarm-listen", ":0", "host:port for swarm peers; port 0 picks one")
	f.StringVar(&down, "download-limit", "unlimited", "this machine's own cap; the stricter of it and the cluster's holds")
	f.StringVar(&up, "upload-limit", "unlimited", "this machine's own cap; the stricter of it and the cluster's holds")
	f.StringVar(&cfg.ModulesDir, "modules-dir", install.DefaultModulesDir, "folder of update modules")
	f.IntVar(&cfg.KeepVersions, "keep-versions", 2, "versions of each artifact to keep for a rollback, besides the current one")
	f.StringVar(&budget, "versions-budget", "", "what kept versions of one artifact may take on disk, such as 2GiB; one is always kept")
	f.StringArrayVar(&windows, "window", nil, "when this machine may be worked on: \"daily 22:00-04:00 Europe/Berlin\"; may be repeated")
	f.StringVar(&metered, "metered", "auto", "whether bytes cost on this machine's link: yes, no, or auto to ask NetworkManager")
	f.BoolVar(&cfg.OSUpdates, "os-updates", false, "let commands update packages of the operating system, from the machine's own sources")
	f.BoolVar(&cfg.AllowReboot, "allow-reboot", false, "let commands restart this machine")
	f.StringVar(&reboot, "reboot-command", "", "program, with its arguments, that restarts this machine (default: systemctl reboot)")
	f.StringVar(&cfg.BootIDFile, "boot-id-file", "", "file that changes with each boot of this machine (default: the kernel's)")
	f.BoolVar(&cfg.Debug, "debug", false, "debug logs, whatever the cluster's debug setting says")
	cmd.AddCommand(newAgentProve(), newAgentService(), newAgentLabel())
	return cmd
}

func keepBytes(budget string) (int64, error) {
	if budget == "" {
		return 0, nil
	}
	b, err := api.ParseBytes(budget)
	if err != nil {
		return 0, usageError{fmt.Errorf("--versions-budget: %w", err)}
	}
	return int64(b), nil
}

func parseMetered(s string) (*bool, error) {
	switch s {
	case "auto":
		return nil, nil //nolint:nilnil // ask the system
	case "yes", "no":
		return new(s == "yes"), nil
	}
	return nil, usageError{fmt.Errorf("--metered %.20q is not yes, no or auto", s)}
}

// newAgentProve is what a running agent calls on a new binary.
func newAgentProve() *cobra.Command {
	var cfg agent.Config
	cmd := &cobra.Command{
		Use:     "prove",
		Short:   "Make one poll for the agent that runs, to show that this binary can",
		Example: "  redflag agent prove --data-dir /var/lib/redflag-agent",
		Args:    exactArgs(),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Version = version
			return agent.Prove(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", "", "folder of the agent")
	return cmd
}
