package state

import "encoding/binary"

// The first byte of a key names the kind of row. Ids never hold a zero byte,
// so a zero separates the parts of a key.
const (
	keyMeta      = 0x01 // name
	keyNode      = 0x02 // node id
	keyToken     = 0x03 // token id
	keyAgent     = 0x04 // agent id
	keyArtifact  = 0x05 // name, version
	keyTrustFile = 0x06 // file name
	keyRollout   = 0x07 // rollout id
	keyMembers   = 0x08 // rollout id: the bitmap of agent ordinals
	keyProgress  = 0x09 // rollout id: counts
	keyOrder     = 0x0A // log index of the creation: rollout id
	keyExecution = 0x0B // rollout id, agent ordinal

	keySettingsLayer   = 0x3C // layer: all but the cluster's
	keySettingsHistory = 0x3D // number of the change
)

var (
	keyApplied  = metaKey("applied")
	keyCluster  = metaKey("cluster")
	keyLevels   = metaKey("levels")
	keyOrdinal  = metaKey("next_ordinal")
	keySettings = metaKey("settings")
	keyTick     = metaKey("tick")
	keyTrust    = metaKey("trust_versions")

	// firstKey and lastKey span every row.
	firstKey = []byte{0x01}
	lastKey  = []byte{0xFF}
)

func metaKey(name string) []byte { return idKey(keyMeta, name) }

func idKey(kind byte, id string) []byte {
	return append([]byte{kind}, id...)
}

func artifactKey(name, version string) []byte {
	return append(append(idKey(keyArtifact, name), 0), version...)
}

func orderKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyOrder}, index)
}

func historyKey(change uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keySettingsHistory}, change)
}

func executionKey(rolloutID string, ordinal uint32) []byte {
	return binary.BigEndian.AppendUint32(executionPrefix(rolloutID), ordinal)
}

func executionPrefix(rolloutID string) []byte {
	return append(idKey(keyExecution, rolloutID), 0)
}

// kindSpan returns the bounds of all rows of a kind.
func kindSpan(kind byte) (from, to []byte) { return []byte{kind}, []byte{kind + 1} }

// after returns the first key that does not start with prefix, which ends in a
// byte below 0xFF.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}

// ordinalOf returns the agent ordinal at the end of an execution key.
func ordinalOf(key []byte) uint32 { return binary.BigEndian.Uint32(key[len(key)-4:]) }
