package state

import (
	"time"

	"redflag/api"
)

// maxLease bounds a lease: longer ones would hide a lost reply for days.
const maxLease = 24 * time.Hour

// Lease hands commands out to the agent that they are for, one record per
// command. A command that is leased already is handed out again: its reply got
// lost. One that runs or has ended is not.
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
	from := c.state()
	if from != api.StatePending && from != api.StateLeased {
		return api.Errorf(api.CodeConflict, "command %s is %s", commandID, from)
	}
	row := executionRow{State: api.StateLeased, Attempt: 1}
	if c.row != nil {
		row = *c.row
		row.Attempt++
	}
	row.LeasedBy, row.LeasedAt, row.LeaseUntil = e.NodeID, t.now, t.now.Add(e.Duration)
	t.putExecution(c, row)
	return nil
}
