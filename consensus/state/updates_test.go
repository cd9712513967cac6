package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// counted is a cluster of agents that counts how commands end.
func counted(t *testing.T, agents int) *rig {
	t.Helper()
	r := newRig(t)
	r.must(
		token("nodes", api.TokenNode, 1, nil), token("t1", api.TokenAgent, agents, nil),
		PutNode{Node: api.Node{ID: "n1", Region: "eu", MeshAddr: "h:1", KeyID: hexDigest("k"), EnrolledAt: epoch}},
		Announce{"n1", Level},
	)
	for i := range agents {
		r.must(enrol(fmt.Sprintf("a%03d", i), "eu", "t1", nil))
	}
	return r
}

// concludes hands a scan to an agent and has it end.
func (r *rig) concludes(rollout, agent string, s api.State, failure *api.Failure) {
	r.Helper()
	id := rollout + ":" + agent
	r.must(
		CreateRollout{ID: rollout, Kind: api.KindScan, Selector: api.Selector{Agents: []string{agent}}},
		Lease{AgentID: agent, NodeID: "n1", CommandIDs: []string{id}, Duration: time.Minute},
	)
	res := r.apply(Reports{Agents: []AgentReports{{AgentID: agent, Reports: []api.Report{{
		ID: "r-" + rollout, CommandID: id, State: s, Failure: failure, Transfer: &api.Transfer{FromPeers: 10, FromNodes: 5},
	}}}}})
	require.NoError(r, res.Err())
	require.Len(r, res.Outcomes, 1)
	require.Equal(r, s, res.Outcomes[0].State)
	require.Equal(r, time.Second, res.Outcomes[0].Took)
}

func TestUpdatesAreCountedAtBothSteps(t *testing.T) {
	r := counted(t, 2)
	began := r.now
	r.concludes("r1", "a000", api.StateSucceeded, nil)
	r.concludes("r2", "a001", api.StateFailed, &api.Failure{Class: "made up", Message: "x"})
	r.now = r.now.Add(7 * time.Minute)
	r.concludes("r3", "a000", api.StateRolledBack, &api.Failure{Class: api.ErrorHealth})

	short := r.Updates(api.UpdatesShortStep, began, r.now.Add(time.Hour))
	require.Len(t, short, 2)
	require.Equal(t, began.Truncate(api.UpdatesShortStep), short[0].At)
	require.Len(t, short[0].Sums, 2)
	require.Equal(t, UpdateSum{
		Kind: api.KindScan, Region: "eu", State: api.StateSucceeded,
		Commands: 1, Timed: 1, Millis: 1000, FromPeers: 10, FromNodes: 5,
	}, short[0].Sums[0])
	require.Equal(t, api.ErrorClass(api.MetricOther), short[0].Sums[1].Class)
	long := r.Updates(api.UpdatesLongStep, began, r.now.Add(time.Hour))
	require.Len(t, long, 1)
	require.Len(t, long[0].Sums, 3)
	require.Empty(t, r.Updates(time.Minute, began, r.now))
	require.Empty(t, r.Updates(api.UpdatesLongStep, r.now.Add(time.Hour), r.now.Add(2*time.Hour)))

	// They are rows like any other: a restart and a snapshot keep them, and
	// they go when they are old.
	r.now = r.now.Add(api.UpdatesKept + 2*time.Hour)
	r.concludes("r4", "a000", api.StateSucceeded, nil)
	require.Len(t, r.Updates(api.UpdatesShortStep, began, r.now.Add(time.Hour)), 1)
	require.Len(t, r.Updates(api.UpdatesLongStep, began, r.now.Add(time.Hour)), 1)
}

// One step tells a bounded number of things apart, and loses no command.
func TestUpdatesAreBounded(t *testing.T) {
	var row updatesRow
	for i := range 1000 {
		row.add(Outcome{Artifact: fmt.Sprint("app-", i), Region: "eu", State: api.StateSucceeded})
		row.add(Outcome{Artifact: fmt.Sprint("app-", i), Region: "eu", State: api.StateFailed, Class: api.ErrorDisk})
	}
	require.LessOrEqual(t, len(row.Sums), maxUpdateSums+len(api.States)*len(api.ErrorClasses))
	total := int64(0)
	for _, s := range row.Sums {
		total += s.Commands
	}
	require.Equal(t, int64(2000), total)
}

// Before every node of the cluster counts, none does.
func TestUpdatesWaitForTheClustersLevel(t *testing.T) {
	r := newRig(t)
	r.must(token("t1", api.TokenAgent, 1, nil), enrol("a000", "eu", "t1", nil))
	r.concludes("r1", "a000", api.StateSucceeded, nil)
	require.Empty(t, r.Updates(api.UpdatesLongStep, epoch, r.now.Add(time.Hour)))
}
