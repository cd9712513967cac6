package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// after lets time pass, and ticks.
func (r *rig) wait(d time.Duration) {
	r.Helper()
	r.now = r.now.Add(d)
	r.must(Tick{})
}

func (r *rig) state(id string) api.State {
	r.Helper()
	c, ok := r.Command(id)
	require.True(r, ok, id)
	return c.State
}

func (r *rig) rolloutState(id string) api.RolloutState {
	r.Helper()
	ro, ok := r.Rollout(id)
	require.True(r, ok, id)
	return ro.State
}

// reopened checks that what is derived in memory is the same after a restart.
func (r *rig) reopened() {
	r.Helper()
	x, err := loadIndex(r.db)
	require.NoError(r, err)
	require.Len(r, x.active, len(r.Machine.index.active))
	for i, want := range r.Machine.index.active {
		got := x.active[i]
		require.Equal(r, want.row, got.row)
		require.Equal(r, []any{want.state, want.reason, want.wave, want.waves}, []any{got.state, got.reason, got.wave, got.waves})
		require.Equal(r, want.pending.ToArray(), got.pending.ToArray(), "pending of %s", want.row.ID)
		require.Equal(r, want.waiting.ToArray(), got.waiting.ToArray(), "waiting of %s", want.row.ID)
		require.Equal(r, want.repeats.ToArray(), got.repeats.ToArray(), "repeats of %s", want.row.ID)
		require.Equal(r, want.open.ToArray(), got.open.ToArray(), "open of %s", want.row.ID)
		require.Equal(r, want.cancels.ToArray(), got.cancels.ToArray(), "cancels of %s", want.row.ID)
		require.Equal(r, want.refused.ToArray(), got.refused.ToArray(), "refused of %s", want.row.ID)
	}
	require.Equal(r, r.Machine.index.cluster(), x.cluster())
	require.Equal(r, r.Machine.index.agents, x.agents)
	require.Equal(r, r.Machine.index.rows, x.rows)
	require.Equal(r, r.Machine.index.coordinators, x.coordinators)
	require.Equal(r, r.Machine.index.revoked, x.revoked)
}

func fails(id, commandID string, class api.ErrorClass) api.Report {
	r := says(id, commandID, api.StateFailed)
	r.Failure = &api.Failure{Class: class, Message: "it did not work"}
	return r
}

// Nothing stays open for ever: what waits ends with its rollout, and what an
// agent took ends at its own deadline.
func TestDeadlines(t *testing.T) {
	r := fleet(t)
	p := api.Plan{Timeout: api.Duration(time.Hour), Expiry: api.Duration(3 * time.Hour)}
	r.must(planned(rollout("r2", api.Selector{All: true}), p))
	r.must(lease("a1", "r2:a1"), lease("a2", "r2:a2"), report("a2", says("p1", "r2:a2", api.StateRunning)))
	r.wait(59 * time.Minute)
	require.Equal(t, api.StateLeased, r.state("r2:a1"))
	r.wait(time.Minute)
	require.Equal(t, api.StateTimedOut, r.state("r2:a1"))
	require.Equal(t, api.StateTimedOut, r.state("r2:a2"))
	c, _ := r.Command("r2:a2")
	require.Equal(t, api.ErrorDeadline, c.Failure.Class)
	require.Equal(t, api.StatePending, r.state("r2:a3"))
	r.refuses(api.CodeConflict, report("a2", says("p2", "r2:a2", api.StateSucceeded))) // too late
	r.refuses(api.CodeConflict, lease("a1", "r2:a1"))
	r.reopened()

	r.must(lease("a3", "r2:a3"))
	r.wait(2 * time.Hour)
	require.Equal(t, api.StateTimedOut, r.state("r2:a3"))
	require.Equal(t, api.StateTimedOut, r.state("r2:a4"), "its rollout has expired")
	require.Equal(t, api.RolloutDone, r.rolloutState("r2"))
	got, _ := r.Rollout("r2")
	require.Equal(t, map[api.State]int{api.StateTimedOut: 4}, got.Counts)
	r.refuses(api.CodeConflict, lease("a4", "r2:a4"))
	r.refuses(api.CodeConflict, report("a4", says("p", "r2:a4", api.StateSucceeded)))
	r.reopened()
}

// A report is held against the time in its entry, not against the next tick.
func TestLateReportBeforeTheTick(t *testing.T) {
	r := fleet(t)
	r.must(planned(rollout("r2", api.Selector{All: true}), api.Plan{Timeout: api.Duration(time.Minute)}), lease("a1", "r2:a1"))
	r.now = r.now.Add(time.Minute)
	r.refuses(api.CodeConflict, report("a1", says("p", "r2:a1", api.StateSucceeded)))
	require.Equal(t, api.StateLeased, r.state("r2:a1"))
	r.must(Tick{})
	require.Equal(t, api.StateTimedOut, r.state("r2:a1"))
}

// A tick ends a bounded number of commands, and the next ones the rest.
func TestExpiryIsBounded(t *testing.T) {
	r := newRig(t)
	r.must(token("t1", api.TokenAgent, 1000, nil), artifact("app", "1.0.0", 1))
	n := trimPerTick + 10
	for i := range n {
		r.must(enrol(agentName(i), "eu", "t1", nil))
	}
	r.must(planned(rollout("r1", api.Selector{All: true}), api.Plan{Timeout: api.Duration(time.Hour)}))
	for i := range n {
		r.must(lease(agentName(i), api.CommandID("r1", agentName(i))))
	}
	r.now = r.now.Add(2 * time.Hour)
	r.must(Tick{})
	got, _ := r.Rollout("r1")
	require.Equal(t, trimPerTick, got.Counts[api.StateTimedOut])
	r.must(Tick{})
	got, _ = r.Rollout("r1")
	require.Equal(t, n, got.Counts[api.StateTimedOut])
	require.Equal(t, api.RolloutDone, got.State)
}

func TestRetries(t *testing.T) {
	r := fleet(t)
	p := api.Plan{Retries: api.RetryPolicy{
		api.ErrorNetwork: {Tries: 3, Base: api.Duration(time.Minute), Limit: api.Duration(90 * time.Second)},
	}}
	r.must(planned(rollout("r2", api.Selector{Agents: []string{"a1", "a2"}}), p))
	r.must(lease("a1", "r2:a1"), report("a1", fails("p1", "r2:a1", api.ErrorNetwork)))
	require.Equal(t, api.StateFailed, r.state("r2:a1"))
	c, ok := r.Command("r2:a1:2")
	require.True(t, ok)
	require.Equal(t, api.StatePending, c.State)
	require.Equal(t, "r2:a1", c.RetryOf)
	require.True(t, !c.NotBefore.Before(r.now.Add(30*time.Second)) && !c.NotBefore.After(r.now.Add(time.Minute)), c.NotBefore)
	got, _ := r.Rollout("r2")
	require.Equal(t, map[api.State]int{api.StatePending: 2}, got.Counts, "the agent has not failed yet")
	r.reopened()

	r.must(report("a1", fails("p1", "r2:a1", api.ErrorNetwork)))                     // a duplicate
	r.refuses(api.CodeConflict, report("a1", says("p9", "r2:a1", api.StateRunning))) // a try that ended
	r.refuses(api.CodeConflict, lease("a1", "r2:a1"))
	r.refuses(api.CodeConflict, lease("a1", "r2:a1:2")) // too early
	r.refuses(api.CodeNotFound, lease("a1", "r2:a1:3"))
	_, waiting := r.Due("a1", nil, r.now, nil, 0)
	require.Contains(t, waiting[len(waiting)-1].Reason, "repeated at")

	r.now = r.now.Add(time.Minute)
	require.Equal(t, "r2:a1:2", r.Pending("a1", []string{"r1:a1"}, 0)[1].ID)
	r.must(lease("a1", "r2:a1:2"), report("a1", says("p2", "r2:a1:2", api.StateRunning)), report("a1", fails("p3", "r2:a1:2", api.ErrorNetwork)))
	r.now = r.now.Add(time.Hour)
	r.must(lease("a1", "r2:a1:3"), report("a1", fails("p4", "r2:a1:3", api.ErrorNetwork)))
	require.Equal(t, api.StateFailed, r.state("r2:a1:3"), "three tries are all")
	_, ok = r.Command("r2:a1:4")
	require.False(t, ok)

	r.must(lease("a2", "r2:a2"), report("a2", fails("p1", "r2:a2", api.ErrorVerify)))
	require.Equal(t, api.StateFailed, r.state("r2:a2"), "no rule, no retry")
	require.Equal(t, api.RolloutDone, r.rolloutState("r2"))
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] { // pages of one, across tries
		page := r.Commands(CommandFilter{Rollout: "r2"}, after, 1)
		if len(page) == 0 {
			break
		}
		ids = append(ids, page[0].ID)
	}
	require.Equal(t, []string{"r2:a1", "r2:a1:2", "r2:a1:3", "r2:a2"}, ids)
	r.reopened()
}

// A repeat keeps the agent, the artifact and the kind of what it repeats.
func TestRetryConstraints(t *testing.T) {
	r := fleet(t)
	r.must(artifact("app", "2.0.0", 2))
	retry := func(id, of, agent string) CreateRollout {
		e := rollout(id, api.Selector{Agents: []string{agent}})
		e.RetryOf = of
		return e
	}
	r.refuses(api.CodeConflict, retry("x", "r1:a1", "a1")) // it waits
	r.must(lease("a1", "r1:a1"), report("a1", fails("p", "r1:a1", api.ErrorInstall)))
	r.refuses(api.CodeInvalid, retry("x", "r1:a1", "a2"))
	r.refuses(api.CodeNotFound, retry("x", "r9:a1", "a1"))
	other := retry("x", "r1:a1", "a1")
	other.Version = "2.0.0"
	r.refuses(api.CodeConflict, other)
	r.must(retry("x", "r1:a1", "a1"), retry("x", "r1:a1", "a1"))
	c, ok := r.Command("x:a1")
	require.True(t, ok)
	require.Equal(t, "r1:a1", c.RetryOf)
	r.must(lease("a2", "r1:a2"), report("a2", says("p", "r1:a2", api.StateSucceeded)))
	r.refuses(api.CodeConflict, retry("y", "r1:a2", "a2")) // it succeeded
}

func TestTwoPhaseCancel(t *testing.T) {
	r := fleet(t)
	r.must(CancelCommand{"r1:a1"}, CancelCommand{"r1:a1"}) // never leased: at once
	require.Equal(t, api.StateCancelled, r.state("r1:a1"))
	r.refuses(api.CodeConflict, lease("a1", "r1:a1"))
	require.Empty(t, r.Cancels("a1", 0))

	r.must(lease("a2", "r1:a2"), report("a2", says("p1", "r1:a2", api.StateRunning)))
	r.refuses(api.CodeConflict, report("a2", says("p0", "r1:a2", api.StateCancelled))) // nobody asked
	r.must(CancelCommand{"r1:a2"})
	require.Equal(t, api.StateRunning, r.state("r1:a2"))
	require.Equal(t, []string{"r1:a2"}, r.Cancels("a2", 0))
	r.reopened()
	r.must(report("a2", says("p2", "r1:a2", api.StateCancelled)))
	require.Equal(t, api.StateCancelled, r.state("r1:a2"))
	require.Empty(t, r.Cancels("a2", 0))

	r.must(lease("a3", "r1:a3"), CancelCommand{"r1:a3"})
	require.Empty(t, r.Pending("a3", nil, 0), "what is to be cancelled is not handed out again")
	r.refuses(api.CodeConflict, lease("a3", "r1:a3"))
	no := says("p1", "r1:a3", api.StateRunning)
	no.CancelRefused = "the new version is in place"
	r.must(report("a3", no))
	require.Empty(t, r.Cancels("a3", 0))
	c, _ := r.Command("r1:a3")
	require.Equal(t, "the new version is in place", c.CancelRefused)
	rows := r.rows()
	for i := range 3 { // it has been said: a row does not grow with every repeat
		no.ID = fmt.Sprintf("again-%d", i)
		r.must(report("a3", no))
	}
	require.Equal(t, rows, r.rows())
	r.reopened()
	r.must(report("a3", says("p2", "r1:a3", api.StateSucceeded)))
	require.Equal(t, api.StateSucceeded, r.state("r1:a3"))
	r.refuses(api.CodeConflict, CancelCommand{"r1:a3"})
	r.refuses(api.CodeNotFound, CancelCommand{"r1:a9"})
	r.refuses(api.CodeInvalid, CancelCommand{"r1"})
}

// An abort reaches whoever holds a command, and a wish to repeat ends with it.
func TestAbort(t *testing.T) {
	r := fleet(t)
	p := api.Plan{Retries: api.RetryPolicy{api.ErrorNetwork: {Tries: 3}}}
	r.must(planned(rollout("r2", api.Selector{All: true}), p))
	for _, a := range []string{"a1", "a2", "a3"} {
		r.must(lease(a, "r2:"+a))
	}
	r.must(report("a1", fails("p", "r2:a1", api.ErrorNetwork)), CancelRollout{"r2"})
	require.Equal(t, api.StateCancelled, r.state("r2:a1:2"))
	require.Equal(t, api.StateCancelled, r.state("r2:a4"))
	require.Equal(t, []string{"r2:a2"}, r.Cancels("a2", 0))
	require.Empty(t, r.Cancels("a1", 0))
	r.reopened()
	r.must(report("a2", says("p", "r2:a2", api.StateCancelled)))
	r.must(report("a3", fails("p", "r2:a3", api.ErrorNetwork)))
	require.Equal(t, api.StateFailed, r.state("r2:a3"), "nobody repeats what was aborted")
	got, _ := r.Rollout("r2")
	require.Equal(t, api.RolloutCancelled, got.State)
	require.Equal(t, map[api.State]int{api.StateCancelled: 3, api.StateFailed: 1}, got.Counts)
	r.reopened()
}

func TestLogsAreKeptAndBounded(t *testing.T) {
	r := fleet(t)
	r.must(lease("a1", "r1:a1"))
	end, exit := fails("p", "r1:a1", api.ErrorInstall), 7
	end.Log = &api.ExecutionLog{ExitCode: &exit, Stderr: fmt.Sprintf("%10000d", 42), Steps: []api.Step{{Name: "install", Millis: 5}}}
	r.must(report("a1", end))
	c, _ := r.Command("r1:a1")
	require.Equal(t, 7, *c.Log.ExitCode)
	require.Len(t, c.Log.Stderr, api.MaxOutput)
	require.True(t, c.Log.Cut)
	require.Equal(t, []string{"created", "handed out", "failed"}, whats(c.Timeline()))
}

func whats(events []api.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.What)
	}
	return out
}
