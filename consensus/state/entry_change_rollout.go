package state

import (
	"redflag/api"
)

// maxReason bounds what an operator says, in bytes.
const maxReason = 512

// ChangeRollout pauses a rollout or lets it go on. What is said already is
// accepted.
type ChangeRollout struct {
	ID     string            `cbor:"1,keyasint"`
	Action api.RolloutAction `cbor:"2,keyasint"`
	Reason string            `cbor:"3,keyasint,omitempty"`
}

func (ChangeRollout) entryType() EntryType { return TypeChangeRollout }

func (e ChangeRollout) apply(t *tx) []*api.Error { return one(e.change(t)) }

func (e ChangeRollout) change(t *tx) *api.Error {
	if e.Action != api.RolloutPause && e.Action != api.RolloutResume {
		return api.Errorf(api.CodeInvalid, "action %.32q is not known", string(e.Action))
	}
	a := t.machine.index.byID[e.ID]
	if a == nil {
		if !t.get(idKey(keyRollout, e.ID), &rolloutRow{}) {
			return api.Errorf(api.CodeNotFound, "rollout %.128q is not known", e.ID)
		}
		return api.Errorf(api.CodeConflict, "rollout %s has ended", e.ID)
	}
	if a.state.Ended() {
		return api.Errorf(api.CodeConflict, "rollout %s is %s", e.ID, a.state)
	}
	switch {
	case e.Action == api.RolloutPause && a.state == api.RolloutRunning:
		t.setState(a, t.progressOf(e.ID), api.RolloutPaused, cut(e.Reason, maxReason))
	case e.Action == api.RolloutPause && a.state == api.RolloutHalted:
		return api.Errorf(api.CodeConflict, "rollout %s has halted by itself already", e.ID)
	case e.Action == api.RolloutResume && a.state != api.RolloutRunning:
		t.resume(a, t.progressOf(e.ID))
	}
	return nil
}

// resume lets a rollout go on. One that had halted starts counting failures
// anew, and its wave passes with what it reached. A dynamic one that halted in
// its last wave goes on with who joins.
func (t *tx) resume(a *activeRollout, p *progressRow) {
	halted := a.state == api.RolloutHalted
	t.setState(a, p, api.RolloutRunning, "")
	if !halted {
		return
	}
	p.Failed = p.count(api.State.Failed)
	if p.Wave < len(a.waves) && a.pending.IsEmpty() && a.open.IsEmpty() && a.repeats.IsEmpty() {
		t.release(a, p)
	}
}

// setState changes a rollout's state here and in the index.
func (t *tx) setState(a *activeRollout, p *progressRow, s api.RolloutState, reason string) {
	p.State, p.Reason = s, reason
	a.state, a.reason = s, reason
}
