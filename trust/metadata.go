package trust

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Limits of the metadata files, in bytes. What is larger is refused unread.
const (
	MaxRootLength      = 64 << 10
	MaxTimestampLength = 16 << 10
	MaxSnapshotLength  = 256 << 10
	MaxTargetsLength   = 2 << 20 // of each targets role; about 5,000 targets
)

// maxKeys bounds the signatures of a file and the keys of a role. go-tuf
// compares signatures pairwise and encodes the file anew for each key, so that
// without a bound a small file could cost minutes.
const maxKeys = 64

// maxLengthOf returns the limit of a role's file in bytes.
func maxLengthOf(role string) int64 {
	switch role {
	case metadata.ROOT:
		return MaxRootLength
	case metadata.TIMESTAMP:
		return MaxTimestampLength
	case metadata.SNAPSHOT:
		return MaxSnapshotLength
	default:
		return MaxTargetsLength
	}
}

// Parse reads one metadata file, which it does not verify: that is for the
// packages that make the next version of a file. It returns ErrLength or
// ErrMalformed errors; the result has none of the holes that go-tuf would fall
// into.
func Parse[T metadata.Roles](data []byte) (m *metadata.Metadata[T], err error) {
	role := typeOf[T]()
	if limit := maxLengthOf(role); int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, the limit is %d", role, ErrLength, len(data), limit)
	}
	err = guarded(func() error {
		if err := countSignatures(data); err != nil {
			return err
		}
		m, err = new(metadata.Metadata[T]).FromBytes(data)
		if err != nil {
			return err
		}
		return checkShape(any(m))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, classify(err, ErrMalformed))
	}
	return m, nil
}

// typeOf returns what TUF calls the type of T's files.
func typeOf[T metadata.Roles]() string {
	switch any(*new(T)).(type) {
	case metadata.RootType:
		return metadata.ROOT
	case metadata.TimestampType:
		return metadata.TIMESTAMP
	case metadata.SnapshotType:
		return metadata.SNAPSHOT
	default:
		return metadata.TARGETS
	}
}

// checkFile parses the file of any role.
func checkFile(role string, data []byte) (err error) {
	switch role {
	case metadata.ROOT:
		_, err = Parse[metadata.RootType](data)
	case metadata.TIMESTAMP:
		_, err = Parse[metadata.TimestampType](data)
	case metadata.SNAPSHOT:
		_, err = Parse[metadata.SnapshotType](data)
	default:
		_, err = Parse[metadata.TargetsType](data)
	}
	return err
}

func countSignatures(data []byte) error {
	var envelope struct {
		Signatures []json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return err
	}
	return checkCount("signatures", len(envelope.Signatures))
}

func checkCount(what string, n int) error {
	if n > maxKeys {
		return fmt.Errorf("%w: %d %s, the limit is %d", ErrMalformed, n, what, maxKeys)
	}
	return nil
}

// checkShape finds what go-tuf would dereference or panic on later.
func checkShape(m any) error {
	switch m := m.(type) {
	case *metadata.Metadata[metadata.RootType]:
		return checkRootShape(&m.Signed)
	case *metadata.Metadata[metadata.TimestampType]:
		return checkMeta(m.Signed.Meta, "snapshot.json")
	case *metadata.Metadata[metadata.SnapshotType]:
		return checkMeta(m.Signed.Meta, "targets.json")
	case *metadata.Metadata[metadata.TargetsType]:
		return checkDelegations(m.Signed.Delegations)
	}
	return nil
}

func checkRootShape(root *metadata.RootType) error {
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		role := root.Roles[name]
		if role == nil {
			return fmt.Errorf("%w: role %s is missing", ErrMalformed, name)
		}
		if err := checkCount("keys of a role", len(role.KeyIDs)); err != nil {
			return err
		}
	}
	return checkKeys(root.Keys)
}

func checkKeys(keys map[string]*metadata.Key) error {
	for id, key := range keys {
		if key == nil {
			return fmt.Errorf("%w: key %.16q is null", ErrMalformed, id)
		}
		// crypto/ed25519 panics on a key of another length.
		if key.Type == metadata.KeyTypeEd25519 && hex.DecodedLen(len(key.Value.PublicKey)) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: key %.16q has a wrong length", ErrMalformed, id)
		}
		// People and go-tuf tell keys apart by their ids alone: under another id a
		// key could sign twice, or under the id of somebody else's.
		if own, err := key.ID(); err != nil || own != id {
			return fmt.Errorf("%w: key %.16q has another id: %.16q", ErrMalformed, id, own)
		}
	}
	return nil
}

func checkMeta(meta map[string]*metadata.MetaFiles, required string) error {
	for name, info := range meta {
		if info == nil {
			return fmt.Errorf("%w: entry %.64q is null", ErrMalformed, name)
		}
	}
	if meta[required] == nil {
		return fmt.Errorf("%w: no entry for %s", ErrMalformed, required)
	}
	return nil
}

func checkDelegations(d *metadata.Delegations) error {
	if d == nil {
		return nil
	}
	if d.SuccinctRoles != nil {
		return fmt.Errorf("%w: succinct roles are not used", ErrMalformed)
	}
	for i := range d.Roles {
		if len(d.Roles[i].PathHashPrefixes) > 0 || !d.Roles[i].Terminating {
			return fmt.Errorf("%w: delegated role %.80q is not for patterns of paths that it alone signs", ErrMalformed, d.Roles[i].Name)
		}
		// Such a role's file would take the place of a top-level one on disk, where
		// capitals may make no difference.
		switch strings.ToLower(d.Roles[i].Name) {
		case metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS:
			return fmt.Errorf("%w: a delegated role is called %s", ErrMalformed, d.Roles[i].Name)
		}
		if err := checkCount("keys of a role", len(d.Roles[i].KeyIDs)); err != nil {
			return err
		}
	}
	return checkKeys(d.Keys)
}

// checkExpiry refuses what ended before now; a zero now never does.
func checkExpiry(role string, expires, now time.Time) error {
	if now.After(expires) {
		return fmt.Errorf("%s: %w: on %s", role, ErrExpired, expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// roleOf returns the role of a file name such as "3.root.json".
func roleOf(name string) string {
	role := strings.TrimSuffix(name, ".json")
	if version, rest, ok := strings.Cut(role, "."); ok && strings.Trim(version, "0123456789") == "" {
		return rest
	}
	return role
}
