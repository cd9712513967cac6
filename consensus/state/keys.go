package state

import (
	"bytes"
	"encoding/binary"
)

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
	keyReleased  = 0x0C // rollout id: the bitmap of ordinals that the waves so far hold
	keyJoined    = 0x0D // rollout id, agent ordinal: a member that came later
	keyDeadline  = 0x0E // unix nanoseconds, rollout id, ordinal or nothing
	keyEnded     = 0x0F // log index of the end, rollout id, ordinal or nothing
	keyHistory   = 0x10 // agent ordinal: count; and with log index of the end, rollout id
	keyLog       = 0x11 // rollout id, agent ordinal, try: an execution log

	keySettingsLayer   = 0x3C // layer: all but the cluster's
	keySettingsHistory = 0x3D // number of the change
	keyUpdates         = 0x64 // number of the step, unix seconds: how commands ended
	keyRevoked         = 0x40 // key id
	keyAudit           = 0x41 // sequence number
	keyOperator        = 0x42 // operator id
	keyCoordinator     = 0x50 // region: who coordinates it
	keyInventory       = 0x5F // agent id
)

var (
	keyApplied     = metaKey("applied")
	keyRevocations = metaKey("revocations")
	keyAuditHead   = metaKey("audit_head")
	keyCluster     = metaKey("cluster")
	keyLevels      = metaKey("levels")
	keyOrdinal     = metaKey("next_ordinal")
	keySettings    = metaKey("settings")
	keyTick        = metaKey("tick")
	keyTrust       = metaKey("trust_versions")

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

func joinedPrefix(rolloutID string) []byte { return append(idKey(keyJoined, rolloutID), 0) }

func joinedKey(rolloutID string, ordinal uint32) []byte {
	return binary.BigEndian.AppendUint32(joinedPrefix(rolloutID), ordinal)
}

func logPrefix(rolloutID string) []byte { return append(idKey(keyLog, rolloutID), 0) }

func logKey(rolloutID string, ordinal uint32, try int) []byte {
	return append(binary.BigEndian.AppendUint32(logPrefix(rolloutID), ordinal), byte(try))
}

// place is what an ordered index points at: an execution, or a rollout itself.
type place struct {
	order   uint64 // what the index is ordered by
	rollout string
	ordinal uint32
	whole   bool // the rollout, not one execution
}

// key returns the place as a key of an ordered index.
func (p place) key(kind byte) []byte {
	k := append(binary.BigEndian.AppendUint64([]byte{kind}, p.order), p.rollout...)
	if p.whole {
		return append(k, 0)
	}
	return binary.BigEndian.AppendUint32(append(k, 0, 1), p.ordinal)
}

// placeOf is the inverse of place.key.
func placeOf(key []byte) (place, bool) {
	if len(key) < 11 {
		return place{}, false
	}
	p := place{order: binary.BigEndian.Uint64(key[1:])}
	id, rest, ok := bytes.Cut(key[9:], []byte{0})
	p.rollout = string(id)
	switch {
	case !ok || len(id) == 0:
		return place{}, false
	case len(rest) == 0:
		p.whole = true
	case len(rest) == 5 && rest[0] == 1:
		p.ordinal = binary.BigEndian.Uint32(rest[1:])
	default:
		return place{}, false
	}
	return p, true
}

func historyCountKey(ordinal uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{keyHistory}, ordinal)
}

func pastKey(ordinal uint32, end uint64, rolloutID string) []byte {
	return append(binary.BigEndian.AppendUint64(historyCountKey(ordinal), end), rolloutID...)
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
