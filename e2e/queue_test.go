package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnknownKindIsReportedUnsupported: a node that is newer than an agent may
// send it a kind of command that it does not know. The agent says so.
func TestUnknownKindIsReportedUnsupported(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.agent("a1", "eu", m.found())
	m.eventually("the agent polls", func() bool { return strings.Contains(m.run("agents"), " idle ") })
	_, errOut, err := m.try("rollout", "create", "--kind", "teleport", "--to", "all")
	require.Error(t, err)
	require.Contains(t, errOut, "teleport")

	var r rollout
	m.runJSON(&r, "rollout", "create", "--kind", "teleport", "--allow-unknown-kind", "--to", "all")
	m.eventually("the rollout ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	c := m.command(r, "a1")
	require.Equal(t, "failed", c.State)
	require.Equal(t, "unsupported", c.Failure.Class)
	require.Contains(t, c.Failure.Message, "teleport")
}

// TestCancelReachesRunningAgent: an operator's cancel stops an agent in the
// middle of a download, and the agent confirms it. The repeat then succeeds.
func TestCancelReachesRunningAgent(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.agent("a1", "eu", m.found())
	m.eventually("the agent polls", func() bool { return strings.Contains(m.run("agents"), " idle ") })
	m.publish("1.0.0", payload(1, 4<<20))
	m.run("settings", "set", "node.upload_limit=256kbit") // two minutes for the payload

	var r rollout
	m.runJSON(&r, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	id := r.ID + ":a1"
	m.eventually("the agent downloads", func() bool {
		return strings.Contains(m.run("commands", "show", id), "downloading")
	})
	require.Contains(t, m.run("commands", "cancel", id), "asked to stop")
	m.eventually("the agent confirms", func() bool { return m.command(r, "a1").State == "cancelled" })
	shown := m.run("commands", "show", id)
	for _, step := range []string{"created", "handed out", "started", "cancel requested", "cancelled", "step downloading"} {
		require.Contains(t, shown, step)
	}
	require.Contains(t, m.log("a1"), "command cancelled")

	m.run("settings", "unset", "node.upload_limit")
	var again rollout
	m.runJSON(&again, "commands", "retry", id)
	m.eventually("the repeat succeeds", func() bool { return m.command(again, "a1").State == "succeeded" })
	require.Equal(t, string(payload(1, 4<<20)), m.installed("a1"))
	require.Contains(t, m.run("commands", "show", again.ID+":a1"), id, "it names what it repeats")
}
