package state

import (
	"fmt"
	"maps"
	"slices"

	"redflag/api"
)

// Level is the newest level of entries that this version knows. A type of
// entry belongs to the level of the version that brought it; a cluster uses a
// level once each of its nodes has announced it, for a node stops at an entry
// that it does not know. The first release is level 1, its types are those
// that levels does not list.
const Level = 4

// levelUpdates is the level from which on ended commands are counted: a node
// of an older version would not, and the states would differ.
const levelUpdates = 3

// levelRoles is the level from which on metadata may be of delegated roles: a
// node of an older version would overlook the fields that say so.
const levelRoles = 4

var levels = map[EntryType]int{TypeBatch: 2, TypeLabelAgent: 4, TypeAssignCoordinators: 4}

// newer is a body whose fields may need a higher level than its type.
type newer interface{ level() int }

// LevelOf returns the level that a cluster must have before an entry of a type
// may be proposed.
func LevelOf(typ EntryType) int { return max(levels[typ], 1) }

// LevelOfBody returns the level that a cluster must have before a body, a
// struct of this package or a pointer to one, may be proposed.
func LevelOfBody(value any) int {
	level := 1
	if b, ok := value.(body); ok {
		level = LevelOf(b.entryType())
	}
	if b, ok := value.(newer); ok {
		level = max(level, b.level())
	}
	return level
}

// LevelOfEntry is LevelOfBody for an encoded entry.
func LevelOfEntry(entry []byte) int {
	switch typ := TypeOfEntry(entry); typ {
	case TypePutTrust, TypePublishArtifact: // rare, and fields of theirs are newer than they are
		_, b, err := decodeEntry(entry)
		if err != nil {
			return LevelOf(typ) // Apply refuses it
		}
		return LevelOfBody(b)
	default:
		return LevelOf(typ)
	}
}

// Announce says which level of entries a node knows. The level of the cluster
// rises when all of its nodes know a higher one, and never falls: a node that
// knows less than what is in use is refused, and must be upgraded.
type Announce struct {
	NodeID string `cbor:"1,keyasint"`
	Level  int    `cbor:"2,keyasint"`
}

type levelsRow struct {
	Level int            `cbor:"1,keyasint"` // of the cluster
	Nodes map[string]int `cbor:"2,keyasint"` // announced
}

func (Announce) entryType() EntryType { return TypeAnnounce }

func (e Announce) apply(t *tx) []*api.Error {
	if err := api.CheckID("node", e.NodeID); err != nil {
		return one(refusal(err))
	}
	row := t.levels()
	if e.Level < row.Level {
		return one(api.Errorf(api.CodeConflict, "node %s knows entries of level %d, and the cluster uses level %d", e.NodeID, e.Level, row.Level).
			WithHint("run the version that the other nodes run: see redflag nodes"))
	}
	row.Nodes[e.NodeID] = e.Level
	t.putLevels(row)
	return one(nil)
}

func (t *tx) levels() levelsRow {
	row := levelsRow{Level: 1}
	t.get(keyLevels, &row)
	row.Nodes = maps.Clone(row.Nodes)
	if row.Nodes == nil {
		row.Nodes = map[string]int{}
	}
	return row
}

// putLevels raises the cluster's level to what all of its nodes know. A node
// that has announced nothing knows level 1.
func (t *tx) putLevels(row levelsRow) {
	if t.err != nil {
		return
	}
	all := maps.Clone(row.Nodes)
	from, to := kindSpan(keyNode)
	t.err = scanRows(t.batch, from, to, func(key, _ []byte) (bool, error) {
		id := string(key[1:])
		all[id] = max(all[id], 1)
		return true, nil
	})
	if len(all) > 0 { // else nobody is left to know anything, and nothing rises
		row.Level = max(row.Level, slices.Min(slices.Collect(maps.Values(all))))
	}
	if row.Level > Level && t.err == nil {
		t.err = fmt.Errorf("%w: the cluster uses entries of level %d from here on, and this version knows level %d", ErrCorrupt, row.Level, Level)
		return
	}
	t.level = row.Level
	t.put(keyLevels, row)
}

// Level returns the level of entries that this cluster uses. Every proposal
// asks, so it comes from memory.
func (m *Machine) Level() int { return int(m.level.Load()) }

// LevelOfNode returns the level that a node has announced, 0 for none.
func (m *Machine) LevelOfNode(id string) int {
	var row levelsRow
	m.read(keyLevels, &row)
	return row.Nodes[id]
}
