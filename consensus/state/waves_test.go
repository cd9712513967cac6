package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// town is a machine with n agents, the first half in eu and the others in us.
func town(tb testing.TB, n int) *rig {
	tb.Helper()
	r := newRig(tb)
	r.must(token("t1", api.TokenAgent, 10*n, nil), artifact("app", "1.0.0", 1))
	for i := range n {
		region := "eu"
		if i >= n/2 {
			region = "us"
		}
		r.must(enrol(agentName(i), region, "t1", nil))
	}
	return r
}

// due returns the numbers of the agents that may have their command of r1.
func (r *rig) due(n int) (out []int) {
	for i := range n {
		if len(r.Pending(agentName(i), nil, 0)) > 0 {
			out = append(out, i)
		}
	}
	return out
}

func (r *rig) ends(i int, s api.State) {
	r.Helper()
	id := api.CommandID("r1", agentName(i))
	r.must(lease(agentName(i), id), report(agentName(i), says(id[len(id)-4:], id, s)))
}

func TestWaves(t *testing.T) {
	r := town(t, 10)
	p := api.Plan{Waves: []api.Wave{{Agents: 1}, {Percent: 50}}, SuccessPercent: 75, RegionOrder: []string{"us"}}
	r.must(planned(rollout("r1", api.Selector{All: true}), p))
	require.Equal(t, []int{5}, r.due(10), "the first region first")
	r.refuses(api.CodeConflict, lease(agentName(0), api.CommandID("r1", agentName(0))))
	_, waiting := r.Due(agentName(0), nil, r.now, nil, 0)
	require.Equal(t, "wave 1 of 3 is open, this agent is in a later one", waiting[0].Reason)
	r.reopened()

	r.ends(5, api.StateSucceeded)
	require.Equal(t, []int{6, 7, 8, 9}, r.due(10))
	got, _ := r.Rollout("r1")
	require.Equal(t, []int{2, 3, 5}, []int{got.Wave, got.Waves, got.Released})
	r.reopened()
	r.ends(6, api.StateSucceeded)
	r.ends(7, api.StateFailed)
	require.Equal(t, []int{8, 9}, r.due(10))
	r.ends(8, api.StateSucceeded)
	require.Equal(t, []int{9}, r.due(10), "two of four are not enough")
	got, _ = r.Rollout("r1")
	require.Equal(t, api.WaveCounts{Agents: 4, Succeeded: 2, Failed: 1}, got.OpenWave)
	r.ends(9, api.StateSucceeded)
	require.Equal(t, []int{0, 1, 2, 3, 4}, r.due(10), "three of four are")
	r.reopened()
	for i := range 5 {
		r.ends(i, api.StateSucceeded)
	}
	require.Equal(t, api.RolloutDone, r.rolloutState("r1"))
}

func TestRegionsAsWaves(t *testing.T) {
	r := town(t, 4)
	r.must(planned(rollout("r1", api.Selector{All: true}), api.Plan{RegionOrder: []string{"us", "mars", "eu"}}))
	require.Equal(t, []int{2, 3}, r.due(4))
	r.ends(2, api.StateSucceeded)
	r.ends(3, api.StateSucceeded)
	require.Equal(t, []int{0, 1}, r.due(4))
	r.reopened()
}

func TestAWaveThatFallsShortHalts(t *testing.T) {
	r := town(t, 6)
	r.must(planned(rollout("r1", api.Selector{All: true}), api.Plan{Waves: []api.Wave{{Agents: 2}}}))
	r.ends(0, api.StateSucceeded)
	r.ends(1, api.StateFailed)
	got, _ := r.Rollout("r1")
	require.Equal(t, api.RolloutHalted, got.State)
	require.Equal(t, "wave 1 ended with 1 of 2 agents succeeded, 100 % are needed", got.Reason)
	require.Empty(t, r.due(6))
	r.refuses(api.CodeConflict, ChangeRollout{ID: "r1", Action: api.RolloutPause})
	r.reopened()
	r.must(ChangeRollout{ID: "r1", Action: api.RolloutResume})
	require.Equal(t, []int{2, 3, 4, 5}, r.due(6), "an operator took the wave as it is")
	r.reopened()
}

func TestFailureRatioHalts(t *testing.T) {
	r := town(t, 40)
	r.must(planned(rollout("r1", api.Selector{All: true}), api.Plan{MaxFailurePercent: 20}))
	for i := range 3 {
		r.ends(i, api.StateFailed)
	}
	require.Equal(t, api.RolloutRunning, r.rolloutState("r1"), "three say little")
	for i := 3; i < 10; i++ {
		require.Equal(t, api.RolloutRunning, r.rolloutState("r1"))
		r.ends(i, api.StateSucceeded)
	}
	got, _ := r.Rollout("r1")
	require.Equal(t, api.RolloutHalted, got.State)
	require.Equal(t, "wave 1: 3 of 10 ended agents failed, more than 20 %", got.Reason)
	require.Empty(t, r.due(40))
	require.Contains(t, first(r.Due(agentName(20), nil, r.now, nil, 0)), "the rollout is halted: wave 1")
	r.must(ChangeRollout{ID: "r1", Action: api.RolloutResume})
	require.Equal(t, api.RolloutRunning, r.rolloutState("r1"), "it counts anew")
	require.Len(t, r.due(40), 30)
}

// A dynamic rollout that halted in its last wave has no other to release, and
// goes on with those who join.
func TestAHaltedDynamicRolloutResumes(t *testing.T) {
	r := town(t, 2)
	r.must(planned(rollout("r1", api.Selector{All: true}), api.Plan{Dynamic: true, MaxFailurePercent: 10}))
	r.ends(0, api.StateSucceeded)
	r.ends(1, api.StateFailed)
	require.Equal(t, api.RolloutHalted, r.rolloutState("r1"))
	r.must(ChangeRollout{ID: "r1", Action: api.RolloutResume})
	require.Equal(t, api.RolloutRunning, r.rolloutState("r1"))
	r.must(enrol(agentName(2), "eu", "t1", nil))
	require.Equal(t, []int{2}, r.due(3))
	r.reopened()
	r.ends(2, api.StateSucceeded)
}

func first(_ []api.Command, waiting []api.Waiting) string { return waiting[0].Reason }

func TestPauseAndResume(t *testing.T) {
	r := town(t, 2)
	r.must(rollout("r1", api.Selector{All: true}), ChangeRollout{ID: "r1", Action: api.RolloutPause, Reason: "lunch"})
	require.Empty(t, r.due(2))
	require.Equal(t, "the rollout is paused: lunch", first(r.Due(agentName(0), nil, r.now, nil, 0)))
	r.refuses(api.CodeConflict, lease(agentName(0), api.CommandID("r1", agentName(0))))
	r.must(ChangeRollout{ID: "r1", Action: api.RolloutPause})
	r.reopened()
	r.must(ChangeRollout{ID: "r1", Action: api.RolloutResume}, ChangeRollout{ID: "r1", Action: api.RolloutResume})
	require.Equal(t, []int{0, 1}, r.due(2))
	r.refuses(api.CodeNotFound, ChangeRollout{ID: "r9", Action: api.RolloutPause})
	r.refuses(api.CodeInvalid, ChangeRollout{ID: "r1", Action: "explode"})
	r.must(CancelRollout{"r1"})
	r.refuses(api.CodeConflict, ChangeRollout{ID: "r1", Action: api.RolloutPause})
}

// An agent that comes later joins, with the last wave, and is not counted twice.
func TestDynamicMembership(t *testing.T) {
	r := town(t, 2)
	p := api.Plan{Dynamic: true, Waves: []api.Wave{{Agents: 1}}, Expiry: api.Duration(time.Hour)}
	r.must(planned(rollout("r1", api.Selector{Regions: []string{"eu"}}), p))
	require.Equal(t, []int{0}, r.due(2))
	r.must(enrol(agentName(2), "eu", "t1", nil), enrol(agentName(3), "us", "t1", nil))
	r.ends(0, api.StateSucceeded)
	require.Equal(t, []int{2}, r.due(4))
	r.ends(2, api.StateSucceeded)
	require.Equal(t, api.RolloutRunning, r.rolloutState("r1"), "more may come")
	r.must(enrol(agentName(4), "eu", "t1", nil))
	got, _ := r.Rollout("r1")
	require.Equal(t, 3, got.Agents)
	require.Equal(t, []int{4}, r.due(5))
	r.reopened()
	require.Len(t, r.Commands(CommandFilter{Rollout: "r1"}, "", 0), 3)
	r.wait(time.Hour)
	require.Equal(t, api.StateTimedOut, r.state(api.CommandID("r1", agentName(4))))
	require.Equal(t, api.RolloutDone, r.rolloutState("r1"))
	r.must(enrol(agentName(5), "eu", "t1", nil))
	require.Empty(t, r.due(6))
}

// An agent whose labels change joins what it matches from then on, keeps what it
// has, and is found by its new labels alone.
func TestLabelsChangeMembership(t *testing.T) {
	r := town(t, 2)
	till := api.Selector{Labels: map[string]string{"role": "till"}}
	r.must(planned(rollout("r1", till), api.Plan{Dynamic: true}), rollout("r2", api.Selector{Agents: []string{agentName(1)}}))
	r.must(LabelAgent{AgentID: agentName(0), Set: map[string]string{"role": "till"}})
	require.Equal(t, api.StatePending, r.state(api.CommandID("r1", agentName(0))))
	r.must(LabelAgent{AgentID: agentName(0), Remove: []string{"role"}})
	require.Equal(t, api.StatePending, r.state(api.CommandID("r1", agentName(0))), "it keeps what it has")
	r.must(LabelAgent{AgentID: agentName(0), Set: map[string]string{"role": "till"}})
	got, _ := r.Rollout("r1")
	require.Equal(t, 1, got.Agents, "it does not join twice")
	r.reopened()
	r.refuses(api.CodeInvalid, rollout("r3", api.Selector{Labels: map[string]string{"role": "kiosk"}}))
	r.must(rollout("r4", till))
	r.refuses(api.CodeNotFound, LabelAgent{AgentID: "nobody"})
	r.refuses(api.CodeInvalid, LabelAgent{AgentID: agentName(0), Set: map[string]string{"a b": "c"}})
}

func TestStagedDynamicJoinersWait(t *testing.T) {
	r := town(t, 4)
	p := api.Plan{Dynamic: true, Waves: []api.Wave{{Agents: 1}}}
	r.must(planned(rollout("r1", api.Selector{All: true}), p))
	r.must(enrol(agentName(4), "eu", "t1", nil))
	require.Equal(t, []int{0}, r.due(5))
	r.reopened()
	r.ends(0, api.StateSucceeded)
	require.Equal(t, []int{1, 2, 3, 4}, r.due(5))
	r.reopened()
}

func TestRollBackARollout(t *testing.T) {
	r := town(t, 4)
	r.must(rollout("r1", api.Selector{All: true}))
	r.ends(0, api.StateSucceeded)
	r.ends(2, api.StateSucceeded)
	r.ends(3, api.StateFailed)
	r.must(CancelRollout{"r1"})
	members, n, err := r.SucceededOf("r1")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	back := CreateRollout{ID: "b1", Kind: api.KindRollback, Artifact: "app", Selector: api.Selector{All: true}, RollbackOf: "r1", Members: members}
	bad := back
	bad.Members = []byte("noise")
	r.refuses(api.CodeInvalid, bad)
	bad = back
	bad.RollbackOf = "r9"
	r.refuses(api.CodeNotFound, bad)
	bad = back
	bad.Kind, bad.Version = api.KindInstall, "1.0.0"
	r.refuses(api.CodeInvalid, bad)
	r.must(back, back)
	require.Equal(t, []int{0, 2}, r.due(4))
	got, _ := r.Rollout("b1")
	require.Equal(t, "r1", got.RollbackOf)
	require.Equal(t, 2, got.Agents)
	r.must(enrol(agentName(9), "eu", "t1", nil), rollout("r2", api.Selector{Agents: []string{agentName(9)}}))
	stranger := back
	stranger.ID, stranger.RollbackOf = "b2", "r2"
	r.refuses(api.CodeConflict, stranger)
}

// Who was put out since is not sent back, and not counted: no region has it.
func TestRollBackWithoutThoseThatWerePutOut(t *testing.T) {
	r := town(t, 4) // 0 and 1 in eu, 2 and 3 in us
	r.must(rollout("r1", api.Selector{All: true}))
	for _, i := range []int{0, 2, 3} {
		r.ends(i, api.StateSucceeded)
	}
	r.must(CancelRollout{"r1"})
	early, n, err := r.SucceededOf("r1")
	require.NoError(t, err)
	require.Equal(t, 3, n)
	r.must(RevokeAgent{ID: agentName(0)}, RevokeAgent{ID: agentName(2)})
	_, n, err = r.SucceededOf("r1")
	require.NoError(t, err)
	require.Equal(t, 1, n)

	back := CreateRollout{ID: "b1", Kind: api.KindRollback, Artifact: "app", Selector: api.Selector{All: true}, RollbackOf: "r1", Members: early}
	r.must(back, back)
	got, _ := r.Rollout("b1")
	require.Equal(t, 1, got.Agents)
	again := enrol(agentName(0), "eu", "t1", nil)
	again.Agent.KeyID = hexDigest("another key")
	r.must(again)
	r.refuses(api.CodeNotFound, CancelCommand{api.CommandID("b1", agentName(0))})
	id := api.CommandID("b1", agentName(3))
	r.must(lease(agentName(3), id), report(agentName(3), says("p", id, api.StateSucceeded)))
	require.Equal(t, api.RolloutDone, r.rolloutState("b1"))
	r.reopened()

	r.must(RevokeAgent{ID: agentName(3)}, RevokeAgent{ID: agentName(0)})
	back.ID = "b2"
	r.refuses(api.CodeConflict, back)
}

func TestRetentionByAge(t *testing.T) {
	r := town(t, 3)
	r.must(ChangeSettings{Values: map[api.SettingKey]string{api.SettingHistoryAge: "24h"}})
	r.must(rollout("r1", api.Selector{All: true}))
	r.ends(0, api.StateSucceeded)
	r.ends(1, api.StateFailed)
	ended, cursor := r.EndedAfter("", 10)
	require.Len(t, ended, 2)
	more, again := r.EndedAfter(cursor, 10)
	require.Empty(t, more)
	require.Equal(t, cursor, again)
	r.wait(25 * time.Hour)
	id := api.CommandID("r1", agentName(0))
	require.Equal(t, []string{api.CommandID("r1", agentName(2))}, ids(r.Commands(CommandFilter{}, "", 0)), "the old ones are trimmed")
	require.Equal(t, api.StateSucceeded, r.state(id), "what is left is its state")
	r.refuses(api.CodeConflict, report(agentName(0), says("late", id, api.StateFailed)))
	got, _ := r.Rollout("r1")
	require.Equal(t, 1, got.Counts[api.StateSucceeded])
	r.reopened()
	r.must(CancelRollout{"r1"})
	r.wait(25 * time.Hour)
	_, ok := r.Rollout("r1")
	require.False(t, ok, "nothing of it is left")
	for key := range r.rows() {
		require.NotContains(t, key[1:], "r1")
	}
}

func TestRetentionByCount(t *testing.T) {
	r := town(t, 1)
	r.must(ChangeSettings{Values: map[api.SettingKey]string{api.SettingHistoryPerAgent: "3"}})
	run := func(n int) {
		id := fmt.Sprintf("h%d", n)
		c := api.CommandID(id, agentName(0))
		r.must(rollout(id, api.Selector{All: true}), lease(agentName(0), c), report(agentName(0), says("p", c, api.StateSucceeded)))
	}
	for n := range 6 {
		run(n)
	}
	require.Len(t, r.Commands(CommandFilter{}, "", 0), 6, "they are too young to go")
	r.now = r.now.Add(time.Hour)
	for n := 6; n < 12; n++ {
		run(n)
	}
	r.now = r.now.Add(time.Hour)
	for n := 12; n < 20; n++ {
		run(n)
	}
	r.now = r.now.Add(time.Hour)
	run(20)
	require.Less(t, len(r.Commands(CommandFilter{Agent: agentName(0)}, "", 0)), 10)
	for n := 21; n < 30; n++ {
		r.now = r.now.Add(time.Hour)
		run(n)
	}
	require.Len(t, r.Commands(CommandFilter{Agent: agentName(0)}, "", 0), 3)
}

func ids(commands []api.Command) (out []string) {
	for _, c := range commands {
		out = append(out, c.ID)
	}
	return out
}

func TestListingFilters(t *testing.T) {
	r := fleet(t)
	r.must(artifact("lib", "1.0.0", 2))
	other := rollout("r2", api.Selector{Regions: []string{"us"}})
	other.Artifact = "lib"
	r.must(other)
	r2, _ := r.Rollout("r2")
	require.Equal(t, []string{"r2:a4"}, ids(r.Commands(CommandFilter{Artifact: "lib"}, "", 0)))
	require.Equal(t, []string{"r2:a4"}, ids(r.Commands(CommandFilter{Correlation: r2.CorrelationID}, "", 0)))
	require.Equal(t, []string{"r2:a4"}, ids(r.Commands(CommandFilter{Since: r2.CreatedAt}, "", 0)))
	require.Len(t, r.Commands(CommandFilter{Until: r2.CreatedAt}, "", 0), 4)
	require.Equal(t, []string{"r2:a4", "r1:a4"}, ids(r.Commands(CommandFilter{Agent: "a4"}, "", 0)))
}

func FuzzPlaceOf(f *testing.F) {
	f.Add(place{order: 7, rollout: "r1", ordinal: 9}.key(keyEnded))
	f.Add(place{order: 7, rollout: "r1", whole: true}.key(keyDeadline))
	f.Fuzz(func(t *testing.T, key []byte) {
		if p, ok := placeOf(key); ok {
			require.Equal(t, key, p.key(key[0]))
		}
	})
}

func FuzzDecodeBitmap(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if set, err := decodeBitmap(b); err == nil {
			_, err := encodeBitmap(set)
			require.NoError(t, err)
		}
	})
}
