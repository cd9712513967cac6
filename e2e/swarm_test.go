package e2e

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
)

// TestKilledAgentFetchesTheRest kills an agent in the middle of a download, and
// counts at the node what it sent in all.
func TestKilledAgentFetchesTheRest(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	a1 := m.agent("a1", "eu", n1, "--download-limit", "8mbit")
	payload := make([]byte, 16<<20)
	_, _ = rand.Read(payload)
	m.publish("1.0.0", payload)
	var r rollout
	m.runJSON(&r, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	swarm := func() (node, agent api.SwarmMember) {
		var s api.Swarm
		m.runJSON(&s, "swarm", "show", r.ID)
		require.EqualValues(t, len(payload), s.Length)
		for _, member := range s.Members {
			if member.Node {
				node = member
			} else {
				agent = member
			}
		}
		return node, agent
	}
	m.eventually("a third of the payload is there", func() bool {
		_, agent := swarm()
		return agent.Transfer.Done >= int64(len(payload)/3)
	})
	a1.kill()
	a1.start()
	m.eventually("the rollout ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	require.Equal(t, 1, r.Counts["succeeded"])
	require.Equal(t, string(payload), m.installed("a1"))
	m.eventually("the agent tells that it is complete", func() bool { _, agent := swarm(); return agent.Complete() })

	node, agent := swarm()
	piece := p2p.PieceLengthFor(int64(len(payload)))
	extra := node.Transfer.ToPeers - int64(len(payload))
	t.Logf("the node sent %d bytes more than the payload, %.1f pieces", extra, float64(extra)/float64(piece))
	require.LessOrEqual(t, extra, 2*piece, "a killed agent fetches two pieces again at most")
	require.NotEmpty(t, agent.Sources, "it was killed before it had all")
	require.Equal(t, "n1", agent.Sources[0].ID)
	require.Equal(t, api.Rate(8_000_000), agent.Download.Cap)
	text := m.run("swarm", "show", r.ID)
	require.Contains(t, text, "1 of 1 agents have it")
	require.Contains(t, text, "n1 -> a1")
}
