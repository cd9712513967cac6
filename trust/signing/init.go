package signing

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// How long a signature of the offline keys holds.
const (
	RootLifetime    = 365 * 24 * time.Hour
	TargetsLifetime = 90 * 24 * time.Hour
)

// Quorum is how many keys a role has and how many must sign.
type Quorum struct{ Keys, Threshold int }

// Plan says which keys Init makes. The zero value is one key for each role.
type Plan struct {
	Online        []byte // public key of snapshot and timestamp, PKIX DER
	Root, Targets Quorum
}

func (q *Quorum) check(role string) error {
	if *q == (Quorum{}) {
		*q = Quorum{1, 1}
	}
	if q.Threshold < 1 || q.Keys < q.Threshold || q.Keys > 32 {
		return api.Errorf(api.CodeInvalid, "%d of %d keys cannot sign %s", q.Threshold, q.Keys, role).
			WithHint("use a threshold from 1 to the number of keys, 32 at most")
	}
	return nil
}

// Init makes root and targets keys in dir, which it creates, and the first
// metadata: a root in which plan.Online (of trust/online) may sign snapshot and
// timestamp, and targets that name nothing. It returns ErrKeysExist rather than
// replace anything. All keys are made here; move those of other people to their
// machines afterwards. What a crash half-way leaves behind has signed nothing
// that is in use: remove it and start again.
func Init(dir string, plan Plan, opts Options, now time.Time) (*Repository, error) {
	r, err := initialise(dir, plan, opts, now)
	if err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	return r, nil
}

func initialise(dir string, plan Plan, opts Options, now time.Time) (*Repository, error) {
	online, err := x509.ParsePKIXPublicKey(plan.Online)
	if err != nil {
		return nil, fmt.Errorf("the online key is not a PKIX public key: %w", err)
	}
	if err := plan.Root.check(metadata.ROOT); err != nil {
		return nil, err
	}
	if err := plan.Targets.check(metadata.TARGETS); err != nil {
		return nil, err
	}
	r := &Repository{dir: dir, ring: newKeyring(dir, opts)}
	if err := r.refuseExisting(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.ring.dir, 0o700); err != nil {
		return nil, err
	}
	rootKeys, err := r.ring.createAll(metadata.ROOT, plan.Root.Keys)
	if err != nil {
		return nil, err
	}
	targetsKeys, err := r.ring.createAll(metadata.TARGETS, plan.Targets.Keys)
	if err != nil {
		return nil, err
	}
	if r.targets, err = tufsign.Sign(metadata.Targets(expiry(now, TargetsLifetime)), targetsKeys...); err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	if r.root, err = firstRoot(plan, rootKeys, targetsKeys, online, now); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	r.first = r.root
	return r, r.store()
}

// createAll makes keys called role, or role-1 to role-n.
func (k *keyring) createAll(role string, n int) ([]crypto.Signer, error) {
	if n == 1 {
		key, err := k.create(role)
		return []crypto.Signer{key}, err
	}
	var keys []crypto.Signer
	for i := range n {
		key, err := k.create(role + "-" + strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (r *Repository) refuseExisting() error {
	keys, err := r.ring.list()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Name != "" {
			return fmt.Errorf("%s: %w", filepath.Join(r.ring.dir, k.Name), ErrKeysExist)
		}
	}
	for _, path := range []string{rootPath(r.dir), targetsPath(r.dir)} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w", path, ErrKeysExist)
		}
	}
	return nil
}

func firstRoot(plan Plan, root, targets []crypto.Signer, online crypto.PublicKey, now time.Time) ([]byte, error) {
	m := metadata.Root(expiry(now, RootLifetime)) // with consistent snapshots
	grant := func(role string, public crypto.PublicKey) error {
		key, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			return fmt.Errorf("%s key: %w", role, err)
		}
		return m.Signed.AddKey(key, role)
	}
	for _, k := range root {
		if err := grant(metadata.ROOT, k.Public()); err != nil {
			return nil, err
		}
	}
	for _, k := range targets {
		if err := grant(metadata.TARGETS, k.Public()); err != nil {
			return nil, err
		}
	}
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := grant(role, online); err != nil {
			return nil, err
		}
	}
	m.Signed.Roles[metadata.ROOT].Threshold = plan.Root.Threshold
	m.Signed.Roles[metadata.TARGETS].Threshold = plan.Targets.Threshold
	file, err := tufsign.Sign(m, root...)
	if err != nil {
		return nil, err
	}
	return file, trust.CheckRootUpdate(nil, file)
}

// store writes the root last: a directory that has it is complete.
func (r *Repository) store() error {
	if err := durable.WriteFile(targetsPath(r.dir), r.targets, 0o644); err != nil {
		return fmt.Errorf("store targets: %w", err)
	}
	if err := durable.WriteFile(firstPath(r.dir), r.first, 0o644); err != nil {
		return fmt.Errorf("store root: %w", err)
	}
	if err := durable.WriteFile(rootPath(r.dir), r.root, 0o644); err != nil {
		return fmt.Errorf("store root: %w", err)
	}
	return nil
}

// expiry is in whole seconds of UTC, as TUF has it.
func expiry(now time.Time, lifetime time.Duration) time.Time {
	return now.UTC().Truncate(time.Second).Add(lifetime)
}
