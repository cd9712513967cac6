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

	"redflag/trust"
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

// AddTarget is AddTargets for one target, signed by the targets keys.
func (r *Repository) AddTarget(current []byte, t trust.Target, now time.Time) ([]byte, error) {
	return r.AddTargets(metadata.TARGETS, current, []trust.Target{t}, now)
}

// AddTargets returns new metadata of a role, targets or one that it delegates to,
// which names ts besides all that was named before. There is at least one, and
// they are signed all or none. current is what the cluster has in force, or nil to
// start from the local file. When the cluster's is older than the local one, the
// local one is the basis: a server cannot bring back what the operator has moved on
// from, and a cluster restored from a backup gets everything again.
//
// The result is one version after the newer of both and not yet stored: call
// Commit once the cluster has acknowledged it. With ErrIncomplete it carries the
// signatures of this machine's keys and waits for others. Other errors are
// ErrTargetExists, or trust's where current or a target is not to be believed.
func (r *Repository) AddTargets(role string, current []byte, ts []trust.Target, now time.Time) ([]byte, error) {
	signed, err := r.addTargets(role, current, ts, now)
	if err != nil {
		return signed, fmt.Errorf("sign target %s: %w", ts[0].Path, err)
	}
	return signed, nil
}

func (r *Repository) addTargets(role string, current []byte, ts []trust.Target, now time.Time) ([]byte, error) {
	d, err := r.desk(role)
	if err != nil {
		return nil, err
	}
	m, named, err := d.newer(current)
	if err != nil {
		return nil, err
	}
	for _, t := range ts {
		if err := t.Validate(); err != nil {
			return nil, err
		}
		if old, ok := named[t.Path]; ok && !old.Equal(t) {
			return nil, ErrTargetExists
		}
		if m.Signed.Targets[t.Path], err = fileOf(t); err != nil {
			return nil, err
		}
	}
	m.Signed.Version++
	m.Signed.Expires = expiry(now, TargetsLifetime)
	m.ClearSignatures()
	signed, err := r.signAs(d, m)
	if err != nil {
		return nil, err
	}
	// An expired root, too many targets or a path that is not the role's come to
	// light here, not on the agents.
	_, err = d.check(signed, now)
	if errors.Is(err, trust.ErrSignature) && !d.enough(m) {
		return signed, ErrIncomplete
	}
	return signed, err
}

// Commit stores targets that the cluster has acknowledged. It returns
// trust.ErrRollback for targets older than the local ones.
func (r *Repository) Commit(targets []byte) error { return r.CommitRole(metadata.TARGETS, targets) }

// CommitRole is Commit for targets or a role that it delegates to.
func (r *Repository) CommitRole(role string, file []byte) error {
	d, err := r.desk(role)
	if err == nil {
		err = d.commit(file)
	}
	if err != nil {
		return fmt.Errorf("commit %s: %w", role, err)
	}
	if role == metadata.TARGETS {
		r.targets = file
	}
	return nil
}

// Check returns what the metadata of a role says, if the local root and targets
// trust its signers. A zero now skips the expiry.
func (r *Repository) Check(role string, file []byte, now time.Time) (trust.TargetsSummary, error) {
	d, err := r.desk(role)
	if err != nil {
		return trust.TargetsSummary{}, err
	}
	return d.check(file, now)
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
