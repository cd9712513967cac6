package main

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust"
	"redflag/trust/signing"
)

func newKeysNew() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a key on this machine, to be given a role by who holds the root keys",
		Long: `Make a key on this machine, to be given a role by who holds the root keys.

Only the .pub file travels: send it to them for redflag keys add. They send back
1.root.json, root.json and targets.json, which belong into --keys.`,
		Example: "  redflag keys new alice --keys ./alice",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := signing.NewKey(keysDir(cmd), args[0], newKeyOptions(cmd))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %s; its public half is %s\n  next: redflag keys add targets --public-key %s.pub, where the root keys are\n",
				key.ID, signing.PublicKeyPath(keysDir(cmd), args[0]), args[0])
			return err
		},
	}
	addPlainKeysFlag(cmd)
	return cmd
}

func newKeysAdd() *cobra.Command {
	var file, name string
	var threshold int
	cmd := &cobra.Command{
		Use:   "add ROLE",
		Short: "Let one more key sign root or targets",
		Example: `  redflag keys add targets --public-key alice.pub
  redflag keys add root --name root-3 --threshold 2`,
		Args: exactArgs("ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeRoot(cmd, func(repo *signing.Repository, _ *api.Client) (signing.RootChange, error) {
				c := signing.RootChange{Grant: map[string][]crypto.PublicKey{}, Threshold: thresholds(args[0], threshold)}
				public, err := addedKey(cmd, repo, file, name)
				c.Grant[args[0]] = []crypto.PublicKey{public}
				return c, err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "public-key", "", "public key that somebody made with redflag keys new")
	f.StringVar(&name, "name", "", "make the key here under this name instead")
	f.IntVar(&threshold, "threshold", 0, "how many keys of the role must sign from now on; 0 leaves it")
	addPlainKeysFlag(cmd)
	return cmd
}

func thresholds(role string, n int) map[string]int {
	if n == 0 {
		return nil
	}
	return map[string]int{role: n}
}

func addedKey(cmd *cobra.Command, repo *signing.Repository, file, name string) (crypto.PublicKey, error) {
	switch {
	case (file == "") == (name == ""):
		return nil, usageError{fmt.Errorf("pass either --public-key or --name")}
	case name != "":
		key, err := signing.NewKey(keysDir(cmd), name, newKeyOptions(cmd))
		return key.Public, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the public key cannot be read: %v", err)
	}
	return signing.ParsePublicKey(text)
}

func newKeysRevoke() *cobra.Command {
	var threshold int
	var role string
	cmd := &cobra.Command{
		Use:   "revoke KEY",
		Short: "Take a key away from every role: it is lost or somebody else has it",
		Long: `Take a key away from every role: it is lost or somebody else has it.

Agents refuse what it signed as soon as the change is in the cluster. What only it
had signed as targets is signed again by the keys that are left. What only it had
signed as a delegated role counts no more: publish it again with another key of the
role.`,
		Example: "  redflag keys revoke 3f1a…",
		Args:    exactArgs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo, client, err := openTargets(cmd)
			if err != nil {
				return err
			}
			var staged signing.Staged
			delegated, err := repo.RolesOf(args[0])
			if err != nil {
				return err
			}
			inRoot, err := repo.InRoot(args[0])
			if err != nil {
				return err
			}
			if inRoot || len(delegated) == 0 { // the second says that nobody knows the key
				c := signing.RootChange{Revoke: []string{args[0]}}
				if threshold > 0 && len(delegated) == 0 {
					c.Threshold = thresholds(role, threshold)
				}
				if staged, err = stagedRoot(repo, c); err != nil {
					return err
				}
			}
			for _, name := range delegated {
				c := signing.DelegationChange{Role: name, Revoke: []string{args[0]}}
				if name == role {
					c.Threshold = threshold
				}
				if staged, err = repo.ChangeDelegation(staged, c, time.Now()); err != nil {
					return err
				}
			}
			return stageOrPush(cmd, repo, client, staged)
		},
	}
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how many keys of --role must sign from now on; 0 leaves it")
	cmd.Flags().StringVar(&role, "role", "targets", "whose threshold")
	return cmd
}

func newKeysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate ROLE",
		Short: "Replace this machine's key of a role, or the nodes' online key",
		Long: `Replace this machine's key of a role, or the nodes' online key.

For a delegated role, that takes a key of targets here too. Where they are in other
hands: redflag keys new, keys delegate ROLE --public-key, keys renew ROLE with the
new key, keys revoke the old one.

The online key signs snapshot and timestamp. Rotate it when a node was stolen:
agents then also forget versions that the thief may have counted up.`,
		Example: `  redflag keys rotate targets
  redflag keys rotate app
  redflag keys rotate online`,
		Args: exactArgs("ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if trust.CheckRole(args[0]) == nil && args[0] != "online" {
				return rotateDelegated(cmd, args[0])
			}
			return changeRoot(cmd, func(repo *signing.Repository, client *api.Client) (signing.RootChange, error) {
				if args[0] == "online" {
					return rotateOnline(cmd, client)
				}
				return rotateOffline(cmd, repo, args[0])
			})
		},
	}
	addPlainKeysFlag(cmd)
	return cmd
}

func rotateOnline(cmd *cobra.Command, client *api.Client) (signing.RootChange, error) {
	var status api.TrustStatus
	if err := client.Do(cmd.Context(), http.MethodPost, "/v1/trust/online-key", nil, &status); err != nil {
		return signing.RootChange{}, err
	}
	public, err := x509.ParsePKIXPublicKey(status.NextOnlineKey)
	return signing.RootChange{Online: public}, err
}

func rotateOffline(cmd *cobra.Command, repo *signing.Repository, role string) (signing.RootChange, error) {
	if role != "root" && role != "targets" {
		return signing.RootChange{}, usageError{fmt.Errorf("there is no role %q; use root, targets, online or a delegated role", role)}
	}
	old, next, err := replaceKey(cmd, repo, role)
	return signing.RootChange{Grant: map[string][]crypto.PublicKey{role: {next}}, Revoke: []string{old}}, err
}

// replaceKey makes a new key for the first of this machine's keys of a role. One key
// is replaced per change: the others follow with further ones.
func replaceKey(cmd *cobra.Command, repo *signing.Repository, role string) (old string, next crypto.PublicKey, err error) {
	roles, err := trust.Roles(repo.Root(), repo.Targets())
	if err != nil {
		return "", nil, err
	}
	mine, err := repo.Keys()
	if err != nil {
		return "", nil, err
	}
	for _, r := range roles {
		for _, k := range mine {
			if r.Role == role && slices.Contains(r.Keys, k.ID) && k.Name != "" {
				key, err := signing.NewKey(keysDir(cmd), fmt.Sprintf("%s-%s", role, time.Now().UTC().Format("20060102-150405")), newKeyOptions(cmd))
				return k.ID, key.Public, err
			}
		}
	}
	return "", nil, api.Errorf(api.CodeNotFound, "no key of %s is in %s", role, keysDir(cmd)).
		WithHint("run it where such a key is: redflag keys status")
}

func newKeysRenew() *cobra.Command {
	return &cobra.Command{
		Use:   "renew ROLE",
		Short: "Sign root, targets or a delegated role anew, so that it expires later",
		Example: `  redflag keys renew targets
  redflag keys renew root
  redflag keys renew app`,
		Args: exactArgs("ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "root":
				return changeRoot(cmd, func(*signing.Repository, *api.Client) (signing.RootChange, error) { return signing.RootChange{}, nil })
			case "targets":
			default:
				return renewDelegated(cmd, args[0])
			}
			repo, client, err := openTargets(cmd)
			if err != nil {
				return err
			}
			staged, err := repo.RenewTargets(signing.Staged{}, time.Now())
			if err != nil {
				return err
			}
			return stageOrPush(cmd, repo, client, staged)
		},
	}
}

// openTargets is openKeys, and brings the local targets up to what the cluster has.
func openTargets(cmd *cobra.Command) (*signing.Repository, *api.Client, error) {
	repo, client, err := openKeys(cmd, keyOptions(cmd))
	if err != nil {
		return nil, nil, err
	}
	return repo, client, publish.SyncTargets(cmd.Context(), client, repo)
}

// changeRoot makes the next root as change says.
func changeRoot(cmd *cobra.Command, change func(*signing.Repository, *api.Client) (signing.RootChange, error)) error {
	repo, client, err := openTargets(cmd)
	if err != nil {
		return err
	}
	c, err := change(repo, client)
	if err != nil {
		return err
	}
	staged, err := stagedRoot(repo, c)
	if err != nil {
		return err
	}
	return stageOrPush(cmd, repo, client, staged)
}

// stagedRoot is the next root, and the next targets where the present ones would not
// hold under it.
func stagedRoot(repo *signing.Repository, c signing.RootChange) (signing.Staged, error) {
	root, err := repo.ChangeRoot(c, time.Now())
	if err != nil {
		return signing.Staged{}, err
	}
	return repo.Restage(signing.Staged{Root: root}, time.Now())
}
