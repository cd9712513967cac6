package state

import (
	"slices"
	"strings"

	"redflag/api"
)

// Bounds of what is kept of a failure, in bytes. What is longer is cut.
const (
	maxFailureMessage = 4 << 10
	maxFailureClass   = 64
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
	if c.row != nil && (slices.Contains(c.row.Reports, r.ID) || have == r.State) {
		return nil
	}
	switch {
	case c.row == nil:
		return api.Errorf(api.CodeConflict, "command %s is %s: it was never handed out", r.CommandID, have)
	case have.Terminal():
		return api.Errorf(api.CodeConflict, "command %s has ended: it is %s", r.CommandID, have)
	}
	t.putExecution(c, t.advanced(*c.row, r))
	return nil
}

func checkReport(r *api.Report) *api.Error {
	if err := api.CheckID("report id", r.ID); err != nil {
		return refusal(err)
	}
	if r.State.Rank() < api.StateRunning.Rank() {
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
	row.State = r.State
	row.Reports = append(slices.Clip(row.Reports), r.ID)
	if r.State == api.StateRunning {
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
