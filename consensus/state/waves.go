package state

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// leastSample is how many agents of a wave must have ended before its failure
// ratio halts a rollout; a smaller wave must have ended whole.
const leastSample = 10

// waves returns how many agents are released once each wave is open, rising to
// all of them. It depends on the row alone.
func waves(row *rolloutRow) []int {
	var sizes []int
	last := 0
	add := func(n int) {
		if n > last && n < row.Agents {
			sizes, last = append(sizes, n), n
		}
	}
	for _, w := range row.Plan.Waves {
		add(w.Size(row.Agents))
	}
	for _, n := range row.Steps {
		add(n)
	}
	return append(sizes, row.Agents)
}

// regionSteps returns where each region of the order ends, for a plan whose
// waves are its regions.
func (x *index) regionSteps(plan *api.Plan, members *roaring.Bitmap) []int {
	if len(plan.Waves) > 0 {
		return nil
	}
	var steps []int
	sum := 0
	for _, name := range plan.RegionOrder {
		if agents := x.byRegion[name]; agents != nil {
			sum += int(members.AndCardinality(agents))
			steps = append(steps, sum)
		}
	}
	return steps
}

// release opens the next wave: its agents may get their commands.
func (t *tx) release(a *activeRollout, p *progressRow) {
	target := a.waves[p.Wave]
	p.Wave++
	a.wave = p.Wave
	next := a.waiting
	if last := p.Wave == len(a.waves); !last {
		next = t.machine.index.pick(a.waiting, a.row.Plan.RegionOrder, target-p.Released)
	}
	p.Size = int(next.GetCardinality())
	p.Released += p.Size
	p.Succeeded, p.Failed = p.count(succeeded), p.count(api.State.Failed)
	a.pending = roaring.Or(a.pending, next)
	a.waiting = roaring.AndNot(a.waiting, next)
	t.putReleased(a)
}

// putReleased keeps who was released, unless that is everyone.
func (t *tx) putReleased(a *activeRollout) {
	key := idKey(keyReleased, a.row.ID)
	if a.wave >= len(a.waves) {
		t.delete(key)
		return
	}
	released, err := getMembers(t.batch, a.row.ID)
	if err != nil {
		t.fail(err)
		return
	}
	released.AndNot(a.waiting)
	encoded, err := encodeBitmap(released)
	if err != nil {
		t.fail(err)
		return
	}
	t.putBytes(key, encoded)
}

// pick returns n of a set: those of the named regions first, in their order.
func (x *index) pick(from *roaring.Bitmap, regions []string, n int) *roaring.Bitmap {
	out, rest := roaring.New(), from.Clone()
	take := func(set *roaring.Bitmap) {
		for it := set.Iterator(); it.HasNext() && int(out.GetCardinality()) < n; {
			out.Add(it.Next())
		}
	}
	for _, name := range regions {
		if agents := x.byRegion[name]; agents != nil {
			take(roaring.And(rest, agents))
			rest.AndNot(agents)
		}
	}
	take(rest)
	return out
}

func succeeded(s api.State) bool { return s == api.StateSucceeded }

// settle draws the consequences of what an entry changed: the next wave, a
// halt, or the end.
func (t *tx) settle(id string, p *progressRow) {
	a := t.machine.index.byID[id]
	if a == nil {
		return
	}
	for p.State == api.RolloutRunning && t.err == nil && t.judge(a, p) {
		continue
	}
	if !retired(&a.row, p) {
		return
	}
	if p.State != api.RolloutCancelled {
		t.setState(a, p, api.RolloutDone, p.Reason)
	}
	t.delete(a.row.deadline().key(keyDeadline))
	t.put(place{order: t.index, rollout: id, whole: true}.key(keyEnded), endedRow{At: t.now})
	t.machine.index.retire(id)
}

// retired reports whether a rollout has nothing left to do.
func retired(row *rolloutRow, p *progressRow) bool {
	return p.open() == 0 && (!row.Plan.Dynamic || !row.over().IsZero())
}

// judge looks at the wave that is open, and reports whether another one opened.
func (t *tx) judge(a *activeRollout, p *progressRow) bool {
	plan := &a.row.Plan
	wave := p.wave()
	good, bad := wave.Succeeded, wave.Failed
	if limit := plan.MaxFailurePercent; limit > 0 {
		certain := bad*100 > limit*p.Size
		likely := good+bad >= min(leastSample, p.Size) && bad*100 > limit*(good+bad)
		if p.Size > 0 && (certain || likely) {
			t.setState(a, p, api.RolloutHalted,
				fmt.Sprintf("wave %d: %d of %d ended agents failed, more than %d %%", p.Wave, bad, good+bad, limit))
			return false
		}
	}
	if p.Wave >= len(a.waves) {
		return false
	}
	if p.Size == 0 || (good > 0 && good*100 >= plan.SuccessNeeded()*p.Size) {
		t.release(a, p)
		return true
	}
	if a.pending.IsEmpty() && a.open.IsEmpty() && a.repeats.IsEmpty() {
		t.setState(a, p, api.RolloutHalted,
			fmt.Sprintf("wave %d ended with %d of %d agents succeeded, %d %% are needed", p.Wave, good, p.Size, plan.SuccessNeeded()))
	}
	return false
}

// join adds an agent to the dynamic rollouts that it matches now.
func (t *tx) join(agent *api.Agent, ordinal uint32) {
	for _, a := range t.machine.index.active {
		if !a.row.Plan.Dynamic || !a.row.over().IsZero() || !a.row.Selector.Matches(agent) || t.isMemberOf(a, ordinal) {
			continue
		}
		p := t.progressOf(a.row.ID)
		if t.err != nil {
			return
		}
		if p.Regions[agent.Region] == nil {
			p.Regions[agent.Region] = &regionRow{Counts: map[api.State]int{}}
		}
		p.Regions[agent.Region].Counts[api.StatePending]++
		p.Joined++
		t.putBytes(joinedKey(a.row.ID, ordinal), nil)
		if a.wave < len(a.waves) {
			a.waiting.Add(ordinal)
			continue
		}
		p.Released++
		p.Size++
		a.pending.Add(ordinal)
	}
}

// isMemberOf reports whether an agent has a command of an active rollout.
func (t *tx) isMemberOf(a *activeRollout, ordinal uint32) bool {
	if a.pending.Contains(ordinal) || a.waiting.Contains(ordinal) || a.open.Contains(ordinal) || a.repeats.Contains(ordinal) {
		return true
	}
	return t.get(executionKey(a.row.ID, ordinal), &executionRow{})
}
