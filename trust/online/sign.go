package online

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// How long a signature holds. Each is renewed at half of it.
const (
	SnapshotLifetime  = 7 * 24 * time.Hour
	TimestampLifetime = 24 * time.Hour
)

const (
	targetsFile  = "targets.json"
	snapshotFile = "snapshot.json"
)

// Current is the metadata that a cluster has.
type Current struct {
	Targets []byte // signed by the operator; the caller has checked it with trust.CheckTargets
	// Roles are the files of delegated roles that are new, checked with
	// trust.CheckDelegated. A snapshot goes on naming the others.
	Roles     map[string][]byte
	Snapshot  []byte // nil before the first
	Timestamp []byte // nil before the first
}

// Metadata is a signed file and its version.
type Metadata struct {
	Version int64
	Bytes   []byte
}

// Sign returns a snapshot that names in.Targets and a timestamp that names the
// snapshot, each one version after the previous. It returns trust.ErrRollback
// when the previous snapshot names newer targets. Two signers that start from
// the same state make different files of the same version: whoever stores them
// must accept only the successor of what it has.
func Sign(signer crypto.Signer, in Current, now time.Time) (snapshot, timestamp Metadata, err error) {
	snapshot, err = signSnapshot(signer, in, now)
	if err != nil {
		return Metadata{}, Metadata{}, fmt.Errorf("sign snapshot: %w", err)
	}
	timestamp, err = signTimestamp(signer, snapshot, in.Timestamp, now)
	if err != nil {
		return Metadata{}, Metadata{}, fmt.Errorf("sign timestamp: %w", err)
	}
	return snapshot, timestamp, nil
}

// Refresh returns the present snapshot, or its successor when it is past half
// of its life, and the successor of the timestamp. All of in is required.
func Refresh(signer crypto.Signer, in Current, now time.Time) (snapshot, timestamp Metadata, err error) {
	m, err := trust.Parse[metadata.SnapshotType](in.Snapshot)
	if err != nil {
		return Metadata{}, Metadata{}, fmt.Errorf("refresh: %w", err)
	}
	if stale(m.Signed.Expires, SnapshotLifetime, now) {
		return Sign(signer, in, now)
	}
	snapshot = Metadata{Version: m.Signed.Version, Bytes: in.Snapshot}
	timestamp, err = signTimestamp(signer, snapshot, in.Timestamp, now)
	if err != nil {
		return Metadata{}, Metadata{}, fmt.Errorf("refresh: sign timestamp: %w", err)
	}
	return snapshot, timestamp, nil
}

// NeedsRefresh reports whether either file is past half of its life.
func NeedsRefresh(timestamp, snapshot []byte, now time.Time) (bool, error) {
	ts, err := trust.Parse[metadata.TimestampType](timestamp)
	if err != nil {
		return false, err
	}
	sn, err := trust.Parse[metadata.SnapshotType](snapshot)
	if err != nil {
		return false, err
	}
	return stale(ts.Signed.Expires, TimestampLifetime, now) || stale(sn.Signed.Expires, SnapshotLifetime, now), nil
}

func stale(expires time.Time, lifetime time.Duration, now time.Time) bool {
	return now.After(expires.Add(-lifetime / 2))
}

func signSnapshot(signer crypto.Signer, in Current, now time.Time) (Metadata, error) {
	targets, err := trust.Parse[metadata.TargetsType](in.Targets)
	if err != nil {
		return Metadata{}, err
	}
	m := metadata.Snapshot(expiry(now, SnapshotLifetime))
	if in.Snapshot != nil {
		previous, err := trust.Parse[metadata.SnapshotType](in.Snapshot)
		if err != nil {
			return Metadata{}, fmt.Errorf("previous %w", err)
		}
		m.Signed.Version = previous.Signed.Version + 1
		m.Signed.Meta = previous.Signed.Meta // a snapshot may not drop a file
	}
	files := map[string]Metadata{targetsFile: {targets.Signed.Version, in.Targets}}
	for role, file := range in.Roles {
		d, err := trust.Parse[metadata.TargetsType](file)
		if err != nil {
			return Metadata{}, fmt.Errorf("role %s: %w", role, err)
		}
		files[role+".json"] = Metadata{d.Signed.Version, file}
	}
	for name, file := range files {
		if named := m.Signed.Meta[name]; named != nil && file.Version < named.Version {
			return Metadata{}, fmt.Errorf("%w: version %d of %s, version %d is in force", trust.ErrRollback, file.Version, name, named.Version)
		}
		m.Signed.Meta[name] = metaOf(file)
	}
	return sign(m, m.Signed.Version, signer)
}

func signTimestamp(signer crypto.Signer, snapshot Metadata, previous []byte, now time.Time) (Metadata, error) {
	m := metadata.Timestamp(expiry(now, TimestampLifetime))
	if previous != nil {
		p, err := trust.Parse[metadata.TimestampType](previous)
		if err != nil {
			return Metadata{}, fmt.Errorf("previous %w", err)
		}
		m.Signed.Version = p.Signed.Version + 1
	}
	m.Signed.Meta[snapshotFile] = metaOf(snapshot)
	return sign(m, m.Signed.Version, signer)
}

func sign[T metadata.Roles](m *metadata.Metadata[T], version int64, signer crypto.Signer) (Metadata, error) {
	file, err := tufsign.Sign(m, signer)
	if err != nil {
		return Metadata{}, err
	}
	return Metadata{Version: version, Bytes: file}, nil
}

// metaOf names a file by length and hash too: a version alone would let who
// holds an old targets key pass off another file of that version.
func metaOf(file Metadata) *metadata.MetaFiles {
	sum := sha256.Sum256(file.Bytes)
	return &metadata.MetaFiles{
		Version: file.Version,
		Length:  int64(len(file.Bytes)),
		Hashes:  metadata.Hashes{"sha256": sum[:]},
	}
}

// expiry is in whole seconds of UTC, as TUF has it.
func expiry(now time.Time, lifetime time.Duration) time.Time {
	return now.UTC().Truncate(time.Second).Add(lifetime)
}
