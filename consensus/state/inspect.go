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
	Index     uint64    `json:"index"` // of the last entry in it
	ClusterID string    `json:"cluster_id"`
	TakenAt   time.Time `json:"taken_at"` // the leader's last tick before it
	Nodes     int       `json:"nodes"`
	Agents    int       `json:"agents"`
	Artifacts int       `json:"artifacts"`
	Rollouts  int       `json:"rollouts"`
	Commands  int       `json:"commands"` // that were handed out
	Rows      int       `json:"rows"`
	Bytes     int64     `json:"bytes"` // of all rows
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
	for {
		more, err := rows.next()
		if err == nil && more {
			err = info.count(rows.key, rows.value)
		}
		if err != nil || !more {
			return info, err
		}
	}
}

func (s *SnapshotInfo) count(key, value []byte) error {
	s.Rows++
	s.Bytes += int64(len(key) + len(value))
	switch key[0] {
	case keyNode:
		s.Nodes++
	case keyAgent:
		s.Agents++
	case keyArtifact:
		s.Artifacts++
	case keyRollout:
		s.Rollouts++
	case keyExecution:
		s.Commands++
	}
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
