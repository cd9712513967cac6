package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecoveredNodeServes: two of three nodes are gone for good. The third one,
// recovered, has all that was written, and takes new work.
func TestRecoveredNodeServes(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a cluster of three to lose its majority")
	}
	t.Parallel()
	m := newMesh(t)
	procs := m.cluster()
	m.agent("a1", "eu", procs["n1"])
	m.publish("1.0.0", payload(1, 1<<20))
	before := m.rollOut("--version", "1.0.0", "--to", "all")
	m.eventually("n1 leads, or follows and has all", func() bool {
		return strings.Contains(m.run("rollout", "show", before.ID, "--server", procs["n1"].runtime.API), "done")
	})

	procs["n2"].kill()
	procs["n3"].kill()
	m.eventually("no majority is left", func() bool {
		_, errOut, err := m.try("settings", "set", "poll.failing=2s", "--server", procs["n1"].runtime.API)
		return err != nil && strings.Contains(errOut, "no leader")
	})
	_, errOut, err := m.try("node", "recover", "--data-dir", m.path("n1"))
	require.Error(t, err)
	require.Contains(t, errOut, "stop it first")
	procs["n1"].stop()
	require.Contains(t, m.run("node", "recover", "--data-dir", m.path("n1")), "only voter")
	procs["n1"].listenAgain()
	procs["n1"].start()
	m.eventually("n1 leads alone", func() bool {
		out, _, err := m.try("nodes", "--json")
		return err == nil && strings.Contains(out, `"leader": true`)
	})

	require.Equal(t, "succeeded", m.command(before, "a1").State, "the old command is there")
	for _, lost := range []string{"n2", "n3"} {
		m.run("nodes", "remove", lost)
	}
	require.Len(t, m.nodes(procs["n1"]), 1)
	m.publish("2.0.0", payload(2, 1<<20))
	require.Equal(t, "succeeded", m.command(m.rollOut("--version", "2.0.0", "--to", "all"), "a1").State)
}

// TestReadReplicaServesAgents: a node without a vote in a far region is all that
// an agent there knows. It gets its work from it, and what it says reaches
// everybody.
func TestReadReplicaServesAgents(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.found()
	token := m.run("token", "create", "--kind", "node")
	far := m.node("far", "ap", "--join", m.first.runtime.Mesh, "--token", token, "--network", "wan", "--non-voter")
	role := func() string { return m.run("nodes") }
	m.eventually("it is a member without a vote", func() bool { return strings.Contains(role(), "non-voter") })
	m.agent("a1", "ap", far)
	m.publish("1.0.0", payload(1, 1<<20))
	r := m.rollOut("--version", "1.0.0", "--to", "all")
	require.Equal(t, "succeeded", m.command(r, "a1").State)
	require.Contains(t, m.log("far"), "command handed out")
	require.NotContains(t, m.log("n1"), "command handed out")
	require.Contains(t, m.run("rollout", "show", r.ID, "--server", far.runtime.API), "done", "it knows what came of it")
	require.Equal(t, 1, m.voters(m.first))
}
