package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type nodeView struct {
	ID       string `json:"id"`
	MeshAddr string `json:"mesh_addr"`
	Alive    bool   `json:"alive"`
	Leader   bool   `json:"leader"`
	Voter    bool   `json:"voter"`
}

// cluster starts three nodes in three regions and waits until all vote.
func (m *mesh) cluster() map[string]*proc {
	m.t.Helper()
	procs := map[string]*proc{"n1": m.found()}
	token := m.run("token", "create", "--kind", "node", "--seats", "2")
	procs["n2"] = m.node("n2", "us", "--join", procs["n1"].runtime.Mesh, "--token", token)
	procs["n3"] = m.node("n3", "ap", "--join", procs["n1"].runtime.Mesh, "--token", token)
	m.eventually("three nodes vote", func() bool { return m.voters(procs["n1"]) == 3 })
	return procs
}

func (m *mesh) nodes(via *proc) []nodeView {
	var nodes []nodeView
	m.runJSON(&nodes, "nodes", "--server", via.runtime.API)
	return nodes
}

func (m *mesh) voters(via *proc) int {
	return len(slices.DeleteFunc(m.nodes(via), func(n nodeView) bool { return !n.Voter || !n.Alive }))
}

// TestLeaderComesBackElsewhere: the leader is killed; the others elect another
// one and take writes; the killed one comes back under another address and
// catches up.
func TestLeaderComesBackElsewhere(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	procs := m.cluster()
	var leader, other *proc
	for _, n := range m.nodes(procs["n1"]) {
		if n.Leader {
			leader = procs[n.ID]
		} else {
			other = procs[n.ID]
		}
	}
	old := leader.runtime.Mesh
	leader.kill()
	m.eventually("the others take a write", func() bool {
		_, _, err := m.try("settings", "set", "poll.idle=7s", "--server", other.runtime.API)
		return err == nil
	})

	leader.start() // on any free port
	m.eventually("it is back under its new address", func() bool {
		return readJSON(m.path(leader.id, "runtime.json"), &leader.runtime) == nil && leader.runtime.Mesh != old
	})
	m.eventually("it votes again and has caught up", func() bool {
		out, _, err := m.try("settings", "--server", leader.runtime.API)
		return err == nil && m.voters(other) == 3 && strings.Contains(out, "7s*")
	})
	for _, p := range procs {
		require.Zero(t, p.stop(), "%s stops cleanly", p.id)
	}
}
