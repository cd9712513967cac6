package trust

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RoleTargets is the role whose keys say what may be installed, and who else may.
const RoleTargets = metadata.TARGETS

// Bounds of what one targets file delegates.
const (
	MaxDelegations = 64
	MaxPatterns    = 32 // of one role
)

// Delegation is a role that the targets keys let sign some of the paths, with
// keys of its own.
type Delegation struct {
	Role      string
	Keys      []string // ids
	Threshold int
	Paths     []string // patterns such as app/*
}

// A role's name is part of file names, on Windows and macOS too, where capitals
// make no difference; a pattern has the shape of api.TargetPath.
var (
	validRole    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	validPattern = regexp.MustCompile(`^[A-Za-z0-9._*?+-]{1,128}/[A-Za-z0-9._*?~+-]{1,256}$`)
)

// CheckRole returns an ErrMalformed error for a name that no delegated role may
// have.
func CheckRole(name string) error {
	if !validRole.MatchString(name) || slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], name) {
		return fmt.Errorf("role %.80q: %w: want small letters, digits, - and _, and not root, targets, snapshot or timestamp", name, ErrMalformed)
	}
	return nil
}

// CheckPattern returns an ErrMalformed error for a pattern that can match no
// target, or that matches differently on another system.
func CheckPattern(pattern string) error {
	if !validPattern.MatchString(pattern) {
		return fmt.Errorf("pattern %.80q: %w: want NAME/VERSION with * and ?, such as app/*", pattern, ErrMalformed)
	}
	return nil
}

// Delegations lists what targets metadata delegates, in the order in which
// agents ask. It does not verify the file.
func Delegations(targets []byte) ([]Delegation, error) {
	m, err := Parse[metadata.TargetsType](targets)
	if err != nil || m.Signed.Delegations == nil {
		return nil, err
	}
	var out []Delegation
	for _, r := range m.Signed.Delegations.Roles {
		out = append(out, Delegation{Role: r.Name, Keys: r.KeyIDs, Threshold: r.Threshold, Paths: r.Paths})
	}
	return out, nil
}

// CheckDelegated is CheckTargets for the file of a delegated role. targets, which
// the caller has checked, must let the role's keys sign, and must give every path
// of the file to this very role: where patterns overlap, the first one counts. A
// delegated role delegates nothing further.
func CheckDelegated(targets []byte, role string, file []byte, now time.Time) (TargetsSummary, error) {
	delegator, err := Parse[metadata.TargetsType](targets)
	if err != nil {
		return TargetsSummary{}, err
	}
	m, err := Parse[metadata.TargetsType](file)
	if err != nil {
		return TargetsSummary{}, fmt.Errorf("role %s: %w", role, err)
	}
	err = guarded(func() error { return delegator.VerifyDelegate(role, m) })
	if err != nil {
		return TargetsSummary{}, fmt.Errorf("role %s: %w", role, classify(err, ErrSignature))
	}
	if err := checkExpiry(role, m.Signed.Expires, now); err != nil {
		return TargetsSummary{}, err
	}
	if m.Signed.Delegations != nil {
		return TargetsSummary{}, fmt.Errorf("role %s: %w: it delegates further", role, ErrMalformed)
	}
	for path := range m.Signed.Targets {
		if owner := ownerOf(delegator.Signed.Delegations, path); owner != role {
			return TargetsSummary{}, fmt.Errorf("role %s: %w: it may not sign %.300q, only %s", role, ErrSignature, path, pathsOf(delegator.Signed.Delegations, role))
		}
	}
	return summarise(&m.Signed)
}

// ownerOf returns the role that agents ask about a path, or "".
func ownerOf(d *metadata.Delegations, path string) string {
	if roles := d.GetRolesForTarget(path); len(roles) > 0 {
		return roles[0].Name
	}
	return ""
}

func pathsOf(d *metadata.Delegations, role string) string {
	for _, r := range d.Roles {
		if r.Name == role {
			return strings.Join(r.Paths, ", ")
		}
	}
	return "nothing"
}
