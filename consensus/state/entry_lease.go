package state

import (
	"time"

	"redflag/api"
)

// maxLease bounds a lease: longer ones would hide a lost reply for days.
const maxLease = 24 * time.Hour

// Lease hands commands out to the agent that they are for, one record per
// command. A command that is leased already is handed out again: its reply got
// lost. One that runs, has ended, waits for its wave or its time, or that nobody
// wants any more is not.
type Lease struct {
	AgentID    string        `cbor:"1,keyasint"`
	CommandIDs []string      `cbor:"2,keyasint"`
	NodeID     string        `cbor:"3,keyasint"` // the node that hands them out
	Duration   time.Duration `cbor:"4,keyasint"` // up to 24 h
}

func (Lease) entryType() EntryType { return TypeLease }

func (e Lease) apply(t *tx) []*api.Error {
	errs := make([]*api.Error, len(e.CommandIDs))
	for i, id := range e.CommandIDs {
		errs[i] = e.lease(t, id)
	}
	return errs
}

func (e Lease) lease(t *tx, commandID string) *api.Error {
	if e.Duration <= 0 || e.Duration > maxLease {
		return api.Errorf(api.CodeInvalid, "a lease of %s is out of range", e.Duration)
	}
	if err := api.CheckID("node", e.NodeID); err != nil {
		return refusal(err)
	}
	c, err := t.command(e.AgentID, commandID)
	if err != nil {
		return err
	}
	if err := t.leasable(c, commandID); err != nil {
		return err
	}
	row := executionRow{}
	if c.row != nil {
		row = *c.row
	}
	row.State = api.StateLeased
	row.Attempt++
	row.LeasedBy, row.LeasedAt, row.LeaseUntil = e.NodeID, t.now, t.now.Add(e.Duration)
	if row.Deadline.IsZero() {
		row.Deadline = t.now.Add(c.rollout.Plan.CommandTimeout())
	}
	t.putExecution(c, row)
	return nil
}

// leasable refuses a command that must not be handed out.
func (t *tx) leasable(c *command, commandID string) *api.Error {
	from := c.state()
	switch {
	case from != api.StatePending && from != api.StateLeased:
		return api.Errorf(api.CodeConflict, "command %s is %s", commandID, from)
	case c.active.state != api.RolloutRunning && c.active.state != api.RolloutCancelled:
		return api.Errorf(api.CodeConflict, "rollout %s is %s", c.rollout.ID, c.active.state)
	case c.active.waiting.Contains(c.ordinal):
		return api.Errorf(api.CodeConflict, "command %s waits for its wave", commandID)
	case c.active.unwanted(c.ordinal):
		return api.Errorf(api.CodeConflict, "command %s is to be cancelled", commandID)
	case c.row != nil && t.now.Before(c.row.NotBefore):
		return api.Errorf(api.CodeConflict, "command %s waits until it may be repeated", commandID)
	case c.row != nil && !c.row.Deadline.IsZero() && !t.now.Before(c.row.Deadline):
		return api.Errorf(api.CodeConflict, "the deadline of command %s has passed", commandID)
	case !t.now.Before(c.rollout.ExpiresAt) && from == api.StatePending:
		return api.Errorf(api.CodeConflict, "rollout %s has expired", c.rollout.ID)
	}
	return nil
}
