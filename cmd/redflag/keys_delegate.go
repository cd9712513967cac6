package main

import (
	"crypto"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust/signing"
)

func newKeysDelegate() *cobra.Command {
	var change signing.DelegationChange
	var files, names []string
	cmd := &cobra.Command{
		Use:   "delegate ROLE",
		Short: "Let keys of their own sign a product, and nothing else",
		Long: `Let keys of their own sign a product, and nothing else.

The targets keys sign, offline, that ROLE may name the payloads that match --path,
by default ROLE/*. Whoever holds its keys publishes with redflag publish --role ROLE
and needs nobody else; agents and nodes refuse every other path from them. Where the
patterns of two roles overlap, the one that was made first has the path.

Run it again to add keys, change the threshold or replace the patterns. Take a key
away with redflag keys revoke, and the whole role with --remove.`,
		Example: `  redflag keys delegate app --public-key dev.pub
  redflag keys delegate app --public-key dev.pub --public-key build.pub --threshold 2
  redflag keys delegate tools --name tools --path 'tools/*' --path 'tools-*/*'
  redflag keys delegate app --remove`,
		Args: exactArgs("ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			change.Role = args[0]
			if change.Remove && (len(files)+len(names)+len(change.Paths) > 0 || change.Threshold != 0) {
				return usageError{fmt.Errorf("--remove goes with no other flag")}
			}
			if change.Threshold < 0 {
				return usageError{fmt.Errorf("--threshold %d is not positive", change.Threshold)}
			}
			repo, client, err := openTargets(cmd)
			if err != nil {
				return err
			}
			if change.Grant, err = delegatedKeys(cmd, files, names); err != nil {
				return err
			}
			staged, err := repo.ChangeDelegation(signing.Staged{}, change, time.Now())
			if err != nil {
				return err
			}
			return stageOrPush(cmd, repo, client, staged)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&files, "public-key", nil, "public key that somebody made with redflag keys new; may be repeated")
	f.StringArrayVar(&names, "name", nil, "make a key here under this name instead; may be repeated")
	f.StringArrayVar(&change.Paths, "path", nil, "what the role may sign, NAME/VERSION with * and ?; may be repeated, and replaces what it was")
	f.IntVar(&change.Threshold, "threshold", 0, "how many of its keys must sign; 0 leaves it, a new role has 1")
	f.BoolVar(&change.Remove, "remove", false, "take the role away: agents refuse what it has signed")
	addPlainKeysFlag(cmd)
	return cmd
}

func delegatedKeys(cmd *cobra.Command, files, names []string) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "the public key cannot be read: %v", err)
		}
		key, err := signing.ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	for _, name := range names {
		key, err := signing.NewKey(keysDir(cmd), name, newKeyOptions(cmd))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key.Public)
	}
	return keys, nil
}

// renewDelegated signs the file of a delegated role anew.
func renewDelegated(cmd *cobra.Command, role string) error {
	repo, client, err := openTargets(cmd)
	if err != nil {
		return err
	}
	staged, err := renewedRole(cmd, repo, client, signing.Staged{}, role)
	if err != nil {
		return err
	}
	return stageOrPush(cmd, repo, client, staged)
}

// renewedRole adds the next file of a delegated role to staged.
func renewedRole(cmd *cobra.Command, repo *signing.Repository, client *api.Client, staged signing.Staged, role string) (signing.Staged, error) {
	files, err := publish.Delegated(cmd.Context(), client, repo)
	if err != nil {
		return staged, err
	}
	return repo.RenewRole(staged, role, files[role], time.Now())
}

// rotateDelegated replaces this machine's key of a delegated role, and signs what it
// had signed with the new one, in one change.
func rotateDelegated(cmd *cobra.Command, role string) error {
	repo, client, err := openTargets(cmd)
	if err != nil {
		return err
	}
	old, next, err := replaceKey(cmd, repo, role)
	if err != nil {
		return err
	}
	c := signing.DelegationChange{Role: role, Grant: []crypto.PublicKey{next}, Revoke: []string{old}}
	staged, err := repo.ChangeDelegation(signing.Staged{}, c, time.Now())
	if err != nil {
		return err
	}
	if staged, err = renewedRole(cmd, repo, client, staged, role); err != nil {
		return err
	}
	return stageOrPush(cmd, repo, client, staged)
}
