package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/durable"
	"redflag/node"
)

func newCACommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ca",
		GroupID: "trust",
		Short:   "Show and roll over the cluster's certificate authority",
		Long: `Show and roll over the cluster's certificate authority.

A roll-over goes through stages by itself, each when every member has confirmed
the one before: "spread" hands the next authority to everybody, "reissue" gives
every node and agent a certificate of it, and then the old one is retired. No
poll is refused meanwhile. A member that is off holds the roll-over up; go on
without it with redflag ca advance --force, and it has to enrol again.`,
		Example: "  redflag ca rotate && redflag ca status",
	}
	addClientFlags(cmd)
	var force bool
	advance := &cobra.Command{
		Use:     "advance",
		Short:   "Take the next step of a roll-over without waiting for the leader",
		Example: "  redflag ca advance --force",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return caDo(cmd, http.MethodPost, "/v1/ca/advance", api.CAAdvance{Force: force})
		},
	}
	advance.Flags().BoolVar(&force, "force", false, "do not wait for members that have not confirmed")
	for _, c := range []*cobra.Command{{
		Use: "status", Short: "Show the authorities, and who a roll-over waits for", Example: "  redflag ca status --json", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return caDo(cmd, http.MethodGet, "/v1/ca", nil) },
	}, {
		Use: "rotate", Short: "Begin to roll the authority over", Example: "  redflag ca rotate", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return caDo(cmd, http.MethodPost, "/v1/ca/rotate", nil) },
	}, advance} {
		addJSONFlag(c)
		cmd.AddCommand(c)
	}
	return cmd
}

func caDo(cmd *cobra.Command, method, path string, in any) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	var status api.CAStatus
	if err := client.Do(api.WithCorrelation(cmd.Context(), ""), method, path, in, &status); err != nil {
		return err
	}
	if err := refreshCredential(cmd, status.Bundle); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), status)
	}
	var rows [][]string
	for i, a := range status.Authorities {
		role := "trusted"
		if i == 0 {
			role = "signs"
		}
		rows = append(rows, []string{a.ID, role, a.NotAfter.Format(time.DateOnly)})
	}
	if err := printTable(cmd.OutOrStdout(), "", []string{"AUTHORITY", "ROLE", "EXPIRES"}, rows); err != nil {
		return err
	}
	if status.Stage == api.CASteady {
		return nil
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nstage %s since %s, waits for: %s\n  next: redflag ca status\n",
		status.Stage, ago(status.Since), orDash(strings.Join(status.Waiting, " ")))
	return err
}

// refreshCredential keeps the CA bundle in the credential file in step, so that
// the operator is not locked out when the old authority is retired.
func refreshCredential(cmd *cobra.Command, bundle []byte) error {
	path, _ := cmd.Flags().GetString("credential")
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read credential: %w", err)
	}
	var cred node.Credential
	if err := json.Unmarshal(b, &cred); err != nil {
		return fmt.Errorf("read credential: %w", err)
	}
	if cred.Authorities == "" || cred.Authorities == string(bundle) || len(bundle) == 0 {
		return nil
	}
	cred.Authorities = string(bundle)
	if b, err = json.MarshalIndent(cred, "", "  "); err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o600)
}
