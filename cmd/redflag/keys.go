package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust"
	"redflag/trust/signing"
)

func defaultKeysDir() string { return filepath.Join(configDir(), "keys") }

func newKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		GroupID: "trust",
		Short:   "Make, change and show the operator's signing keys",
		Long: `Make, change and show the operator's signing keys.

Root says which keys count; targets says what may be installed, and may leave a
product to keys of its own (redflag keys delegate). All are signed here, offline, by
as many keys as you ask for. A change that needs the keys of
several people is staged: hand the folder KEYS/staged on, let each run
redflag keys sign, and push it when enough have signed.`,
		Example: "  redflag keys init --root-keys 3 --root-threshold 2 --targets-keys 3 --targets-threshold 2",
	}
	cmd.PersistentFlags().String("keys", defaultKeysDir(), "folder of the signing keys; it never leaves your machine")
	addPassphraseFlags(cmd)
	addClientFlags(cmd)
	cmd.AddCommand(newKeysInit(), newKeysStatus(), newKeysNew(), newKeysAdd(), newKeysRotate(), newKeysRevoke(),
		newKeysDelegate(), newKeysRenew(), newKeysSign(), newKeysPush())
	return cmd
}

func keysDir(cmd *cobra.Command) string {
	dir, _ := cmd.Flags().GetString("keys")
	return dir
}

func newKeysInit() *cobra.Command {
	var plan signing.Plan
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the root and targets keys, and give the cluster its root of trust",
		Long: `Make the root and targets keys, and give the cluster its root of trust.

The keys stay in --keys, encrypted with a passphrase. Nodes get only signed
metadata: a stolen node cannot make an agent install anything. With several
keys, move each file of KEYS/keys to the machine of who is to hold it, together
with 1.root.json, root.json and targets.json. Keep copies somewhere safe: with
fewer keys than the threshold nothing can be published any more.`,
		Example: `  redflag keys init
  redflag keys init --root-keys 3 --root-threshold 2 --targets-keys 3 --targets-threshold 2`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			repo, err := publish.InitTrust(api.WithCorrelation(cmd.Context(), ""), client, keysDir(cmd), plan, newKeyOptions(cmd))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "signing keys are in %s; the cluster trusts root %s\n  next: redflag token create\n",
				keysDir(cmd), trust.RootHash(repo.First()))
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&plan.Root.Keys, "root-keys", 1, "how many root keys to make")
	f.IntVar(&plan.Root.Threshold, "root-threshold", 1, "how many of them must sign")
	f.IntVar(&plan.Targets.Keys, "targets-keys", 1, "how many targets keys to make")
	f.IntVar(&plan.Targets.Threshold, "targets-threshold", 1, "how many of them must sign a publication")
	addPlainKeysFlag(cmd)
	return cmd
}

// openKeys opens the folder of keys and brings its metadata up to what the
// cluster has.
func openKeys(cmd *cobra.Command, opts signing.Options) (*signing.Repository, *api.Client, error) {
	repo, err := signing.Open(keysDir(cmd), opts)
	if err != nil {
		return nil, nil, err
	}
	client, err := connect(cmd)
	if err != nil {
		return nil, nil, err
	}
	return repo, client, publish.Sync(cmd.Context(), client, repo)
}

func newKeysStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show each role, its keys and expiry, and what the cluster has",
		Example: "  redflag keys status --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, client, err := openKeys(cmd, signing.Options{})
			if err != nil {
				return err
			}
			if err := publish.SyncTargets(cmd.Context(), client, repo); err != nil {
				return err
			}
			var status api.TrustStatus
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/trust", nil, &status); err != nil {
				return err
			}
			delegated, err := publish.Delegated(cmd.Context(), client, repo)
			if err != nil {
				return err
			}
			return printKeys(cmd, repo, status, delegated)
		},
	}
	addJSONFlag(cmd)
	return cmd
}

// keysReport is what keys status prints.
type keysReport struct {
	Root    string             `json:"root"` // hash that tokens pin
	Cluster string             `json:"cluster"`
	Roles   []keysRole         `json:"roles"`
	Staged  []signing.Standing `json:"staged,omitempty"`
}

type keysRole struct {
	trust.RoleStatus
	Here    []string `json:"here"` // ids of the keys that this machine holds
	Cluster int64    `json:"cluster_version"`
	// Problem says why agents do not believe what a delegated role signed.
	Problem string `json:"problem,omitempty"`
}

// fromFile completes the row of a delegated role with what its file says.
func (r *keysRole) fromFile(repo *signing.Repository, file []byte) {
	if file == nil {
		r.Problem = "nothing is signed yet"
		return
	}
	if at, err := trust.ExpiryOf(r.Role, file); err == nil {
		r.Expires = at
	}
	if _, err := repo.Check(r.Role, file, time.Now()); err != nil {
		r.Problem = err.Error()
	}
}

func printKeys(cmd *cobra.Command, repo *signing.Repository, status api.TrustStatus, delegated map[string][]byte) error {
	roles, err := trust.Roles(repo.Root(), repo.Targets())
	if err != nil {
		return err
	}
	mine, err := repo.Keys()
	if err != nil {
		return err
	}
	report := keysReport{Root: trust.RootHash(repo.First()), Cluster: status.ClusterID}
	for _, r := range roles {
		row := keysRole{RoleStatus: r, Cluster: status.Versions[r.Role], Here: []string{}}
		for _, k := range mine {
			if slices.Contains(r.Keys, k.ID) {
				row.Here = append(row.Here, k.ID)
			}
		}
		if len(r.Paths) > 0 {
			row.fromFile(repo, delegated[r.Role])
		}
		report.Roles = append(report.Roles, row)
	}
	staged, err := signing.ReadStaged(signing.StagedDir(keysDir(cmd)))
	if err != nil {
		return err
	}
	if report.Staged, err = repo.Standings(staged); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), report)
	}
	var rows [][]string
	for _, r := range report.Roles {
		for _, id := range r.Keys {
			where := "elsewhere"
			if slices.Contains(r.Here, id) {
				where = "here"
			}
			rows = append(rows, []string{r.Role, fmt.Sprintf("%d of %d", r.Threshold, len(r.Keys)), id, where, until(r.Expires), orDash(fmt.Sprint(r.Cluster))})
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "root %s\n\n", report.Root)
	if err := printTable(cmd.OutOrStdout(), "", []string{"ROLE", "NEEDS", "KEY", "HELD", "EXPIRES", "VERSION IN CLUSTER"}, rows); err != nil {
		return err
	}
	if err := printDelegations(cmd, report.Roles); err != nil {
		return err
	}
	return printStandings(cmd, report.Staged)
}

// printDelegations says what each delegated role may sign, and whether agents
// believe it.
func printDelegations(cmd *cobra.Command, roles []keysRole) error {
	var rows [][]string
	for _, r := range roles {
		if len(r.Paths) > 0 {
			rows = append(rows, []string{r.Role, strings.Join(r.Paths, " "), orDash(r.Problem)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return printTable(cmd.OutOrStdout(), "", []string{"DELEGATED", "MAY SIGN", "PROBLEM"}, rows)
}

// until renders an expiry; the online roles' are the cluster's business.
func until(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func printStandings(cmd *cobra.Command, standings []signing.Standing) error {
	if len(standings) == 0 {
		return nil
	}
	var rows [][]string
	for _, s := range standings {
		state := "waits"
		if s.Complete() {
			state = "complete"
		}
		rows = append(rows, []string{s.File, fmt.Sprint(s.Version), s.By, fmt.Sprintf("%d of %d", len(s.Signed), s.Need), state, orDash(strings.Join(s.Missing, " "))})
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return printTable(cmd.OutOrStdout(), "", []string{"STAGED", "VERSION", "BY", "SIGNED", "STATE", "COULD STILL SIGN"}, rows)
}
