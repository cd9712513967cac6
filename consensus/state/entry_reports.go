package state

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"redflag/api"
)

// Bounds of what is kept of a failure, in bytes. What is longer is cut.
const (
	maxFailureMessage = 4 << 10
	maxFailureClass   = 64
	maxEarlierMessage = 256
	maxCancelRefused  = 256
)

// maxTransfer bounds each count of a report, in bytes. A million agents of a
// rollout that all report 8 TiB do not overflow the sums.
const maxTransfer = 1 << 43

// Reports carries what agents did, one record per report, in order.
type Reports struct {
	Agents []AgentReports `cbor:"1,keyasint"`
}

// AgentReports is the reports of one agent, whom its certificate named.
type AgentReports struct {
	AgentID string       `cbor:"1,keyasint"`
	Reports []api.Report `cbor:"2,keyasint"`
}

func (Reports) entryType() EntryType { return TypeReports }

func (e Reports) apply(t *tx) []*api.Error {
	var errs []*api.Error
	for _, a := range e.Agents {
		for i := range a.Reports {
			errs = append(errs, t.report(a.AgentID, &a.Reports[i]))
		}
	}
	return errs
}

// report moves a command forward. The rank of a state never falls and the
// first terminal state stays; a report that was counted before, or that says
// what is known, is accepted and changes nothing.
func (t *tx) report(agentID string, r *api.Report) *api.Error {
	if err := checkReport(r); err != nil {
		return err
	}
	c, err := t.command(agentID, r.CommandID)
	if err != nil {
		return err
	}
	have := c.state()
	refuses := r.CancelRefused != "" && c.active != nil && c.active.unwanted(c.ordinal)
	known := have == r.State && !refuses // else an agent could refuse for ever, and the row grow
	if c.row != nil && (c.counted(r.ID) || known) {
		return nil
	}
	switch {
	case c.row == nil || have == api.StatePending:
		return api.Errorf(api.CodeConflict, "command %s is %s: it was never handed out", r.CommandID, have)
	case have.Terminal():
		return api.Errorf(api.CodeConflict, "command %s has ended: it is %s", r.CommandID, have)
	case !t.now.Before(c.row.Deadline):
		return api.Errorf(api.CodeConflict, "the deadline of command %s has passed", r.CommandID)
	case r.State == api.StateCancelled && !c.active.unwanted(c.ordinal):
		return api.Errorf(api.CodeConflict, "nobody asked to cancel command %s", r.CommandID)
	}
	row := t.advanced(*c.row, r)
	t.putLog(c, r)
	t.putInventory(agentID, r)
	t.putExecution(c, t.repeated(c, row, r))
	return nil
}

// putLog keeps what the execution left behind, within bounds.
func (t *tx) putLog(c *command, r *api.Report) {
	if r.Log == nil || !r.State.Terminal() {
		return
	}
	t.put(logKey(c.rollout.ID, c.ordinal, c.try), r.Log.Trim(r.State == api.StateSucceeded))
}

// putInventory keeps what the agent found on its machine, within bounds, until
// the next scan.
func (t *tx) putInventory(agentID string, r *api.Report) {
	if r.Inventory != nil && r.State == api.StateSucceeded {
		t.put(idKey(keyInventory, agentID), r.Inventory.Trim())
	}
}

// repeated returns the row of the next try, if row is one that failed and that
// the plan repeats, else row.
func (t *tx) repeated(c *command, row executionRow, r *api.Report) executionRow {
	if row.State != api.StateFailed || row.Failure == nil || !c.rollout.over().IsZero() || !row.CancelAt.IsZero() {
		return row
	}
	rule, ok := c.rollout.Plan.Retries[row.Failure.Class]
	if !ok || row.try() >= rule.Tries {
		return row
	}
	wait := backoff(rule, row.try(), r.CommandID, t.index)
	if !t.now.Add(wait).Before(c.rollout.ExpiresAt) {
		return row
	}
	created := c.rollout.CreatedAt
	if n := len(row.Earlier); n > 0 {
		created = row.Earlier[n-1].EndedAt
	}
	return executionRow{
		State: api.StatePending, Try: row.try() + 1, NotBefore: t.now.Add(wait), Transfer: row.Transfer,
		Earlier: append(slices.Clip(row.Earlier), tryRow{
			Created: created, LeasedAt: row.LeasedAt, StartedAt: row.StartedAt, EndedAt: row.EndedAt,
			Attempt: row.Attempt, Report: r.ID,
			Failure: &api.Failure{Class: row.Failure.Class, Message: cut(row.Failure.Message, maxEarlierMessage)},
		}),
	}
}

// backoff is how long to wait before the next try. It is random to the eye and
// the same on every node: it is derived from the command and the log.
func backoff(rule api.RetryRule, try int, commandID string, index uint64) time.Duration {
	ceiling := rule.Limit
	if shift := try - 1; shift < 30 && rule.Base <= rule.Limit>>shift {
		ceiling = rule.Base << shift
	}
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte(commandID), index))
	half := time.Duration(ceiling) / 2
	return half + time.Duration(h.Sum64()%uint64(half+1))
}

func checkReport(r *api.Report) *api.Error {
	if err := api.CheckID("report id", r.ID); err != nil {
		return refusal(err)
	}
	if r.State.Rank() < api.StateRunning.Rank() || r.State == api.StateTimedOut {
		return api.Errorf(api.CodeInvalid, "state %.64q is not one that an agent reports", string(r.State))
	}
	return checkTransfer(r)
}

func checkTransfer(r *api.Report) *api.Error {
	x := r.Transfer
	if x == nil {
		return nil
	}
	for _, n := range []int64{x.FromPeers, x.FromNodes, x.ToPeers, x.Total, x.Done, x.FromOtherRegions} {
		if n < 0 || n > maxTransfer {
			return api.Errorf(api.CodeInvalid, "report %s counts %d bytes, which cannot be", r.ID, n)
		}
	}
	return nil
}

// advanced returns row after r.
func (t *tx) advanced(row executionRow, r *api.Report) executionRow {
	if r.CancelRefused != "" {
		row.CancelRefused = cut(r.CancelRefused, maxCancelRefused)
	}
	row.State = r.State
	row.Reports = append(slices.Clip(row.Reports), r.ID)
	if r.State == api.StateRunning && row.StartedAt.IsZero() {
		row.StartedAt = t.now
	}
	if r.State.Terminal() {
		row.EndedAt = t.now
	}
	if r.Transfer != nil {
		row.Transfer = r.Transfer
	}
	if r.Failure != nil {
		row.Failure = &api.Failure{
			Class:   api.ErrorClass(cut(string(r.Failure.Class), maxFailureClass)),
			Message: cut(r.Failure.Message, maxFailureMessage),
		}
	}
	return row
}

// cut returns at most limit bytes of s, never half a character.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "")
}
