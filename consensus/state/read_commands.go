package state

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// CommandFilter selects commands; an empty field selects all.
type CommandFilter = api.CommandList

// Command returns a command by its id, with its execution log.
func (m *Machine) Command(id string) (api.Command, bool) {
	rolloutID, agentID, try, ok := api.SplitTryID(id)
	if !ok {
		return api.Command{}, false
	}
	v, ok := m.openView(rolloutID, agentID, "")
	if !ok {
		return api.Command{}, false
	}
	defer func() { m.fail(v.rows.Close()) }()
	ordinal := v.members.Minimum()
	row, err := v.execution(ordinal)
	m.fail(err)
	for _, c := range v.tries(ordinal, row) {
		if c.ID == id {
			var log api.ExecutionLog
			if m.read(logKey(rolloutID, ordinal, try), &log) {
				c.Log = &log
			}
			return c, err == nil
		}
	}
	return api.Command{}, false
}

// Gate decides whether a command, whose payload has so many bytes, may be handed
// out now: it returns why not, or "". It runs while the machine is locked for
// reading, and must not ask the machine for anything.
type Gate func(c *api.Command, plan *api.Plan, payload int64) string

// Due returns the commands to hand out to an agent at a moment, in order of
// their rollouts: those never leased, those to be repeated, and those leased
// that the agent does not hold. Beside them it returns why others wait. For an
// agent with nothing to do it reads no store.
func (m *Machine) Due(agentID string, held []string, now time.Time, gate Gate, limit int) (due []api.Command, waiting []api.Waiting) {
	limit = page(limit)
	m.mu.RLock()
	defer m.mu.RUnlock()
	ordinal, ok := m.index.ordinals[agentID]
	if !ok {
		return nil, nil
	}
	region := m.index.agents[ordinal].region
	for _, r := range m.index.active {
		if len(due) == limit {
			break
		}
		c, reason, ok := m.dueLocked(r, ordinal, agentID, region, held, now)
		if !ok {
			continue
		}
		if reason == "" && gate != nil {
			reason = gate(&c, &r.row.Plan, m.payloadLocked(&c))
		}
		if reason == "" {
			due = append(due, c)
		} else if len(waiting) < limit {
			waiting = append(waiting, api.Waiting{CommandID: c.ID, Reason: reason})
		}
	}
	return due, waiting
}

// payloadLocked is how much an agent has to download for a command, in bytes.
func (m *Machine) payloadLocked(c *api.Command) int64 {
	var a api.Artifact
	if c.Kind.NeedsVersion() {
		m.readLocked(artifactKey(c.Artifact, c.Version), &a)
	}
	return a.Length
}

// dueLocked returns an agent's command of one rollout if it is to be handed
// out, or why it has to wait.
func (m *Machine) dueLocked(r *activeRollout, ordinal uint32, agentID, region string, held []string, now time.Time) (c api.Command, reason string, ok bool) {
	switch {
	case r.pending.Contains(ordinal):
		c = r.row.command(agentID, region, nil)
	case r.waiting.Contains(ordinal):
		return r.row.command(agentID, region, nil), fmt.Sprintf("wave %d of %d is open, this agent is in a later one", r.wave, len(r.waves)), true
	case r.repeats.Contains(ordinal), r.open.Contains(ordinal) && !r.unwanted(ordinal):
		var row executionRow
		if !m.readLocked(executionKey(r.row.ID, ordinal), &row) || row.State == api.StateRunning {
			return c, "", false
		}
		c = r.row.command(agentID, region, &row)
		if slices.Contains(held, c.ID) {
			return c, "", false
		}
	default:
		return c, "", false
	}
	switch {
	case r.state == api.RolloutPaused || r.state == api.RolloutHalted:
		return c, strings.TrimSuffix(fmt.Sprintf("the rollout is %s: %s", r.state, r.reason), ": "), true
	case now.Before(c.NotBefore):
		return c, "it failed and is repeated at " + c.NotBefore.UTC().Format(time.RFC3339), true
	}
	return c, "", true
}

// Cancels returns the commands that an agent is to be asked to cancel.
func (m *Machine) Cancels(agentID string, limit int) []string {
	limit = page(limit)
	m.mu.RLock()
	defer m.mu.RUnlock()
	ordinal, ok := m.index.ordinals[agentID]
	if !ok {
		return nil
	}
	var ids []string
	for _, r := range m.index.active {
		if len(ids) == limit {
			break
		}
		var row executionRow
		if r.unwanted(ordinal) && m.readLocked(executionKey(r.row.ID, ordinal), &row) {
			ids = append(ids, api.TryID(r.row.ID, agentID, row.try()))
		}
	}
	return ids
}

// Commands returns up to limit commands, those of the newest rollout first,
// that come after a command id, "" for the first page. Of what was trimmed it
// knows nothing.
func (m *Machine) Commands(f CommandFilter, after string, limit int) []api.Command {
	limit = page(limit)
	afterRollout, _, resumed := api.SplitCommandID(after)
	var out []api.Command
	for _, id := range m.rolloutIDs(f.Rollout) {
		if len(out) == limit {
			break
		}
		if resumed && id != afterRollout {
			continue
		}
		out = m.rolloutCommands(out, id, f, after, limit)
		resumed, after = false, ""
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
func (m *Machine) rolloutCommands(out []api.Command, id string, f CommandFilter, after string, limit int) []api.Command {
	_, afterAgent, afterTry, _ := api.SplitTryID(after)
	v, ok := m.openView(id, f.Agent, afterAgent)
	if !ok {
		return out
	}
	defer func() { m.fail(v.rows.Close()) }()
	if !v.mayMatch(&f) {
		return out
	}
	for set := v.members.Iterator(); set.HasNext() && len(out) < limit; {
		ordinal := set.Next()
		row, err := v.execution(ordinal)
		if err != nil {
			m.fail(err)
			return out
		}
		if row != nil && row.Trimmed {
			continue
		}
		for n, c := range v.tries(ordinal, row) {
			seen := c.AgentID == afterAgent && n < afterTry
			if !seen && len(out) < limit && f.Matches(&c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// mayMatch spares the commands of a rollout that the filter cannot want.
func (v *rolloutView) mayMatch(f *CommandFilter) bool {
	r := &v.rollout
	return (f.Artifact == "" || f.Artifact == r.Artifact) &&
		(f.Correlation == "" || f.Correlation == r.CorrelationID) &&
		(f.Until.IsZero() || r.CreatedAt.Before(f.Until))
}

// tries returns every command of a member, the first try first.
func (v *rolloutView) tries(ordinal uint32, row *executionRow) []api.Command {
	a := v.agents[ordinal]
	var all []api.Command
	if row != nil {
		for n := range row.Earlier {
			all = append(all, v.rollout.earlier(a.id, a.region, row, n))
		}
	}
	return append(all, v.rollout.command(a.id, a.region, row))
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
		v.members.RemoveRange(0, uint64(last))
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
