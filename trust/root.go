package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// RootHash returns the SHA-256 of root metadata in lower-case hex: the pin that
// travels in registration tokens. It covers the exact bytes.
func RootHash(root []byte) string {
	sum := sha256.Sum256(root)
	return hex.EncodeToString(sum[:])
}

// CheckRootUpdate returns nil when next may take the place of current: it is
// the following version, signed by the thresholds of both. The same bytes
// again are fine. With current nil, next must be signed by its own threshold,
// and the caller knows from elsewhere (an operator, a pin) that it is the one.
// Expiry is not checked: an expired root is a step on the way to a later one.
func CheckRootUpdate(current, next []byte) error {
	if current == nil {
		_, err := openRoot(next)
		return err
	}
	set, err := openRoot(current)
	if err != nil {
		return fmt.Errorf("current %w", err)
	}
	if bytes.Equal(current, next) {
		return nil
	}
	if err := checkFile(metadata.ROOT, next); err != nil {
		return err
	}
	err = guarded(func() error {
		_, err := set.UpdateRoot(next)
		return err
	})
	if err != nil {
		return fmt.Errorf("root: %w", classify(err, ErrMalformed))
	}
	return nil
}

// openRoot returns a set that trusts root, which must be signed by its own
// threshold.
func openRoot(root []byte) (set *trustedmetadata.TrustedMetadata, err error) {
	if err := checkFile(metadata.ROOT, root); err != nil {
		return nil, err
	}
	err = guarded(func() error {
		set, err = trustedmetadata.New(root)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("root: %w", classify(err, ErrMalformed))
	}
	return set, nil
}

// CheckOnlineKey returns an ErrSignature error when root does not trust the key
// (PKIX DER) for both snapshot and timestamp. A node asks before it adopts a
// root, because no agent would believe what it signs afterwards.
func CheckOnlineKey(root, publicKey []byte) error {
	set, err := openRoot(root)
	if err != nil {
		return err
	}
	public, err := x509.ParsePKIXPublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("online key: %w: %w", ErrMalformed, err)
	}
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return fmt.Errorf("online key: %w: %w", ErrMalformed, err)
	}
	id, err := key.ID()
	if err != nil {
		return fmt.Errorf("online key: %w: %w", ErrMalformed, err)
	}
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if r := set.Root.Signed.Roles[role]; !slices.Contains(r.KeyIDs, id) || r.Threshold != 1 {
			return fmt.Errorf("root: %w: the cluster's online key may not sign %s", ErrSignature, role)
		}
	}
	return nil
}

// RootVersion returns the version of root metadata, which must be signed by its
// own threshold.
func RootVersion(root []byte) (int64, error) {
	set, err := openRoot(root)
	if err != nil {
		return 0, err
	}
	return set.Root.Signed.Version, nil
}
