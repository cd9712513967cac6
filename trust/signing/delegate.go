package signing

import (
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/trust"
)

// DelegationChange is what the next targets are to say of a delegated role, which
// it makes if there is none.
type DelegationChange struct {
	Role string
	// Paths replaces the patterns of what the role may sign; nil leaves them, and
	// gives a new role ROLE/*.
	Paths []string
	Grant []crypto.PublicKey
	// Revoke takes keys away by their ids.
	Revoke    []string
	Threshold int // 0 leaves it; a new role has 1
	// Remove takes the role away: agents refuse what it has signed.
	Remove bool
}

// ChangeDelegation adds the next targets, changed by c, to s.
func (r *Repository) ChangeDelegation(s Staged, c DelegationChange, now time.Time) (Staged, error) {
	if err := trust.CheckRole(c.Role); err != nil {
		return s, api.Errorf(api.CodeInvalid, "%v", err)
	}
	return r.renew(s, now, c.apply)
}

// RolesOf returns the delegated roles that a key may sign.
func (r *Repository) RolesOf(keyID string) ([]string, error) {
	delegated, err := trust.Delegations(r.targets)
	var roles []string
	for _, d := range delegated {
		if slices.Contains(d.Keys, keyID) {
			roles = append(roles, d.Role)
		}
	}
	return roles, err
}

func (c DelegationChange) apply(t *metadata.TargetsType) error {
	if t.Delegations == nil {
		t.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	d := t.Delegations
	i := slices.IndexFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == c.Role })
	if c.Remove {
		if i < 0 {
			return api.Errorf(api.CodeNotFound, "targets delegates nothing to a role %q", c.Role).WithHint("redflag keys status lists the roles")
		}
		d.Roles = slices.Delete(d.Roles, i, i+1)
		dropKeys(t)
		return nil
	}
	if i < 0 {
		if len(d.Roles) == trust.MaxDelegations {
			return api.Errorf(api.CodeInvalid, "targets delegates to %d roles already", trust.MaxDelegations)
		}
		// Terminating: who owns a path is one role's business, and no other is asked.
		d.Roles = append(d.Roles, metadata.DelegatedRole{Name: c.Role, Threshold: 1, Terminating: true, Paths: []string{c.Role + "/*"}})
		i = len(d.Roles) - 1
	}
	role := &d.Roles[i]
	if err := c.change(d, role); err != nil {
		return err
	}
	if role.Threshold < 1 || len(role.KeyIDs) < role.Threshold {
		return api.Errorf(api.CodeInvalid, "%s would have %d keys and need %d", role.Name, len(role.KeyIDs), role.Threshold).
			WithHint("give it a key with --public-key in the same change, or take the role away: redflag keys delegate %s --remove", role.Name)
	}
	dropKeys(t)
	return nil
}

func (c DelegationChange) change(d *metadata.Delegations, role *metadata.DelegatedRole) error {
	for _, id := range c.Revoke {
		n := len(role.KeyIDs)
		role.KeyIDs = slices.DeleteFunc(role.KeyIDs, func(have string) bool { return have == id })
		if len(role.KeyIDs) == n {
			return api.Errorf(api.CodeNotFound, "%s has no key %s", role.Name, id).WithHint("redflag keys status lists them")
		}
	}
	for _, public := range c.Grant {
		key, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			return api.Errorf(api.CodeInvalid, "the key cannot sign metadata: %v", err).WithHint("use Ed25519 or ECDSA P-256")
		}
		id, err := key.ID()
		if err != nil {
			return err
		}
		d.Keys[id] = key
		if !slices.Contains(role.KeyIDs, id) {
			role.KeyIDs = append(role.KeyIDs, id)
		}
	}
	if c.Threshold != 0 {
		role.Threshold = c.Threshold
	}
	if c.Paths == nil {
		return nil
	}
	if len(c.Paths) > trust.MaxPatterns {
		return api.Errorf(api.CodeInvalid, "%d patterns are too many, the limit is %d", len(c.Paths), trust.MaxPatterns)
	}
	for _, p := range c.Paths {
		if err := trust.CheckPattern(p); err != nil {
			return api.Errorf(api.CodeInvalid, "%v", err)
		}
	}
	role.Paths = c.Paths
	return nil
}

// dropKeys forgets keys that no role has any more.
func dropKeys(t *metadata.TargetsType) {
	d := t.Delegations
	maps.DeleteFunc(d.Keys, func(id string, _ *metadata.Key) bool {
		return !slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return slices.Contains(r.KeyIDs, id) })
	})
	if len(d.Roles) == 0 {
		t.Delegations = nil
	}
}

// RenewRole adds the file of a delegated role with a new expiry to s, signed by
// those keys on this machine that may under the targets of s. current is the
// cluster's file, or nil.
func (r *Repository) RenewRole(s Staged, role string, current []byte, now time.Time) (Staged, error) {
	present, err := r.desk(role)
	if err != nil {
		return s, err
	}
	m, _, err := present.newer(current)
	if err != nil {
		return s, fmt.Errorf("renew %s: %w", role, err)
	}
	next, err := r.deskUnder(role, r.rootFor(s), r.targetsFor(s))
	if err != nil {
		return s, err
	}
	m.Signed.Version++
	m.Signed.Expires = expiry(now, TargetsLifetime)
	m.ClearSignatures()
	file, err := r.signAs(next, m)
	if err != nil {
		return s, fmt.Errorf("renew %s: %w", role, err)
	}
	if _, err := next.check(file, now); err != nil && (!errors.Is(err, trust.ErrSignature) || next.enough(m)) {
		return s, fmt.Errorf("renew %s: %w", role, err)
	}
	s.Roles = maps.Clone(s.Roles)
	if s.Roles == nil {
		s.Roles = map[string][]byte{}
	}
	s.Roles[role] = file
	return s, nil
}
