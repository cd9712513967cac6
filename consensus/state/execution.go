package state

import (
	"redflag/api"
)

// command is one agent's share of a rollout, as an entry is about to change it.
type command struct {
	rollout rolloutRow
	active  *activeRollout // nil when the rollout has nothing left to do
	ordinal uint32
	region  string
	row     *executionRow // nil before the first lease
}

func (c *command) state() api.State { return c.rollout.stateOf(c.row) }

// command finds a command for the agent that it is addressed to.
func (t *tx) command(agentID, commandID string) (*command, *api.Error) {
	rolloutID, addressee, ok := api.SplitCommandID(commandID)
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
	c := &command{active: x.byID[rolloutID], ordinal: ordinal, region: x.agents[ordinal].region}
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
	return c, nil
}

// isMember reports whether a command without an execution row exists.
func (t *tx) isMember(c *command) bool {
	if c.active != nil && c.active.pending.Contains(c.ordinal) {
		return true
	}
	if t.err != nil || c.rollout.CancelledAt.IsZero() {
		return false // every member of a rollout that ended by itself has a row
	}
	members, err := getMembers(t.batch, c.rollout.ID)
	t.err = err
	return err == nil && members.Contains(c.ordinal)
}

// putExecution writes the new row of a command and everything derived from it.
func (t *tx) putExecution(c *command, row executionRow) {
	p := t.progressOf(c.rollout.ID)
	if t.err != nil {
		return
	}
	p.move(c.region, c.state(), row.State)
	p.Regions[c.region].addTransfer(c.row, &row)
	t.put(executionKey(c.rollout.ID, c.ordinal), row)
	c.active.pending.Remove(c.ordinal)
	if row.State.Terminal() {
		c.active.open.Remove(c.ordinal)
	} else {
		c.active.open.Add(c.ordinal)
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
