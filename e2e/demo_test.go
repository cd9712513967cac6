package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemo is the main job end to end, with the leader and an agent killed on
// the way: three regions, twelve agents, every process real.
func TestDemo(t *testing.T) {
	m := newMesh(t)
	var s struct {
		Agents, Installed, Verified int
		FromPeers                   int64              `json:"bytes_from_peers"`
		FromNodes                   int64              `json:"bytes_from_nodes"`
		WAN                         map[string]float64 `json:"wan_copies"`
		LeaderKilled                bool               `json:"leader_killed"`
		LeaderCaughtUp              bool               `json:"leader_caught_up"`
		AgentKilled                 bool               `json:"agent_killed"`
		Failures                    []string
	}
	out, progress, err := m.try("demo", "--once", "--json", "--chaos")
	require.NoError(t, err, progress)
	require.NoError(t, json.Unmarshal([]byte(out), &s), out)
	require.Equal(t, []int{12, 12, 12}, []int{s.Agents, s.Installed, s.Verified}, "%v\n%s", s.Failures, progress)
	require.Greater(t, s.FromPeers, s.FromNodes, progress)
	require.True(t, s.LeaderKilled, progress)
	require.True(t, s.LeaderCaughtUp, progress)
	require.True(t, s.AgentKilled, progress)
	require.Len(t, s.WAN, 3)
}
