package state

import (
	"slices"

	"redflag/api"
)

// command is one agent's share of a rollout, as an entry is about to change it.
type command struct {
	rollout rolloutRow
	active  *activeRollout // nil when the rollout has nothing left to do
	ordinal uint32
	region  string
	agentID string
	try     int           // the one that the entry names
	row     *executionRow // of the latest try; nil before the first lease
}

// past reports whether the entry names a try that failed and was repeated.
func (c *command) past() bool { return c.try < c.row.try() }

func (c *command) state() api.State {
	if c.past() {
		return api.StateFailed
	}
	return c.rollout.stateOf(c.row)
}

// counted reports whether a report changed the named try before.
func (c *command) counted(reportID string) bool {
	switch {
	case c.row == nil:
		return false
	case c.past():
		return c.row.Earlier[c.try-1].Report == reportID
	default:
		return slices.Contains(c.row.Reports, reportID)
	}
}

// command finds a command for the agent that it is addressed to.
func (t *tx) command(agentID, commandID string) (*command, *api.Error) {
	rolloutID, addressee, try, ok := api.SplitTryID(commandID)
	if !ok {
		return nil, api.Errorf(api.CodeInvalid, "command id %.300q is malformed", commandID)
	}
	if addressee != agentID {
		return nil, api.Errorf(api.CodeDenied, "command %s is not addressed to agent %.128q", commandID, agentID)
	}
	unknown := api.Errorf(api.CodeNotFound, "command %s is not known", commandID)
	x := t.machine.index
	ordinal, ok := x.ordinals[agentID]
	if !ok {
		return nil, unknown
	}
	c := &command{
		active: x.byID[rolloutID], ordinal: ordinal, region: x.agents[ordinal].region,
		agentID: agentID, try: try,
	}
	if c.active != nil {
		c.rollout = c.active.row
	} else if !t.get(idKey(keyRollout, rolloutID), &c.rollout) {
		return nil, unknown
	}
	var row executionRow
	if t.get(executionKey(rolloutID, ordinal), &row) {
		c.row = &row
	} else if !t.isMember(c) {
		return nil, unknown
	}
	if try > c.row.try() || (c.past() && try > len(c.row.Earlier)) {
		return nil, unknown
	}
	return c, nil
}

// isMember reports whether a command without an execution row exists.
func (t *tx) isMember(c *command) bool {
	if c.active != nil && (c.active.pending.Contains(c.ordinal) || c.active.waiting.Contains(c.ordinal)) {
		return true
	}
	if t.err != nil || c.rollout.over().IsZero() {
		return false // every member of a rollout that ended by itself has a row
	}
	members, err := getMembers(t.batch, c.rollout.ID)
	t.fail(err)
	return err == nil && members.Contains(c.ordinal)
}

// putExecution writes the new row of a command and everything derived from it.
func (t *tx) putExecution(c *command, row executionRow) {
	p := t.progressOf(c.rollout.ID)
	if t.err != nil {
		return
	}
	p.move(c.region, c.rollout.stateOf(c.row), row.State)
	p.Regions[c.region].addTransfer(c.row, &row)
	t.moveDeadline(c, &row)
	if row.State.Terminal() {
		row.End = t.index
		t.remember(c, &row)
		t.outcomes = append(t.outcomes, outcomeOf(c, &row))
	}
	t.put(executionKey(c.rollout.ID, c.ordinal), row)
	c.active.place(c.ordinal, &row)
}

// moveDeadline keeps the index of deadlines: a row stands there while its
// command is leased or runs.
func (t *tx) moveDeadline(c *command, row *executionRow) {
	at := func(x *executionRow) []byte {
		if x == nil || x.Deadline.IsZero() || x.State.Terminal() || x.State == api.StatePending {
			return nil
		}
		return place{order: nanos(x.Deadline), rollout: c.rollout.ID, ordinal: c.ordinal}.key(keyDeadline)
	}
	before, now := at(c.row), at(row)
	if before != nil && string(before) != string(now) {
		t.delete(before)
	}
	if now != nil && string(before) != string(now) {
		t.putBytes(now, nil)
	}
}

// addTransfer replaces the share of a command in its region's sums.
func (r *regionRow) addTransfer(before, now *executionRow) {
	if before != nil {
		r.sum(before.Transfer, -1)
	}
	r.sum(now.Transfer, 1)
}

func (r *regionRow) sum(t *api.Transfer, sign int64) {
	if t == nil {
		return
	}
	r.Transfer.FromPeers += sign * t.FromPeers
	r.Transfer.FromNodes += sign * t.FromNodes
	r.Transfer.ToPeers += sign * t.ToPeers
	r.Transfer.Total += sign * t.Total
	r.Transfer.Done += sign * t.Done
	r.Transfer.FromOtherRegions += sign * t.FromOtherRegions
}
