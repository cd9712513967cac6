package signing

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// targetsMetadata is the file of targets and of each role that it delegates to.
type targetsMetadata = metadata.Metadata[metadata.TargetsType]

// desk is where one role is signed: targets, or a role that it delegates to.
type desk struct {
	role      string
	path      string   // of the local file
	local     []byte   // its content; nil for a delegated role that was never signed here
	keys      []string // ids of those that may sign
	threshold int
	// hearsay is the highest version that counts of a file that does not verify: a
	// server that makes one up could otherwise leave no version to go on to. It grows
	// with each version of targets, and a key is taken away by one.
	hearsay int64
	check   func(file []byte, now time.Time) (trust.TargetsSummary, error)
}

// desk returns the desk of a role as the local root and targets have it.
func (r *Repository) desk(role string) (desk, error) { return r.deskUnder(role, r.root, r.targets) }

// deskUnder returns the desk of a role under metadata that may only be staged, and
// that too few may have signed yet.
func (r *Repository) deskUnder(role string, root, targets []byte) (d desk, err error) {
	if role == trust.RoleTargets {
		m, err := trust.Parse[metadata.RootType](root)
		if err != nil {
			return desk{}, err
		}
		keys := m.Signed.Roles[role]
		return desk{
			role: role, path: targetsPath(r.dir), local: r.targets, keys: keys.KeyIDs, threshold: keys.Threshold,
			check: func(file []byte, now time.Time) (trust.TargetsSummary, error) {
				return trust.CheckTargets(root, file, now)
			},
		}, nil
	}
	delegated, err := trust.Delegations(targets)
	if err != nil {
		return desk{}, err
	}
	over, err := trust.Parse[metadata.TargetsType](targets)
	if err != nil {
		return desk{}, err
	}
	i := slices.IndexFunc(delegated, func(d trust.Delegation) bool { return d.Role == role })
	if i < 0 {
		return desk{}, api.Errorf(api.CodeNotFound, "targets delegates nothing to a role %.80q", role).
			WithHint("redflag keys status lists the roles; redflag keys delegate makes one")
	}
	d = desk{
		role: role, path: rolePath(r.dir, role), keys: delegated[i].Keys, threshold: delegated[i].Threshold,
		hearsay: min(over.Signed.Version, 1<<30) << 32,
		check: func(file []byte, now time.Time) (trust.TargetsSummary, error) {
			return trust.CheckDelegated(targets, role, file, now)
		},
	}
	if d.local, err = durable.ReadFile(d.path, trust.MaxTargetsLength); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return desk{}, fmt.Errorf("read role %s: %w", role, err)
	}
	return d, nil
}

func rolePath(dir, role string) string { return filepath.Join(dir, "roles", role+".json") }

// newer returns what to build on: current or the local file, whichever has the
// higher version, and the targets that it names.
//
// Targets must verify. The file of a delegated role need not: its key may have been
// taken away, and then it counts only as a version to go on from.
func (d desk) newer(current []byte) (base *targetsMetadata, named map[string]trust.Target, err error) {
	base = metadata.Targets(time.Time{})
	base.Signed.Version = 0
	version := int64(0)
	for _, f := range []struct {
		whose string
		file  []byte
	}{{"local", d.local}, {"the cluster's", current}} {
		if f.file == nil {
			continue
		}
		m, err := trust.Parse[metadata.TargetsType](f.file)
		if err != nil {
			return nil, nil, fmt.Errorf("%s %w", f.whose, err)
		}
		version = max(version, m.Signed.Version)
		summary, err := d.check(f.file, time.Time{})
		switch {
		case err == nil && m.Signed.Version >= base.Signed.Version:
			base, named = m, summary.Targets
		case err != nil && d.role == metadata.TARGETS:
			return nil, nil, fmt.Errorf("%s %w", f.whose, err)
		case err != nil && m.Signed.Version > d.hearsay:
			return nil, nil, fmt.Errorf("%s %w: and it says that it is version %d", f.whose, err, m.Signed.Version)
		}
	}
	base.Signed.Version = version
	if base.Signed.Targets == nil {
		base.Signed.Targets = map[string]*metadata.TargetFiles{}
	}
	return base, named, nil
}

func (d desk) commit(file []byte) error {
	next, err := d.check(file, time.Time{})
	if err != nil {
		return err
	}
	if d.local != nil {
		local, err := trust.Parse[metadata.TargetsType](d.local)
		if err != nil {
			return fmt.Errorf("local %w", err)
		}
		if next.Version < local.Signed.Version {
			return fmt.Errorf("%w: version %d, the local one is %d", trust.ErrRollback, next.Version, local.Signed.Version)
		}
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(d.path, file, 0o644)
}

// enough reports whether as many keys as must have signed m.
func (d desk) enough(m *targetsMetadata) bool {
	n := 0
	for _, s := range m.Signatures {
		if slices.Contains(d.keys, s.KeyID) {
			n++
		}
	}
	return n >= d.threshold
}

// signAs adds the signatures of those of this machine's keys that may sign.
func (r *Repository) signAs(d desk, m *targetsMetadata) ([]byte, error) {
	signers, err := r.signersOf(d)
	if err != nil {
		return nil, err
	}
	return tufsign.Add(m, signers...)
}

func (r *Repository) signersOf(d desk) ([]crypto.Signer, error) {
	signers, err := r.ring.signers(d.keys)
	if err == nil && len(signers) == 0 {
		err = fmt.Errorf("no key of %s is in %s: %w", d.role, r.ring.dir, ErrNoKeys)
	}
	return signers, err
}
