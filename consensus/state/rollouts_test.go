package state

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestCreateRollout(t *testing.T) {
	r := fleet(t)
	all := api.Selector{All: true}
	r.must(rollout("r1", all)) // a repeat
	r.refuses(api.CodeConflict, rollout("r1", api.Selector{Regions: []string{"eu"}}))
	r.refuses(api.CodeInvalid, rollout("r2", api.Selector{}))
	nobody := rollout("r2", api.Selector{Regions: []string{"mars"}})
	r.refuses(api.CodeInvalid, nobody)
	require.ErrorContains(t, r.apply(nobody).Err(), "(redflag agents shows their regions and labels)")
	r.refuses(api.CodeInvalid, rollout("r 2", all))
	for _, change := range []func(*CreateRollout){
		func(e *CreateRollout) { e.Version = "9.9" },
		func(e *CreateRollout) { e.Artifact = "ap" }, // a prefix of a known one
		func(e *CreateRollout) { e.Artifact, e.Kind, e.Version = "ap", api.KindRollback, "" },
	} {
		e := rollout("r2", all)
		change(&e)
		r.refuses(api.CodeNotFound, e)
	}
	bad := rollout("r2", all)
	bad.Kind = "Explode!" // a word that is merely unknown may be news to this version
	r.refuses(api.CodeInvalid, bad)

	back := rollout("r2", api.Selector{Labels: map[string]string{"role": "kiosk"}})
	back.Kind, back.Version = api.KindRollback, ""
	r.must(back)
	got, ok := r.Rollout("r2")
	require.True(t, ok)
	require.Equal(t, 2, got.Agents)
	require.Equal(t, map[api.State]int{api.StatePending: 2}, got.Counts)
	require.Equal(t, []string{"eu", "us"}, []string{got.Regions[0].Region, got.Regions[1].Region})
	require.Equal(t, "r2", r.Rollouts()[0].ID, "the newest first")

	r.must(enrol("a5", "eu", "t1", nil))
	require.Empty(t, r.Pending("a5", nil, 0), "membership is fixed at creation")
}

// The bitmaps must select exactly whom api.Selector.Matches does.
func TestSelection(t *testing.T) {
	r := fleet(t)
	for _, terms := range [][]string{
		{"all"},
		{"region:eu"},
		{"region:eu,us"},
		{"region:nowhere"},
		{"region:nowhere,us"},
		{"label:role=kiosk"},
		{"label:role=kiosk", "region:us"},
		{"label:role=none"},
		{"agent:a1,a4"},
		{"agent:a1,a9", "region:eu"},
		{"all", "region:us"},
	} {
		s, err := api.ParseSelector(terms...)
		require.NoError(t, err)
		var want, got []string
		for _, a := range r.Agents("", 0, s.Matches) {
			want = append(want, a.ID)
		}
		for _, ordinal := range r.Machine.index.selected(s).ToArray() {
			got = append(got, r.Machine.index.agents[ordinal].id)
		}
		require.Equal(t, want, got, "%v", terms)
	}
}

func TestCommandLife(t *testing.T) {
	r := fleet(t)
	id := "r1:a1"
	expect := func(s api.State) api.Command {
		t.Helper()
		c, ok := r.Command(id)
		require.True(t, ok)
		require.Equal(t, s, c.State)
		return c
	}
	c := expect(api.StatePending)
	require.Equal(t, "app 1.0.0 eu", c.Artifact+" "+c.Version+" "+c.Region)

	r.refuses(api.CodeConflict, report("a1", says("p0", id, api.StateRunning))) // never handed out
	r.must(lease("a1", id))
	c = expect(api.StateLeased)
	require.Equal(t, 1, c.Attempt)
	require.Equal(t, r.now.Add(time.Minute), c.LeaseUntil)
	r.must(lease("a1", id)) // the reply got lost
	require.Equal(t, 2, expect(api.StateLeased).Attempt)

	r.must(report("a1", says("p1", id, api.StateRunning)))
	started := r.now
	require.Equal(t, started, expect(api.StateRunning).StartedAt)
	r.refuses(api.CodeConflict, lease("a1", id)) // it runs
	rows := r.rows()
	r.must(report("a1", says("p1", id, api.StateRunning)), report("a1", says("p2", id, api.StateRunning)))
	require.Equal(t, rows, r.rows(), "what is known changes nothing")

	end := says("p3", id, api.StateFailed)
	end.Failure = &api.Failure{Class: api.ErrorDisk, Message: strings.Repeat("ä", maxFailureMessage)}
	end.Transfer = &api.Transfer{FromPeers: 70, FromNodes: 30, Total: 100, Done: 100}
	r.must(report("a1", end))
	c = expect(api.StateFailed)
	require.Equal(t, started, c.StartedAt)
	require.Equal(t, r.now, c.EndedAt)
	require.Equal(t, api.ErrorDisk, c.Failure.Class)
	require.Len(t, c.Failure.Message, maxFailureMessage)
	require.Equal(t, int64(70), c.Transfer.FromPeers)

	r.must(report("a1", end), report("a1", says("p1", id, api.StateRunning)))     // duplicates
	r.refuses(api.CodeConflict, report("a1", says("p4", id, api.StateSucceeded))) // first terminal wins
	r.refuses(api.CodeConflict, report("a1", says("p5", id, api.StateRunning)))   // rank never falls
	r.refuses(api.CodeConflict, lease("a1", id))                                  // it ended
	require.Equal(t, api.StateFailed, expect(api.StateFailed).State)

	got, _ := r.Rollout("r1")
	require.Equal(t, map[api.State]int{api.StatePending: 3, api.StateFailed: 1}, got.Counts)
	require.Equal(t, int64(100), got.Transfer.Done)
}

// The sums of a region and of the rollout hold every count, and of each agent
// what it said last.
func TestTransferSums(t *testing.T) {
	r := fleet(t)
	counts := func(n int64) api.Transfer {
		return api.Transfer{FromPeers: n, FromNodes: 2 * n, ToPeers: 3 * n, Total: 4 * n, Done: 5 * n, FromOtherRegions: 6 * n}
	}
	say := func(agent string, s api.State, n int64) {
		t.Helper()
		said, x := says(string(s), "r1:"+agent, s), counts(n)
		said.Transfer = &x
		r.must(report(agent, said))
	}
	for _, agent := range []string{"a1", "a2", "a4"} {
		r.must(lease(agent, "r1:"+agent))
	}
	say("a1", api.StateRunning, 1)
	say("a1", api.StateSucceeded, 10)
	say("a2", api.StateSucceeded, 100)
	say("a4", api.StateSucceeded, 1000)
	got, _ := r.Rollout("r1")
	require.Equal(t, counts(110), got.Regions[0].Transfer)
	require.Equal(t, counts(1000), got.Regions[1].Transfer)
	require.Equal(t, counts(1110), got.Transfer)
}

func TestIllegalReports(t *testing.T) {
	r := fleet(t)
	r.must(lease("a1", "r1:a1"))
	r.refuses(api.CodeDenied, report("a2", says("p", "r1:a1", api.StateSucceeded))) // another agent's command
	r.refuses(api.CodeDenied, lease("a2", "r1:a1"))
	for _, word := range []api.State{"done", "", api.StatePending, api.StateLeased} {
		r.refuses(api.CodeInvalid, report("a1", says("p", "r1:a1", word)))
	}
	r.refuses(api.CodeInvalid, report("a1", says("", "r1:a1", api.StateRunning)))
	r.refuses(api.CodeInvalid, report("a1", says("p", "r1", api.StateRunning)))
	r.refuses(api.CodeNotFound, report("a1", says("p", "r9:a1", api.StateRunning)))
	r.refuses(api.CodeNotFound, report("a9", says("p", "r1:a9", api.StateRunning)))
	for _, n := range []int64{-1, maxTransfer + 1, math.MaxInt64, math.MinInt64} {
		for _, x := range []api.Transfer{{FromPeers: n}, {FromNodes: n}, {ToPeers: n}, {Total: n}, {Done: n}, {FromOtherRegions: n}} {
			absurd := says("p", "r1:a1", api.StateRunning)
			absurd.Transfer = &x
			r.refuses(api.CodeInvalid, report("a1", absurd))
		}
	}
	long := lease("a1", "r1:a1")
	long.Duration = 25 * time.Hour
	r.refuses(api.CodeInvalid, long)
	r.must(rollout("eu", api.Selector{Regions: []string{"eu"}}))
	r.refuses(api.CodeNotFound, lease("a4", "eu:a4")) // not a member
}

// One entry carries many records, and a refused one does not touch the others.
func TestBatch(t *testing.T) {
	r := fleet(t)
	got := r.apply(lease("a1", "r1:a1", "r9:a1", "r1:a1"))
	require.Len(t, got.Errors, 3)
	require.Nil(t, got.Errors[0])
	require.Equal(t, api.CodeNotFound, got.Errors[1].Code)
	require.Nil(t, got.Errors[2], "the second lease sees the first")
	r.must(lease("a2", "r1:a2"))
	got = r.apply(Reports{Agents: []AgentReports{
		{"a1", []api.Report{says("1", "r1:a1", api.StateRunning), says("2", "r1:a1", api.StateSucceeded)}},
		{"a2", []api.Report{says("1", "r1:a1", api.StateFailed), says("2", "r1:a2", api.StateRolledBack)}},
	}})
	require.Len(t, got.Errors, 4)
	require.Equal(t, api.CodeDenied, got.Errors[2].Code)
	ro, _ := r.Rollout("r1")
	require.Equal(t, map[api.State]int{
		api.StatePending: 2, api.StateSucceeded: 1, api.StateRolledBack: 1,
	}, ro.Counts)
}

func TestCancel(t *testing.T) {
	r := fleet(t)
	r.must(lease("a1", "r1:a1"), CancelRollout{"r1"}, CancelRollout{"r1"})
	r.refuses(api.CodeNotFound, CancelRollout{"r9"})
	c, _ := r.Command("r1:a2")
	require.Equal(t, api.StateCancelled, c.State)
	require.False(t, c.EndedAt.IsZero())
	require.Empty(t, r.Pending("a2", nil, 0))
	r.refuses(api.CodeConflict, lease("a2", "r1:a2"))
	r.refuses(api.CodeConflict, report("a2", says("p", "r1:a2", api.StateSucceeded)))

	require.Empty(t, r.Pending("a1", nil, 0), "its agent is asked to cancel it instead")
	require.Equal(t, []string{"r1:a1"}, r.Cancels("a1", 0))
	r.must(report("a1", says("p", "r1:a1", api.StateSucceeded)))
	got, _ := r.Rollout("r1")
	require.Equal(t, api.RolloutCancelled, got.State)
	require.Equal(t, map[api.State]int{api.StateCancelled: 3, api.StateSucceeded: 1}, got.Counts)
	require.Empty(t, r.Machine.index.active)
	r.refuses(api.CodeConflict, lease("a2", "r1:a2")) // also when nothing is left to do
	r.must(CancelRollout{"r1"})
}

func TestDone(t *testing.T) {
	r := fleet(t)
	for i := 1; i <= 4; i++ {
		agent := fmt.Sprintf("a%d", i)
		r.must(lease(agent, "r1:"+agent), report(agent, says("p", "r1:"+agent, api.StateSucceeded)))
	}
	got, _ := r.Rollout("r1")
	require.Equal(t, api.RolloutDone, got.State)
	require.Empty(t, r.Machine.index.active)
	r.refuses(api.CodeConflict, CancelRollout{"r1"})
	r.refuses(api.CodeConflict, lease("a1", "r1:a1"))
}

func TestPending(t *testing.T) {
	r := fleet(t)
	r.must(rollout("r2", api.Selector{Agents: []string{"a1"}}))
	ids := func(held ...string) (out []string) {
		for _, c := range r.Pending("a1", held, 0) {
			out = append(out, c.ID)
		}
		return out
	}
	require.Equal(t, []string{"r1:a1", "r2:a1"}, ids())
	require.Len(t, r.Pending("a1", nil, 1), 1)
	r.must(lease("a1", "r1:a1"))
	require.Equal(t, []string{"r2:a1"}, ids("r1:a1"))
	require.Equal(t, []string{"r1:a1", "r2:a1"}, ids(), "leased but not held: the reply got lost")
	r.must(report("a1", says("p", "r1:a1", api.StateRunning)))
	require.Equal(t, []string{"r2:a1"}, ids(), "a running command is never handed out again")
	require.Empty(t, r.Pending("nobody", nil, 0))
}

func TestListings(t *testing.T) {
	r := fleet(t)
	r.must(rollout("r2", api.Selector{Regions: []string{"eu"}}), lease("a2", "r2:a2"))
	walk := func(f CommandFilter, limit int) (ids []string) {
		after := ""
		for {
			found := r.Commands(f, after, limit)
			if len(found) == 0 {
				return ids
			}
			require.LessOrEqual(t, len(found), limit)
			for _, c := range found {
				ids = append(ids, c.ID)
			}
			after = ids[len(ids)-1]
		}
	}
	all := []string{"r2:a1", "r2:a2", "r2:a3", "r1:a1", "r1:a2", "r1:a3", "r1:a4"}
	for limit := 1; limit < 9; limit++ {
		require.Equal(t, all, walk(CommandFilter{}, limit), "pages of %d", limit)
	}
	require.Equal(t, []string{"r2:a2"}, walk(CommandFilter{State: api.StateLeased}, 2))
	require.Equal(t, []string{"r2:a2", "r1:a2"}, walk(CommandFilter{Agent: "a2"}, 1))
	require.Equal(t, []string{"r1:a1", "r1:a2", "r1:a3", "r1:a4"}, walk(CommandFilter{Rollout: "r1", State: api.StatePending}, 3))
	require.Empty(t, walk(CommandFilter{Rollout: "r9"}, 3))
	require.Empty(t, walk(CommandFilter{Agent: "a9"}, 3))

	agents := r.Agents("a1", 2, nil)
	require.Equal(t, []string{"a2", "a3"}, []string{agents[0].ID, agents[1].ID})
	require.Len(t, r.Agents("", 0, func(a *api.Agent) bool { return a.Region == "us" }), 1)
}

func TestRolloutsBefore(t *testing.T) {
	r := newRig(t)
	r.must(token("t1", api.TokenAgent, 1, nil), enrol("a1", "eu", "t1", nil))
	for _, id := range []string{"r1", "r2", "r3"} {
		r.must(CreateRollout{ID: id, Kind: api.KindScan, Selector: api.Selector{All: true}})
	}
	first, next := r.RolloutsBefore(0, 2)
	require.Equal(t, []string{"r3", "r2"}, []string{first[0].ID, first[1].ID})
	r.must(CreateRollout{ID: "r4", Kind: api.KindScan, Selector: api.Selector{All: true}})
	rest, end := r.RolloutsBefore(next, 2)
	require.Len(t, rest, 1)
	require.Equal(t, "r1", rest[0].ID)
	require.Zero(t, end)
	all, end := r.RolloutsBefore(0, 4)
	require.Len(t, all, 4)
	require.Zero(t, end, "a last page that is full has no next")
	none, _ := r.RolloutsBefore(1, 2)
	require.Empty(t, none)
}
