package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSnapshotBringsAClusterBack: a snapshot saved from a follower is restored
// on one node after all were stopped. What came later is undone, agents go on,
// nodes with their old data stay out, and new ones come in.
func TestSnapshotBringsAClusterBack(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of three, twice")
	}
	t.Parallel()
	m := newMesh(t)
	procs := m.cluster()
	m.agent("a1", "eu", procs["n1"])
	m.publish("1.0.0", payload(1, 1<<20))
	require.Equal(t, "succeeded", m.command(m.rollOut("--version", "1.0.0", "--to", "all"), "a1").State)
	m.run("settings", "set", "poll.failing=500ms")

	file := m.path("redflag.snapshot")
	var saved struct {
		Node     string `json:"node"`
		Index    uint64 `json:"index"`
		Epoch    uint64 `json:"epoch"`
		Verified bool   `json:"checksum_verified"`
		Kinds    []struct {
			Kind string
			Rows int
		}
	}
	m.eventually("the follower has all", func() bool {
		return strings.Contains(m.run("settings", "--server", procs["n2"].runtime.API), "500ms*")
	})
	m.runJSON(&saved, "snapshot", "save", file, "--server", procs["n2"].runtime.API)
	require.Equal(t, "n2", saved.Node)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm(), "token hashes are in it")
	leftover, err := filepath.Glob(m.path(".redflag*"))
	require.NoError(t, err)
	require.Empty(t, leftover)
	m.runJSON(&saved, "snapshot", "inspect", file)
	require.True(t, saved.Verified)
	require.Zero(t, saved.Epoch)
	counts := map[string]int{}
	for _, k := range saved.Kinds {
		counts[k.Kind] = k.Rows
	}
	require.Equal(t, []int{3, 1, 1, 1}, []int{counts["nodes"], counts["agents"], counts["artifacts"], counts["rollouts"]})

	m.run("settings", "set", "poll.failing=9s") // what is to be undone
	restore := []string{"snapshot", "restore", file, "--data-dir", m.path("n1"), "--yes"}
	_, errOut, err := m.try(restore...)
	require.Error(t, err)
	require.Contains(t, errOut, "a node runs on")
	procs["n1"].stop()
	_, errOut, err = m.try(restore...)
	require.Error(t, err)
	require.Contains(t, errOut, procs["n2"].runtime.Mesh, "the others still run")
	procs["n2"].stop()
	procs["n3"].stop()

	m.refusesDamaged(file, m.path("n1"))
	m.run(restore...)
	kept, err := filepath.Glob(m.path("n1", "cluster.before-*"))
	require.NoError(t, err)
	require.Len(t, kept, 1, "what was there is moved aside")

	procs["n1"].listenAgain()
	procs["n1"].start()
	m.eventually("n1 leads alone", func() bool {
		out, _, err := m.try("nodes", "--json")
		return err == nil && strings.Contains(out, `"leader": true`)
	})
	require.Contains(t, m.run("settings"), "500ms*", "what came later is undone")
	require.Contains(t, m.run("audit"), "snapshot restored")
	m.publish("2.0.0", payload(2, 1<<20))
	require.Equal(t, "succeeded", m.command(m.rollOut("--version", "2.0.0", "--to", "all"), "a1").State, "the agent goes on")
	require.Equal(t, string(payload(2, 1<<20)), m.installed("a1"))
	m.runJSON(&saved, "snapshot", "save", m.path("later.snapshot"))
	require.EqualValues(t, 1, saved.Epoch)

	procs["n2"].start() // with its old data: its key is revoked
	token := m.run("token", "create", "--kind", "node")
	m.node("n4", "ap", "--join", procs["n1"].runtime.Mesh, "--token", token)
	m.eventually("a new node votes", func() bool { return m.voters(procs["n1"]) == 2 })
	require.False(t, slices.ContainsFunc(m.nodes(procs["n1"]), func(n nodeView) bool { return n.ID == "n2" }))
}

// refusesDamaged: a file that is not whole changes nothing.
func (m *mesh) refusesDamaged(file, dataDir string) {
	m.t.Helper()
	whole, err := os.ReadFile(file)
	require.NoError(m.t, err)
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	before := listing(m.t, dataDir)
	for name, content := range map[string][]byte{"flipped": flipped, "truncated": whole[:len(whole)-7], "empty": nil} {
		bad := m.path(name)
		require.NoError(m.t, os.WriteFile(bad, content, 0o600))
		for _, args := range [][]string{{"inspect", bad}, {"restore", bad, "--data-dir", dataDir, "--yes"}} {
			_, errOut, err := m.try(append([]string{"snapshot"}, args...)...)
			require.Error(m.t, err, name)
			require.Contains(m.t, errOut, "not a whole snapshot", name)
			require.Contains(m.t, errOut, "nothing was changed", name)
		}
	}
	require.Equal(m.t, before, listing(m.t, dataDir))
}

// listing returns the names in a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	b, err := json.Marshal(names)
	require.NoError(t, err)
	return string(b)
}

// listenAgain has the next start use the ports of this one.
func (p *proc) listenAgain() {
	p.args[slices.Index(p.args, "--mesh-listen")+1] = p.runtime.Mesh
	p.args[slices.Index(p.args, "--api-listen")+1] = strings.TrimPrefix(p.runtime.API, "http://")
}
