package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust/signing"
)

func newKeysSign() *cobra.Command {
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Add the signatures of this machine's keys to staged metadata",
		Long: `Add the signatures of this machine's keys to staged metadata.

It needs no cluster: bring the staged folder on a disk if you like. What it
would change is printed first, and signed only after a yes.`,
		Example: "  redflag keys sign --keys ./alice --staged ./staged",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := signing.Open(keysDir(cmd), keyOptions(cmd))
			if err != nil {
				return err
			}
			staged, err := readStaged(cmd, &dir)
			if err != nil {
				return err
			}
			lines, err := repo.Review(staged)
			if err != nil {
				return err
			}
			for _, l := range lines {
				fmt.Fprintln(cmd.ErrOrStderr(), l)
			}
			if !yes {
				var answer string
				fmt.Fprint(cmd.ErrOrStderr(), "Sign this? (yes/no) ")
				_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer)
				if answer != "yes" {
					return api.Errorf(api.CodeDenied, "nothing was signed").WithHint("answer yes, or pass --yes")
				}
			}
			if staged, err = repo.Sign(staged); err != nil {
				return err
			}
			if err := staged.Write(dir); err != nil {
				return err
			}
			return printProgress(cmd, repo, staged, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "staged", "", "folder of the staged metadata; KEYS/staged if not given")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func readStaged(cmd *cobra.Command, dir *string) (signing.Staged, error) {
	if *dir == "" {
		*dir = signing.StagedDir(keysDir(cmd))
	}
	staged, err := signing.ReadStaged(*dir)
	if err == nil && staged.Empty() {
		err = api.Errorf(api.CodeNotFound, "nothing is staged in %s", *dir).WithHint("name the folder with --staged")
	}
	return staged, err
}

func newKeysPush() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "push",
		Short:   "Give staged metadata to the cluster once enough keys have signed",
		Example: "  redflag keys push --staged ./staged",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, client, err := openKeys(cmd, signing.Options{})
			if err != nil {
				return err
			}
			staged, err := readStaged(cmd, &dir)
			if err != nil {
				return err
			}
			return pushStaged(cmd, repo, client, staged, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "staged", "", "folder of the staged metadata; KEYS/staged if not given")
	return cmd
}

// stageOrPush keeps what still needs signatures, and gives the cluster what
// does not.
func stageOrPush(cmd *cobra.Command, repo *signing.Repository, client *api.Client, staged signing.Staged) error {
	dir := signing.StagedDir(keysDir(cmd))
	if err := staged.Write(dir); err != nil {
		return err
	}
	complete, err := isComplete(repo, staged)
	if err != nil {
		return err
	}
	if complete {
		return pushStaged(cmd, repo, client, staged, dir)
	}
	return printProgress(cmd, repo, staged, dir)
}

func isComplete(repo *signing.Repository, staged signing.Staged) (bool, error) {
	standings, err := repo.Standings(staged)
	return !slices.ContainsFunc(standings, func(s signing.Standing) bool { return !s.Complete() }), err
}

func pushStaged(cmd *cobra.Command, repo *signing.Repository, client *api.Client, staged signing.Staged, dir string) error {
	complete, err := isComplete(repo, staged)
	if err != nil {
		return err
	}
	if !complete {
		if err := printProgress(cmd, repo, staged, dir); err != nil {
			return err
		}
		return api.Errorf(api.CodeConflict, "too few keys have signed yet").WithHint("hand %s on, for redflag keys sign", dir)
	}
	if err := publish.Push(api.WithCorrelation(cmd.Context(), ""), client, repo, staged); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "the cluster has it; agents follow with their next look-up\n  next: redflag keys status")
	return err
}

func printProgress(cmd *cobra.Command, repo *signing.Repository, staged signing.Staged, dir string) error {
	standings, err := repo.Standings(staged)
	if err != nil {
		return err
	}
	if err := printStandings(cmd, standings); err != nil {
		return err
	}
	next := "redflag keys push"
	if slices.ContainsFunc(standings, func(s signing.Standing) bool { return !s.Complete() }) {
		next = "hand " + dir + " to another signer, for redflag keys sign --staged"
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "  next:", next)
	return err
}
