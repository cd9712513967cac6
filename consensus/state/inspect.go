package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// SnapshotInfo is what a snapshot holds, for people.
type SnapshotInfo struct {
	Index     uint64      `json:"index"` // of the last entry in it
	ClusterID string      `json:"cluster_id"`
	TakenAt   time.Time   `json:"taken_at"` // the leader's last tick before it
	Rows      int         `json:"rows"`
	Bytes     int64       `json:"bytes"` // of all rows
	Kinds     []KindCount `json:"kinds"`
}

// KindCount is how much of a snapshot one kind of row makes up.
type KindCount struct {
	Kind  string `json:"kind"`
	Rows  int    `json:"rows"`
	Bytes int64  `json:"bytes"`
}

// kindNames is what people call the kinds of rows, in the order of their keys.
var kindNames = []struct {
	name string
	key  byte
}{
	{"nodes", keyNode},
	{"registration tokens", keyToken},
	{"agents", keyAgent},
	{"artifacts", keyArtifact},
	{"trust metadata", keyTrustFile},
	{"rollouts", keyRollout},
	{"commands handed out", keyExecution},
	{"execution logs", keyLog},
	{"settings layers", keySettingsLayer},
	{"settings changes", keySettingsHistory},
	{"revoked keys", keyRevoked},
	{"operators", keyOperator},
	{"audit records", keyAudit},
}

// InspectSnapshot reads a whole snapshot stream, checks its hash and counts
// what is in it.
func InspectSnapshot(r io.Reader) (SnapshotInfo, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	var info SnapshotInfo
	var err error
	if info.Index, err = SnapshotIndex(in); err != nil {
		return info, err
	}
	rows := &snapshotReader{in: in, sum: sha256.New()}
	var kinds [256]KindCount
	for {
		more, err := rows.next()
		if err == nil && more {
			err = info.count(&kinds[rows.key[0]], rows.key, rows.value)
		}
		if err != nil || !more {
			info.Kinds = namedKinds(&kinds)
			return info, err
		}
	}
}

func (s *SnapshotInfo) count(kind *KindCount, key, value []byte) error {
	size := int64(len(key) + len(value))
	s.Rows++
	s.Bytes += size
	kind.Rows++
	kind.Bytes += size
	switch {
	case bytes.Equal(key, keyCluster):
		var c Cluster
		err := unmarshal(value, &c)
		s.ClusterID = c.ID
		return err
	case bytes.Equal(key, keyTick):
		var t tickRow
		err := unmarshal(value, &t)
		s.TakenAt = t.At
		return err
	}
	return nil
}

// namedKinds adds up what is not worth a name of its own: indexes, bitmaps and
// counters.
func namedKinds(kinds *[256]KindCount) []KindCount {
	var out []KindCount
	for _, k := range kindNames {
		sum := kinds[k.key]
		sum.Kind, kinds[k.key] = k.name, KindCount{}
		out = append(out, sum)
	}
	rest := KindCount{Kind: "indexes and counters"}
	for _, k := range kinds {
		rest.Rows += k.Rows
		rest.Bytes += k.Bytes
	}
	return append(out, rest)
}

// EpochOf returns the number of the epoch that a log index belongs to: 0 at
// first, and one more after each restored snapshot.
func EpochOf(index uint64) uint64 { return index / epochSize }

// epochSize is how many indexes an epoch of a cluster has. No log gets so long.
const epochSize = 1 << 40

// BeginEpoch moves the applied index to where no entry of this cluster has ever
// been, so that whoever remembers an index of before, from entries that a
// restored snapshot does not hold, finds this state to be newer than that. It
// is for a machine without a log, and durable when it returns.
func (m *Machine) BeginEpoch() (index uint64, err error) {
	index = (m.Applied()/epochSize + 1) * epochSize
	m.mu.Lock()
	err = m.db.Set(keyApplied, binary.BigEndian.AppendUint64(nil, index), pebble.NoSync)
	if err == nil {
		m.applied.Store(index)
	}
	m.mu.Unlock()
	if err != nil {
		m.fail(err)
		return 0, fmt.Errorf("begin epoch: %w", err)
	}
	return index, m.Flush()
}
