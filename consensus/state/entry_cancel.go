package state

import (
	"redflag/api"
)

// CancelCommand cancels one command: at once if no agent has it, else by
// asking its agent.
type CancelCommand struct {
	CommandID string `cbor:"1,keyasint"`
}

func (CancelCommand) entryType() EntryType { return TypeCancelCommand }

func (e CancelCommand) apply(t *tx) []*api.Error { return one(e.cancel(t)) }

func (e CancelCommand) cancel(t *tx) *api.Error {
	_, agentID, ok := api.SplitCommandID(e.CommandID)
	if !ok {
		return api.Errorf(api.CodeInvalid, "command id %.300q is malformed", e.CommandID)
	}
	c, err := t.command(agentID, e.CommandID)
	if err != nil {
		return err
	}
	state := c.state()
	if state == api.StateCancelled {
		return nil // a repeat
	}
	if state.Terminal() {
		return api.Errorf(api.CodeConflict, "command %s has ended: it is %s", e.CommandID, state)
	}
	row := executionRow{}
	if c.row != nil {
		row = *c.row
	}
	if state == api.StatePending {
		row.State, row.EndedAt = api.StateCancelled, t.now
		t.putExecution(c, row)
		return nil
	}
	if row.CancelRefused != "" {
		return api.Errorf(api.CodeConflict, "the agent goes on with command %s: %s", e.CommandID, row.CancelRefused)
	}
	if row.CancelAt.IsZero() {
		row.CancelAt = t.now
		t.putExecution(c, row)
	}
	return nil
}
