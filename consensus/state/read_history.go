package state

import (
	"encoding/hex"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// Ended is a command that has ended, at its place in the history.
type Ended struct {
	Cursor  string
	Index   uint64 // log index of the end
	Command api.Command
}

// EndedAfter returns commands in the order in which they ended, after a cursor,
// "" for the oldest, with their earlier tries before them. It looks at up to
// limit ends. The cursor that it returns is where to go on.
func (m *Machine) EndedAfter(cursor string, limit int) (ended []Ended, next string) {
	from, to := kindSpan(keyEnded)
	if b, err := hex.DecodeString(cursor); err == nil && cursor != "" {
		from = append(append([]byte{keyEnded}, b...), 0)
	}
	it, err := m.rows(from, to)
	if err != nil {
		return nil, cursor
	}
	defer func() { m.fail(it.Close()) }()
	next = cursor
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		limit--
		next = hex.EncodeToString(it.Key()[1:])
		p, ok := placeOf(it.Key())
		if !ok || p.whole {
			continue
		}
		for _, c := range m.triesOf(p) {
			ended = append(ended, Ended{Cursor: next, Index: p.order, Command: c})
		}
	}
	return ended, next
}

// triesOf returns the commands at a place, with their logs.
func (m *Machine) triesOf(p place) []api.Command {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var x executionRow
	var r rolloutRow
	if !m.readLocked(executionKey(p.rollout, p.ordinal), &x) || x.Trimmed || x.End != p.order ||
		!m.readLocked(idKey(keyRollout, p.rollout), &r) || int(p.ordinal) >= len(m.index.agents) {
		return nil
	}
	v := rolloutView{rollout: r, agents: m.index.agents}
	all := v.tries(p.ordinal, &x)
	for i := range all {
		var log api.ExecutionLog
		if m.readLocked(logKey(p.rollout, p.ordinal, i+1), &log) {
			all[i].Log = &log
		}
	}
	return all
}

// SucceededOf returns the bitmap of the agents on which a rollout succeeded and
// that were not put out since, as CreateRollout.Members wants it, and how many
// there are.
func (m *Machine) SucceededOf(rolloutID string) (members []byte, agents int, err error) {
	prefix := executionPrefix(rolloutID)
	it, err := m.rows(prefix, after(prefix))
	if err != nil {
		return nil, 0, err
	}
	defer func() { m.fail(it.Close()) }()
	set := roaring.New()
	for ok := it.First(); ok; ok = it.Next() {
		var row executionRow
		if err := unmarshal(it.Value(), &row); err != nil {
			return nil, 0, err
		}
		if row.State == api.StateSucceeded {
			set.Add(ordinalOf(it.Key()))
		}
	}
	m.mu.RLock()
	set.And(m.index.all)
	m.mu.RUnlock()
	members, err = encodeBitmap(set)
	return members, int(set.GetCardinality()), err
}
