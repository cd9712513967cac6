package signing

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/durable"
	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// ErrTargetExists says that a version was signed before with other content. A
// version never changes its meaning; agents that have it would not notice.
var ErrTargetExists = errors.New("this version was published before with other content (publish a new version)")

// ErrIncomplete says that metadata waits for the signatures of other people.
var ErrIncomplete = errors.New("more signatures are needed (pass the staged folder on: redflag keys sign)")

// Repository is the operator's side of the TUF repository. It is not safe for
// concurrent use. Two operators with copies of the keys are kept apart by the
// cluster, which accepts only newer targets than it has.
type Repository struct {
	dir     string
	ring    *keyring
	first   []byte // the root that tokens pin
	root    []byte // the newest that a cluster is known to have
	targets []byte // likewise
}

func firstPath(dir string) string   { return filepath.Join(dir, "1.root.json") }
func rootPath(dir string) string    { return filepath.Join(dir, "root.json") }
func targetsPath(dir string) string { return filepath.Join(dir, "targets.json") }

// Open returns the repository in dir, or ErrNoKeys. It needs no key and no
// passphrase: both may be kept elsewhere until something is to be signed.
func Open(dir string, opts Options) (*Repository, error) {
	r := &Repository{dir: dir, ring: newKeyring(dir, opts)}
	var err error
	for path, into := range map[string]*[]byte{
		firstPath(dir): &r.first, rootPath(dir): &r.root, targetsPath(dir): &r.targets,
	} {
		if *into, err = readFile(path); err != nil {
			return nil, fmt.Errorf("open signing keys: %w", err)
		}
	}
	if err := trust.CheckRootUpdate(nil, r.root); err != nil {
		return nil, fmt.Errorf("open signing keys: local %w", err)
	}
	return r, nil
}

func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKeys)
	}
	return data, err
}

// First returns the first root metadata, whose hash tokens pin.
func (r *Repository) First() []byte { return r.first }

// Root returns the newest signed root metadata.
func (r *Repository) Root() []byte { return r.root }

// Targets returns the signed targets metadata of the last Commit.
func (r *Repository) Targets() []byte { return r.targets }

// Keys returns the keys that this machine can sign with.
func (r *Repository) Keys() ([]Key, error) { return r.ring.list() }

// NewKey makes a key in the directory, to be granted a role by ChangeRoot.
func (r *Repository) NewKey(name string) (Key, error) { return NewKey(r.dir, name, r.ring.opts) }

// AddTarget returns new targets metadata that names t besides all that was
// named before. current is what the cluster has in force, or nil to start from
// the local file. When the cluster's is older than the local one, the local one
// is the basis: a server cannot bring back what the operator has moved on from,
// and a cluster restored from a backup gets everything again.
//
// The result is one version after the newer of both and not yet stored: call
// Commit once the cluster has acknowledged it. With ErrIncomplete it carries the
// signatures of this machine's keys and waits for others. Other errors are
// ErrTargetExists, or trust's where current or t is not to be believed.
func (r *Repository) AddTarget(current []byte, t trust.Target, now time.Time) ([]byte, error) {
	return r.AddTargets(current, []trust.Target{t}, now)
}

// AddTargets is AddTarget for targets that belong together: there is at least
// one, and they are signed all or none.
func (r *Repository) AddTargets(current []byte, ts []trust.Target, now time.Time) ([]byte, error) {
	signed, err := r.addTargets(current, ts, now)
	if err != nil {
		return signed, fmt.Errorf("sign target %s: %w", ts[0].Path, err)
	}
	return signed, nil
}

func (r *Repository) addTargets(current []byte, ts []trust.Target, now time.Time) ([]byte, error) {
	base, summary, err := r.newer(current)
	if err != nil {
		return nil, err
	}
	m, err := trust.Parse[metadata.TargetsType](base)
	if err != nil {
		return nil, err
	}
	if m.Signed.Targets == nil {
		m.Signed.Targets = map[string]*metadata.TargetFiles{}
	}
	for _, t := range ts {
		if err := t.Validate(); err != nil {
			return nil, err
		}
		if old, ok := summary.Targets[t.Path]; ok && !old.Equal(t) {
			return nil, ErrTargetExists
		}
		if m.Signed.Targets[t.Path], err = fileOf(t); err != nil {
			return nil, err
		}
	}
	m.Signed.Version++
	m.Signed.Expires = expiry(now, TargetsLifetime)
	m.ClearSignatures()
	signed, err := r.signTargets(r.root, m)
	if err != nil {
		return nil, err
	}
	// An expired root or too many targets come to light here, not on the agents.
	_, err = trust.CheckTargets(r.root, signed, now)
	if errors.Is(err, trust.ErrSignature) {
		return signed, ErrIncomplete
	}
	return signed, err
}

// signTargets adds the signatures of this machine's keys that root names.
func (r *Repository) signTargets(root []byte, m *metadata.Metadata[metadata.TargetsType]) ([]byte, error) {
	roles, err := trust.Parse[metadata.RootType](root)
	if err != nil {
		return nil, err
	}
	signers, err := r.ring.signers(roles.Signed.Roles[metadata.TARGETS].KeyIDs)
	if err != nil {
		return nil, err
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("no key of targets is in %s: %w", r.ring.dir, ErrNoKeys)
	}
	return tufsign.Add(m, signers...)
}

// newer returns current or the local targets, whichever has the higher version.
func (r *Repository) newer(current []byte) ([]byte, trust.TargetsSummary, error) {
	local, err := r.check(r.targets)
	if err != nil || current == nil {
		return r.targets, local, err
	}
	cluster, err := r.check(current)
	if err != nil {
		return nil, trust.TargetsSummary{}, fmt.Errorf("the cluster's %w", err)
	}
	if cluster.Version < local.Version {
		return r.targets, local, nil
	}
	return current, cluster, nil
}

// check verifies targets but for the expiry: to renew them is what keys are for.
func (r *Repository) check(targets []byte) (trust.TargetsSummary, error) {
	return trust.CheckTargets(r.root, targets, time.Time{})
}

// Commit stores targets that the cluster has acknowledged. It returns
// trust.ErrRollback for targets older than the local ones.
func (r *Repository) Commit(targets []byte) error {
	next, err := r.check(targets)
	if err != nil {
		return fmt.Errorf("commit targets: %w", err)
	}
	local, err := trust.Parse[metadata.TargetsType](r.targets)
	if err != nil {
		return fmt.Errorf("commit targets: local %w", err)
	}
	if next.Version < local.Signed.Version {
		return fmt.Errorf("commit targets: %w: version %d, the local one is %d", trust.ErrRollback, next.Version, local.Signed.Version)
	}
	if err := durable.WriteFile(targetsPath(r.dir), targets, 0o644); err != nil {
		return fmt.Errorf("commit targets: %w", err)
	}
	r.targets = targets
	return nil
}

// fileOf returns a target as TUF has it.
func fileOf(t trust.Target) (*metadata.TargetFiles, error) {
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil {
		return nil, fmt.Errorf("encode hash: %w", err)
	}
	custom, err := json.Marshal(t.Custom)
	if err != nil {
		return nil, fmt.Errorf("encode custom field: %w", err)
	}
	raw := json.RawMessage(custom)
	return &metadata.TargetFiles{
		Length: t.Length,
		Hashes: metadata.Hashes{"sha256": sum},
		Custom: &raw,
		Path:   t.Path,
	}, nil
}
