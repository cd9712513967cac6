package state

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// CommandFilter selects commands; an empty field selects all.
type CommandFilter struct {
	Rollout string
	Agent   string
	State   api.State
}

// Command returns a command by its id.
func (m *Machine) Command(id string) (api.Command, bool) {
	rolloutID, agentID, ok := api.SplitCommandID(id)
	if !ok {
		return api.Command{}, false
	}
	found := m.Commands(CommandFilter{Rollout: rolloutID, Agent: agentID}, "", 1)
	if len(found) == 0 {
		return api.Command{}, false
	}
	return found[0], true
}

// Pending returns the commands to hand out to an agent, in order of their
// rollouts: those never leased, and those leased that the agent does not hold.
// For an agent with nothing to do it reads no store.
func (m *Machine) Pending(agentID string, held []string, limit int) []api.Command {
	limit = page(limit)
	m.mu.RLock()
	defer m.mu.RUnlock()
	ordinal, ok := m.index.ordinals[agentID]
	if !ok {
		return nil
	}
	region := m.index.agents[ordinal].region
	var out []api.Command
	for _, r := range m.index.active {
		if len(out) == limit {
			break
		}
		if r.pending.Contains(ordinal) {
			out = append(out, r.row.command(agentID, region, nil))
		} else if r.open.Contains(ordinal) && !slices.Contains(held, api.CommandID(r.row.ID, agentID)) {
			var row executionRow
			if m.readLocked(executionKey(r.row.ID, ordinal), &row) && row.State == api.StateLeased {
				out = append(out, r.row.command(agentID, region, &row))
			}
		}
	}
	return out
}

// Commands returns up to limit commands, those of the newest rollout first,
// that come after a command id, "" for the first page.
func (m *Machine) Commands(f CommandFilter, after string, limit int) []api.Command {
	limit = page(limit)
	afterRollout, afterAgent, resumed := api.SplitCommandID(after)
	var out []api.Command
	for _, id := range m.rolloutIDs(f.Rollout) {
		if len(out) == limit {
			break
		}
		if resumed && id != afterRollout {
			continue
		}
		out = m.rolloutCommands(out, id, f, afterAgent, limit)
		resumed, afterAgent = false, ""
	}
	return out
}

func (m *Machine) rolloutIDs(only string) []string {
	if only != "" {
		return []string{only}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.rolloutIDsLocked()
}

// rolloutCommands appends the commands of one rollout to out, up to limit, in
// the order in which their agents were enrolled.
func (m *Machine) rolloutCommands(out []api.Command, id string, f CommandFilter, afterAgent string, limit int) []api.Command {
	v, ok := m.openView(id, f.Agent, afterAgent)
	if !ok {
		return out
	}
	defer func() { m.fail(v.rows.Close()) }()
	for set := v.members.Iterator(); set.HasNext() && len(out) < limit; {
		ordinal := set.Next()
		row, err := v.execution(ordinal)
		if err != nil {
			m.fail(err)
			return out
		}
		if state := v.rollout.stateOf(row); f.State == "" || f.State == state {
			a := v.agents[ordinal]
			out = append(out, v.rollout.command(a.id, a.region, row))
		}
	}
	return out
}

// rolloutView is one rollout at one moment, to be read while entries are
// applied. The caller closes rows.
type rolloutView struct {
	rollout rolloutRow
	members *roaring.Bitmap // those that remain to be read
	agents  []member        // by ordinal; only ever appended to
	rows    *rows
}

func (m *Machine) openView(id, onlyAgent, afterAgent string) (*rolloutView, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v := &rolloutView{agents: m.index.agents}
	if !m.readLocked(idKey(keyRollout, id), &v.rollout) {
		return nil, false
	}
	var err error
	if v.members, err = getMembers(m.db, id); err != nil {
		m.fail(err)
		return nil, false
	}
	if afterAgent != "" {
		last, known := m.index.ordinals[afterAgent]
		if !known {
			return nil, false
		}
		v.members.RemoveRange(0, uint64(last)+1)
	}
	if onlyAgent != "" {
		ordinal, known := m.index.ordinals[onlyAgent]
		if !known || !v.members.Contains(ordinal) {
			return nil, false
		}
		v.members = roaring.BitmapOf(ordinal)
	}
	prefix := executionPrefix(id)
	v.rows, err = m.rowsLocked(prefix, after(prefix))
	return v, err == nil
}

// execution returns the row of a member, nil for none. Members are asked for in
// ascending order, so the iterator mostly steps.
func (v *rolloutView) execution(ordinal uint32) (*executionRow, error) {
	key := executionKey(v.rollout.ID, ordinal)
	if !v.rows.Valid() || string(v.rows.Key()) < string(key) {
		if !v.rows.SeekGE(key) {
			return nil, v.rows.Error()
		}
	}
	if string(v.rows.Key()) != string(key) {
		return nil, nil
	}
	row := &executionRow{}
	return row, unmarshal(v.rows.Value(), row)
}
