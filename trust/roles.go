package trust

import (
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RoleStatus is who may sign a role, and until when what they signed holds.
type RoleStatus struct {
	Role      string    `json:"role"`
	Keys      []string  `json:"keys"`
	Threshold int       `json:"threshold"`
	Expires   time.Time `json:"expires,omitzero"` // zero where it is not known
	Paths     []string  `json:"paths,omitempty"`  // what a delegated role may sign
}

// Roles says of each top-level role what root has for it, and then of each
// delegated role what targets has, whose own expiry is in its own file. targets
// may be nil; nothing is verified but root itself.
func Roles(root, targets []byte) ([]RoleStatus, error) {
	set, err := openRoot(root)
	if err != nil {
		return nil, err
	}
	var out []RoleStatus
	for _, name := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		role := set.Root.Signed.Roles[name]
		s := RoleStatus{Role: name, Keys: role.KeyIDs, Threshold: role.Threshold}
		switch {
		case name == metadata.ROOT:
			s.Expires = set.Root.Signed.Expires
		case name == metadata.TARGETS && targets != nil:
			m, err := Parse[metadata.TargetsType](targets)
			if err != nil {
				return nil, err
			}
			s.Expires = m.Signed.Expires
		}
		out = append(out, s)
	}
	if targets == nil {
		return out, nil
	}
	delegated, err := Delegations(targets)
	for _, d := range delegated {
		out = append(out, RoleStatus{Role: d.Role, Keys: d.Keys, Threshold: d.Threshold, Paths: d.Paths})
	}
	return out, err
}

// ExpiryOf returns until when a metadata file of a role holds, without verifying
// it: for alarms, not for decisions.
func ExpiryOf(role string, data []byte) (time.Time, error) {
	switch role {
	case metadata.ROOT:
		m, err := Parse[metadata.RootType](data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	case metadata.TIMESTAMP:
		m, err := Parse[metadata.TimestampType](data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	case metadata.SNAPSHOT:
		m, err := Parse[metadata.SnapshotType](data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	default:
		m, err := Parse[metadata.TargetsType](data)
		if err != nil {
			return time.Time{}, err
		}
		return m.Signed.Expires, nil
	}
}
