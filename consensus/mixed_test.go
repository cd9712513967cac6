package consensus_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

// fleet enrols agents and starts a rollout to all of them.
func fleet(t *testing.T, c *consensus.Cluster, agents int) {
	t.Helper()
	hash := func(n int) string { return fmt.Sprintf("%064x", n) }
	meta := func(name string) state.Metadata { return state.Metadata{Version: 1, Bytes: []byte(name)} }
	must := func(typ state.EntryType, body any) {
		t.Helper()
		result, err := c.Propose(t.Context(), typ, body)
		require.NoError(t, err)
		require.NoError(t, result.Err())
	}
	must(state.TypeCreateToken, state.CreateToken{
		Token: api.Token{ID: "t1", Kind: api.TokenAgent, Seats: agents}, SecretHash: make([]byte, 32), TTL: time.Hour,
	})
	for i := range agents {
		must(state.TypeEnrolAgent, state.EnrolAgent{
			Agent: api.Agent{ID: fmt.Sprintf("a%d", i), Region: "eu", KeyID: hash(i)}, TokenID: "t1", TokenSecretHash: make([]byte, 32),
		})
	}
	must(state.TypePublishArtifact, state.PublishArtifact{
		Artifact: api.Artifact{Name: "app", Version: "1.0.0", Length: 1, SHA256: hash(1), OriginNode: "n0"},
		Targets:  meta("targets"), Snapshot: meta("snapshot"), Timestamp: meta("timestamp"),
	})
	must(state.TypeCreateRollout, state.CreateRollout{
		ID: "r1", Kind: api.KindInstall, Artifact: "app", Version: "1.0.0", Selector: api.Selector{All: true},
	})
}

// install leases and reports one agent's command through a node.
func install(t *testing.T, c *consensus.Cluster, agent string) {
	t.Helper()
	id := api.CommandID("r1", agent)
	result, err := c.Propose(t.Context(), state.TypeLease, state.Lease{
		AgentID: agent, CommandIDs: []string{id, "nonsense"}, NodeID: "n1", Duration: time.Minute,
	})
	if !assert.NoError(t, err) || !assert.Len(t, result.Errors, 2) {
		return
	}
	assert.Nil(t, result.Errors[0])
	assert.Equal(t, api.CodeInvalid, api.CodeOf(result.Errors[1]), "a refusal reaches its own caller")
	for n, s := range []api.State{api.StateRunning, api.StateSucceeded} {
		result, err := c.Propose(t.Context(), state.TypeReports, state.Reports{Agents: []state.AgentReports{{
			AgentID: agent, Reports: []api.Report{{ID: fmt.Sprintf("%s-%d", agent, n), CommandID: id, State: s}},
		}}})
		assert.NoError(t, err)
		assert.NoError(t, result.Err())
		got, _ := c.State().Command(id)
		assert.Equal(t, s, got.State, "a node reads its own writes")
	}
}

// A rolling upgrade: while one node runs the older version nothing goes into
// the log that it does not know; after the last one the cluster begins to use
// what is new, by itself, and there is no way back.
func TestMixedVersions(t *testing.T) {
	const agents = 96
	var version sync.Map // node to level
	for i := range 3 {
		version.Store(fmt.Sprintf("n%d", i), 1)
	}
	c := consensustest.NewCluster(t, 3, func(cfg *consensus.Config) {
		level, _ := version.Load(cfg.NodeID)
		cfg.Level = level.(int)
	})
	restart := func(i, level int) {
		version.Store(fmt.Sprintf("n%d", i), level)
		c.Stop(i)
		c.Restart(i)
	}
	announced := func(i, level int) {
		require.Eventually(t, func() bool {
			return c.Node(i).State().LevelOfNode(fmt.Sprintf("n%d", i)) == level
		}, 15*time.Second, 10*time.Millisecond, "node %d does not announce level %d", i, level)
	}
	for i := range 3 {
		announced(i, 1)
	}
	fleet(t, c.Node(0), agents)
	entries := func(from, to int) uint64 {
		before := c.Node(c.Leader()).Status().LastIndex
		var wg sync.WaitGroup
		for i := from; i < to; i++ {
			wg.Go(func() { install(t, c.Node(i%3), fmt.Sprintf("a%d", i)) })
		}
		wg.Wait()
		return c.Node(c.Leader()).Status().LastIndex - before
	}
	for i := range 2 {
		restart(i, state.Level)
		announced(i, state.Level)
	}
	const half = agents / 2
	require.GreaterOrEqual(t, entries(0, half), uint64(3*half), "one entry each, since n2 knows no other")
	restart(2, state.Level)
	for i := range 3 {
		require.Eventually(t, func() bool { return c.Node(i).State().Level() == state.Level }, 15*time.Second, 10*time.Millisecond)
	}
	require.Less(t, entries(half, agents), uint64(3*half), "they share entries")
	requireEqualStates(t, c, 0, 1, 2)

	restart(2, 1)
	require.ErrorContains(t, <-c.Node(2).Failed(), "level 1", "it would stop at the next batch; it stops before")
}
