package state

import (
	"encoding/binary"
	"maps"
	"slices"

	"redflag/api"
)

// Rollout returns a rollout with its counts.
func (m *Machine) Rollout(id string) (api.Rollout, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.rolloutLocked(id)
}

// Rollouts returns all rollouts with their counts, the newest first.
func (m *Machine) Rollouts() []api.Rollout {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []api.Rollout
	for _, id := range m.rolloutIDsLocked() {
		if r, ok := m.rolloutLocked(id); ok {
			out = append(out, r)
		}
	}
	return out
}

// RolloutsBefore returns up to limit rollouts that were created before a log
// index, 0 for the newest, the newest first, and where the next ones begin: 0
// for nowhere.
func (m *Machine) RolloutsBefore(index uint64, limit int) (out []api.Rollout, next uint64) {
	limit = page(limit)
	m.mu.RLock()
	defer m.mu.RUnlock()
	from, to := kindSpan(keyOrder)
	if index > 0 {
		to = orderKey(index)
	}
	it, err := m.rowsLocked(from, to)
	if err != nil {
		return nil, 0
	}
	defer func() { m.fail(it.Close()) }()
	at := uint64(0)
	for ok := it.Last(); ok; ok = it.Prev() {
		if len(out) == limit {
			return out, at
		}
		at = binary.BigEndian.Uint64(it.Key()[1:])
		if r, ok := m.rolloutLocked(string(it.Value())); ok {
			out = append(out, r)
		}
	}
	return out, 0
}

// rolloutIDsLocked returns the ids of all rollouts, the newest first.
func (m *Machine) rolloutIDsLocked() []string {
	if m.closed {
		return nil
	}
	var ids []string
	from, to := kindSpan(keyOrder)
	m.fail(scanRows(m.db, from, to, func(_, value []byte) (bool, error) {
		ids = append(ids, string(value))
		return true, nil
	}))
	slices.Reverse(ids)
	return ids
}

func (m *Machine) rolloutLocked(id string) (api.Rollout, bool) {
	var row rolloutRow
	var p progressRow
	if !m.readLocked(idKey(keyRollout, id), &row) || !m.readLocked(idKey(keyProgress, id), &p) {
		return api.Rollout{}, false
	}
	out := api.Rollout{
		ID: row.ID, Kind: row.Kind, Artifact: row.Artifact, Version: row.Version,
		Selector: row.Selector, CorrelationID: row.CorrelationID, CreatedBy: row.CreatedBy,
		CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, State: p.State, Reason: p.Reason,
		Plan: row.Plan, RollbackOf: row.RollbackOf, RetryOf: row.RetryOf,
		Agents: row.Agents + p.Joined, Wave: p.Wave, Waves: len(waves(&row)), Released: p.Released, OpenWave: p.wave(),
		Counts: map[api.State]int{},
	}
	var total regionRow
	for _, name := range slices.Sorted(maps.Keys(p.Regions)) {
		r := p.Regions[name]
		out.Regions = append(out.Regions, api.RegionCounts{Region: name, Counts: r.Counts, Transfer: r.Transfer})
		for state, n := range r.Counts {
			out.Counts[state] += n
		}
		total.sum(&r.Transfer, 1)
	}
	out.Transfer = total.Transfer
	return out, true
}
