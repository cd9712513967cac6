package signing

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/durable"
	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// How long a signature of the offline keys holds.
const (
	RootLifetime    = 365 * 24 * time.Hour
	TargetsLifetime = 90 * 24 * time.Hour
)

// Init makes root and targets keys in dir, which it creates, and the first
// metadata: a root in which onlineKey (PKIX DER, of trust/online) may sign
// snapshot and timestamp, and targets that name nothing. It returns ErrKeysExist
// rather than replace anything. What a crash half-way leaves behind has signed
// nothing that is in use: remove it and start again.
func Init(dir string, onlineKey []byte, now time.Time) (*Repository, error) {
	online, err := x509.ParsePKIXPublicKey(onlineKey)
	if err != nil {
		return nil, fmt.Errorf("init keys: the online key is not a PKIX public key: %w", err)
	}
	if err := refuseExisting(dir); err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	rootKey, err := createKey(dir, metadata.ROOT)
	if err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	targetsKey, err := createKey(dir, metadata.TARGETS)
	if err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	r := &Repository{dir: dir, signer: targetsKey}
	if r.targets, err = r.sign(metadata.Targets(expiry(now, TargetsLifetime))); err != nil {
		return nil, fmt.Errorf("init keys: targets: %w", err)
	}
	if r.root, err = firstRoot(rootKey, targetsKey.Public(), online, now); err != nil {
		return nil, fmt.Errorf("init keys: root: %w", err)
	}
	if err := r.store(); err != nil {
		return nil, fmt.Errorf("init keys: %w", err)
	}
	return r, nil
}

func refuseExisting(dir string) error {
	for _, path := range []string{
		keyPath(dir, metadata.ROOT), keyPath(dir, metadata.TARGETS), rootPath(dir), targetsPath(dir),
	} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w", path, ErrKeysExist)
		}
	}
	return nil
}

func firstRoot(rootKey crypto.Signer, targets, online crypto.PublicKey, now time.Time) ([]byte, error) {
	m := metadata.Root(expiry(now, RootLifetime)) // with consistent snapshots
	for role, public := range map[string]crypto.PublicKey{
		metadata.ROOT:      rootKey.Public(),
		metadata.TARGETS:   targets,
		metadata.SNAPSHOT:  online,
		metadata.TIMESTAMP: online,
	} {
		key, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			return nil, fmt.Errorf("%s key: %w", role, err)
		}
		if err := m.Signed.AddKey(key, role); err != nil {
			return nil, fmt.Errorf("%s key: %w", role, err)
		}
	}
	root, err := tufsign.Sign(m, rootKey)
	if err != nil {
		return nil, err
	}
	return root, trust.CheckRootUpdate(nil, root)
}

// store writes the root last: a directory that has it is complete.
func (r *Repository) store() error {
	if err := durable.WriteFile(targetsPath(r.dir), r.targets, 0o644); err != nil {
		return fmt.Errorf("store targets: %w", err)
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
