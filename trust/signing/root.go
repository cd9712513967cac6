package signing

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// RootChange is what the next root is to say. The zero value renews it as it
// is.
type RootChange struct {
	// Grant lets keys sign a role.
	Grant map[string][]crypto.PublicKey
	// Revoke takes keys, by their ids, away from every role.
	Revoke []string
	// Threshold is how many keys must sign a role from now on.
	Threshold map[string]int
	// Online replaces the nodes' key of snapshot and timestamp.
	Online crypto.PublicKey
}

// ChangeRoot returns the next root, signed by those keys on this machine that
// may. It takes effect once Standings says that enough have signed and the
// cluster has it. Agents that skipped versions follow them one by one.
func (r *Repository) ChangeRoot(c RootChange, now time.Time) ([]byte, error) {
	m, err := trust.Parse[metadata.RootType](r.root)
	if err != nil {
		return nil, fmt.Errorf("change root: %w", err)
	}
	m.Signed.Version++
	m.Signed.Expires = expiry(now, RootLifetime)
	if err := c.apply(&m.Signed); err != nil {
		return nil, fmt.Errorf("change root: %w", err)
	}
	m.ClearSignatures()
	return r.signRoot(m)
}

func (c *RootChange) apply(root *metadata.RootType) error {
	for _, id := range c.Revoke {
		if !revoke(root, id) {
			return api.Errorf(api.CodeNotFound, "no role has a key %s", id).WithHint("redflag keys status lists them")
		}
	}
	for role, publics := range c.Grant {
		for _, public := range publics {
			if err := grant(root, role, public); err != nil {
				return err
			}
		}
	}
	if c.Online != nil {
		for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
			for _, id := range slices.Clone(root.Roles[role].KeyIDs) {
				if err := root.RevokeKey(id, role); err != nil {
					return err
				}
			}
			if err := grant(root, role, c.Online); err != nil {
				return err
			}
		}
	}
	for role, n := range c.Threshold {
		if root.Roles[role] == nil {
			return unknownRole(role)
		}
		root.Roles[role].Threshold = n
	}
	for name, role := range root.Roles {
		if role.Threshold < 1 || len(role.KeyIDs) < role.Threshold {
			return api.Errorf(api.CodeInvalid, "%s would have %d keys and need %d", name, len(role.KeyIDs), role.Threshold).
				WithHint("add a key first, or lower the threshold in the same change")
		}
	}
	return nil
}

func unknownRole(role string) error {
	return api.Errorf(api.CodeInvalid, "there is no role %q", role).WithHint("use root or targets")
}

func grant(root *metadata.RootType, role string, public crypto.PublicKey) error {
	if root.Roles[role] == nil {
		return unknownRole(role)
	}
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return api.Errorf(api.CodeInvalid, "the key cannot sign metadata: %v", err).WithHint("use Ed25519 or ECDSA P-256")
	}
	return root.AddKey(key, role)
}

// InRoot reports whether root gives a key any role.
func (r *Repository) InRoot(keyID string) (bool, error) {
	roles, err := trust.Roles(r.root, nil)
	return slices.ContainsFunc(roles, func(s trust.RoleStatus) bool { return slices.Contains(s.Keys, keyID) }), err
}

// revoke reports whether any role had the key.
func revoke(root *metadata.RootType, id string) bool {
	had := false
	for name, role := range root.Roles {
		if slices.Contains(role.KeyIDs, id) {
			had = root.RevokeKey(id, name) == nil || had
		}
	}
	return had
}

// signRoot adds the signatures of this machine's keys that the present or the
// next root names: a root needs the thresholds of both.
func (r *Repository) signRoot(m *metadata.Metadata[metadata.RootType]) ([]byte, error) {
	now, err := trust.Parse[metadata.RootType](r.root)
	if err != nil {
		return nil, err
	}
	ids := slices.Concat(now.Signed.Roles[metadata.ROOT].KeyIDs, m.Signed.Roles[metadata.ROOT].KeyIDs)
	signers, err := r.ring.signers(ids)
	if err != nil {
		return nil, err
	}
	return tufsign.Add(m, signers...)
}

// CommitRoot stores a root that the cluster has: the next one after the local.
func (r *Repository) CommitRoot(root []byte) error {
	if err := trust.CheckRootUpdate(r.root, root); err != nil {
		return fmt.Errorf("commit root: %w", err)
	}
	if err := durable.WriteFile(rootPath(r.dir), root, 0o644); err != nil {
		return fmt.Errorf("commit root: %w", err)
	}
	r.root = root
	return nil
}
