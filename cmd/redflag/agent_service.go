package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/durable"
	"redflag/packaging"
)

// newAgentService makes the agent a service of a machine that got the binary
// without a package.
func newAgentService() *cobra.Command {
	var unitDir string
	var system, noStart bool
	cmd := &cobra.Command{
		Use:   "install-service",
		Short: "Make the agent a systemd service of this machine",
		Long: `Make the agent a systemd service of this machine.

It writes a hardened unit that runs this binary with /etc/redflag/agent.yaml,
and starts it. With --system the agent may also install packages of the
operating system, run script bundles and reboot.`,
		Example: "  redflag agent install-service --system",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if runtime.GOOS != "linux" {
				return api.Errorf(api.CodeInvalid, "there is no systemd on %s", runtime.GOOS).
					WithHint("have the system's own service manager run: redflag agent")
			}
			units := map[string]string{packaging.AgentUnit: packaging.AgentUnit}
			if system {
				units[filepath.Join(packaging.AgentUnit+".d", "system.conf")] = packaging.AgentSystem
			}
			if err := writeUnits(unitDir, units); err != nil {
				return err
			}
			if noStart {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n  next: systemctl enable --now redflag-agent\n", filepath.Join(unitDir, packaging.AgentUnit))
				return err
			}
			for _, args := range [][]string{{"daemon-reload"}, {"enable", "--now", packaging.AgentUnit}} {
				if said, err := exec.CommandContext(cmd.Context(), "systemctl", args...).CombinedOutput(); err != nil {
					return fmt.Errorf("systemctl %s: %w: %s", args[0], err, said)
				}
			}
			if _, err := os.Stat(agentConfig); err != nil { // the unit's own condition, which systemctl takes for no failure
				return api.Errorf(api.CodeConflict, "redflag-agent.service is enabled and does not run: there is no %s", agentConfig).
					WithHint("write it (docs/operations/deployment.md), then: systemctl start redflag-agent")
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "the agent runs as redflag-agent.service\n  next: journalctl -u redflag-agent")
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&unitDir, "unit-dir", "/etc/systemd/system", "folder for the unit")
	f.BoolVar(&system, "system", false, "let the agent change the whole system: packages, scripts, reboots")
	f.BoolVar(&noStart, "no-start", false, "write the unit and leave the rest to the operator")
	return cmd
}

// agentConfig is where the unit has its configuration.
const agentConfig = "/etc/redflag/agent.yaml"

// writeUnits writes units, by their path below dir, for this binary.
func writeUnits(dir string, units map[string]string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	for path, name := range units {
		unit, err := packaging.Unit(name, exe)
		if err != nil {
			return err
		}
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(path, []byte(unit), fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}
