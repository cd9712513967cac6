package state

import (
	"encoding/binary"
	"time"

	"redflag/api"
)

const (
	// trimPerTick bounds how much one Tick ends or forgets, in rows.
	trimPerTick = 256
	// archiveGrace is how long an ended command stays at least, so that every
	// node that is up has written it into its archive.
	archiveGrace = 10 * time.Minute
)

// remember enters an ended command into the history, and forgets the oldest of
// its agent's if there are too many.
func (t *tx) remember(c *command, row *executionRow) {
	t.putBytes(place{order: row.End, rollout: c.rollout.ID, ordinal: c.ordinal}.key(keyEnded), nil)
	t.putBytes(pastKey(c.ordinal, row.End, c.rollout.ID), nil)
	n := t.historyCount(c.ordinal) + 1
	perAgent := int(t.machine.index.cluster().Int(api.SettingHistoryPerAgent))
	for range 2 { // two for one brings a longer history down
		if n <= perAgent || !t.trimOldest(c.ordinal) {
			break
		}
		n--
	}
	t.putHistoryCount(c.ordinal, n)
}

func (t *tx) historyCount(ordinal uint32) int {
	n := 0
	if t.err == nil {
		t.fail(viewRow(t.batch, historyCountKey(ordinal), func(b []byte) error {
			n = int(binary.BigEndian.Uint32(b))
			return nil
		}))
	}
	return n
}

func (t *tx) putHistoryCount(ordinal uint32, n int) {
	t.putBytes(historyCountKey(ordinal), binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// trimOldest forgets the oldest ended command of an agent, unless it is young,
// and reports whether it did.
func (t *tx) trimOldest(ordinal uint32) bool {
	if t.err != nil {
		return false
	}
	prefix := historyCountKey(ordinal)
	var oldest place
	t.fail(scanRows(t.batch, append(prefix, 0), after4(prefix), func(key, _ []byte) (bool, error) {
		oldest = place{order: binary.BigEndian.Uint64(key[5:]), rollout: string(key[13:]), ordinal: ordinal}
		return false, nil
	}))
	if oldest.rollout == "" {
		return false
	}
	var row executionRow
	if t.get(executionKey(oldest.rollout, ordinal), &row) && t.now.Sub(row.EndedAt) < archiveGrace {
		return false
	}
	t.trimExecution(oldest, &row)
	return true
}

// after4 returns the first key that does not start with prefix, which may end
// in bytes of 0xFF.
func after4(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			break
		}
	}
	return end
}

// trimExecution leaves only the state of an ended command.
func (t *tx) trimExecution(p place, row *executionRow) {
	t.delete(p.key(keyEnded))
	t.delete(pastKey(p.ordinal, p.order, p.rollout))
	if row.End != p.order || row.Trimmed {
		return
	}
	for try := 1; try <= row.try(); try++ {
		t.delete(logKey(p.rollout, p.ordinal, try))
	}
	t.put(executionKey(p.rollout, p.ordinal), executionRow{State: row.State, Try: row.Try, End: row.End, EndedAt: row.EndedAt, Trimmed: true})
}

// trim forgets, in order of their ends, what ended longer ago than the settings
// say.
func (t *tx) trim(budget int) {
	if t.err != nil {
		return
	}
	var old []place
	from, to := kindSpan(keyEnded)
	t.fail(scanRows(t.batch, from, to, func(key, _ []byte) (bool, error) {
		p, ok := placeOf(key)
		if ok {
			old = append(old, p)
		}
		return len(old) < budget, nil
	}))
	for _, p := range old {
		if !t.trimPlace(p) {
			return
		}
	}
}

// trimPlace reports whether p was old enough.
func (t *tx) trimPlace(p place) bool {
	age := max(t.machine.index.cluster().Duration(api.SettingHistoryAge), archiveGrace)
	expired := func(end time.Time) bool { return t.now.Sub(end) > age }
	if p.whole {
		var row endedRow
		t.get(p.key(keyEnded), &row)
		if !expired(row.At) {
			return false
		}
		t.forgetRollout(p)
		return t.err == nil
	}
	var row executionRow
	if t.get(executionKey(p.rollout, p.ordinal), &row) && !expired(row.EndedAt) {
		return false
	}
	t.trimExecution(p, &row)
	t.putHistoryCount(p.ordinal, max(0, t.historyCount(p.ordinal)-1))
	return t.err == nil
}

// endedRow is the value at the place of a whole rollout.
type endedRow struct {
	At time.Time `cbor:"1,keyasint"`
}

// forgetRollout deletes a rollout that ended, and what is left of its commands.
func (t *tx) forgetRollout(p place) {
	var row rolloutRow
	t.delete(p.key(keyEnded))
	if !t.get(idKey(keyRollout, p.rollout), &row) {
		return
	}
	t.delete(idKey(keyRollout, p.rollout))
	t.delete(idKey(keyMembers, p.rollout))
	t.delete(idKey(keyProgress, p.rollout))
	t.delete(idKey(keyReleased, p.rollout))
	t.delete(orderKey(row.Index))
	for _, prefix := range [][]byte{executionPrefix(p.rollout), joinedPrefix(p.rollout), logPrefix(p.rollout)} {
		if t.err == nil {
			t.fail(t.batch.DeleteRange(prefix, after(prefix), nil))
		}
	}
}

// expire ends what has passed its deadline, in order of the deadlines, and
// returns what is left of the budget.
func (t *tx) expire(budget int) int {
	if t.err != nil {
		return 0
	}
	var due []place
	from, _ := kindSpan(keyDeadline)
	to := place{order: nanos(t.now) + 1}.key(keyDeadline)[:9]
	t.fail(scanRows(t.batch, from, to, func(key, _ []byte) (bool, error) {
		p, ok := placeOf(key)
		if ok {
			due = append(due, p)
		}
		return len(due) < budget, nil
	}))
	for _, p := range due {
		t.delete(p.key(keyDeadline))
		t.expirePlace(p)
	}
	return budget - len(due)
}

func (t *tx) expirePlace(p place) {
	a := t.machine.index.byID[p.rollout]
	if a == nil || t.err != nil {
		return
	}
	if p.whole {
		t.expireRollout(a)
		return
	}
	agent := t.machine.index.agents[p.ordinal]
	c := &command{rollout: a.row, active: a, ordinal: p.ordinal, region: agent.region, agentID: agent.id}
	var row executionRow
	if !t.get(executionKey(p.rollout, p.ordinal), &row) || row.State.Terminal() {
		return
	}
	c.row, c.try = &row, row.try()
	ended := row
	what := "the agent took it and never began"
	if row.State == api.StateRunning {
		what = "it had not ended"
	}
	ended.State, ended.EndedAt = api.StateTimedOut, t.now
	ended.Failure = &api.Failure{Class: api.ErrorDeadline, Message: "deadline passed: " + what}
	t.putExecution(c, ended)
}

// expireRollout ends what was never handed out.
func (t *tx) expireRollout(a *activeRollout) {
	if !a.row.over().IsZero() {
		return
	}
	row := a.row
	row.ExpiredAt = t.now
	p := t.progressOf(row.ID)
	p.endWaiting(api.StateTimedOut)
	t.endRollout(a, row)
}
