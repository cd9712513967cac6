package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

const rootLong = `RedFlag brings signed updates to machines in many regions.

Nodes form one Raft cluster and seed a BitTorrent swarm; agents pull commands
from the nearest node, verify the operator's signature, fetch from their peers
under bandwidth caps, install atomically and report.

Every flag can also stand in the environment (REDFLAG_DATA_DIR for --data-dir)
or in a YAML file named by --config (data-dir: …). A flag wins over the
environment, and the environment over the file.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed,
5 no server answers or the outcome is unknown.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "redflag",
		Short:         "Signed updates for machines in many regions, over their own peers",
		Long:          rootLong,
		Example:       "  redflag demo --once",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return layer(cmd)
		},
	}
	root.PersistentFlags().String("config", "", "YAML file with values for flags that are not given")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\n  next: %s --help", err, cmd.CommandPath())}
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "steer", Title: "Steer:"},
		&cobra.Group{ID: "trust", Title: "Trust:"},
	)
	root.AddCommand(
		newNodeCommand(), newAgentCommand(), newDemoCommand(),
		newPublishCommand(), newRolloutCommand(), newSwarmCommand(), newCommandsCommand(), newAgentsCommand(), newPoolsCommand(), newRegionsCommand(),
		newNodesCommand(), newSnapshotCommand(), newSettingsCommand(), newHealthCommand(), newLogsCommand(), newMetricsCommand(), newArtifactsCommand(),
		newKeysCommand(), newBundleCommand(), newTokenCommand(), newCACommand(), newOperatorCommand(), newAuditCommand(), newVersionCommand(), newTUFClientCommand(),
	)
	root.InitDefaultCompletionCmd() // is one of the groups
	for _, c := range root.Commands() {
		refuseUnknown(c)
	}
	return root
}

// refuseUnknown has groups of commands refuse words that are none of them: by
// default they print their help and succeed.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	if !c.HasSubCommands() || c.Runnable() {
		return
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q for %q\n  next: %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())}
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.Annotations = map[string]string{isGroup: ""}
}

// isGroup marks commands that only have others below them.
const isGroup = "group"

// layer fills in flags that were not given from the environment, then from
// the file of --config.
func layer(cmd *cobra.Command) error {
	if _, group := cmd.Annotations[isGroup]; group { // it shows its help
		return nil
	}
	file, err := readConfigFile(cmd.Flags())
	if err != nil {
		return usageError{err}
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		values, inFile := file[f.Name]
		delete(file, f.Name)
		if f.Changed || f.Name == "help" {
			return
		}
		source := "--config file"
		if env, ok := os.LookupEnv(envName(f.Name)); ok {
			values, inFile, source = []string{env}, true, envName(f.Name)
		}
		if !inFile {
			return
		}
		for _, v := range values {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", source, f.Name, err))
			}
		}
	})
	for name := range file {
		errs = append(errs, fmt.Errorf("--config file: %q is not a flag of %s", name, cmd.CommandPath()))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

func envName(flag string) string {
	return "REDFLAG_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readConfigFile returns the values of a YAML mapping by flag name. Lists and
// mappings become repeated values ("key=value" for a mapping).
func readConfigFile(flags *pflag.FlagSet) (map[string][]string, error) {
	path, _ := flags.GetString("config")
	if path == "" {
		path = os.Getenv("REDFLAG_CONFIG")
	}
	if path == "" {
		return map[string][]string{}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	var raw map[string]any
	if len(bytes.TrimSpace(b)) > 0 {
		if err := yaml.Unmarshal(b, &raw); err != nil {
			return nil, fmt.Errorf("read config %s: %w", path, err)
		}
	}
	out := make(map[string][]string, len(raw))
	for k, v := range raw {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				out[k] = append(out[k], fmt.Sprint(e))
			}
		case map[string]any:
			for name, e := range v {
				out[k] = append(out[k], fmt.Sprintf("%s=%v", name, e))
			}
		default:
			out[k] = []string{fmt.Sprint(v)}
		}
	}
	return out, nil
}

// asUsage gives cobra's own complaints the usage exit code and the way on.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w\n  next: %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

var (
	atMostOneArg  = asUsage(cobra.MaximumNArgs(1))
	atLeastOneArg = asUsage(cobra.MinimumNArgs(1))
)

// exactArgs is cobra.ExactArgs with a usage exit code and the way on.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		want := "no argument"
		if len(names) > 0 {
			want = strings.Join(names, " ")
		}
		return usageError{fmt.Errorf("%s wants %s, got %d arguments\n  next: %s --help", cmd.CommandPath(), want, len(args), cmd.CommandPath())}
	}
}
