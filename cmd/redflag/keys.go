package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust"
	"redflag/trust/signing"
)

func defaultKeysDir() string { return filepath.Join(configDir(), "keys") }

func newKeysCommand() *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use:     "keys",
		GroupID: "trust",
		Short:   "Make and show the operator's signing keys",
		Example: "  redflag keys init",
	}
	cmd.PersistentFlags().StringVar(&keys, "keys", defaultKeysDir(), "folder of the signing keys; it never leaves your machine")
	addClientFlags(cmd)
	status := &cobra.Command{
		Use:     "status",
		Short:   "Compare the keys in the folder with what the cluster trusts",
		Example: "  redflag keys status --json",
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return keysStatus(cmd, keys) },
	}
	addJSONFlag(status)
	cmd.AddCommand(status, &cobra.Command{
		Use:   "init",
		Short: "Make the root and targets keys, and give the cluster its root of trust",
		Long: `Make the root and targets keys, and give the cluster its root of trust.

The keys stay in --keys, readable by you alone. Nodes get only signed metadata:
a stolen node cannot make an agent install anything. Keep a copy of the folder
somewhere safe: without it nothing can be published to this cluster any more.`,
		Example: "  redflag keys init --keys ~/.config/redflag/keys",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			repo, err := publish.InitTrust(api.WithCorrelation(cmd.Context(), ""), client, keys)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "signing keys are in %s; the cluster trusts root %s\n  next: redflag token create\n",
				keys, trust.RootHash(repo.Root()))
			return err
		},
	})
	return cmd
}

func keysStatus(cmd *cobra.Command, keys string) error {
	repo, err := signing.Open(keys)
	if err != nil {
		return err
	}
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	var status api.TrustStatus
	if err := client.Do(cmd.Context(), http.MethodGet, "/v1/trust", nil, &status); err != nil {
		return err
	}
	summary, err := trust.CheckTargets(repo.Root(), repo.Targets(), time.Now())
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]any{
			"root": trust.RootHash(repo.Root()), "targets_version": summary.Version,
			"targets_expire": summary.Expires, "cluster": status.ClusterID, "cluster_versions": status.Versions,
		})
	}
	rows := [][]string{}
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		v := "-"
		if n, ok := status.Versions[role]; ok {
			v = fmt.Sprint(n)
		}
		rows = append(rows, []string{role, v})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "root %s\ntargets expire %s\n\n", trust.RootHash(repo.Root()), summary.Expires.Format(time.RFC3339))
	return printTable(cmd.OutOrStdout(), "", []string{"ROLE", "VERSION IN CLUSTER"}, rows)
}
