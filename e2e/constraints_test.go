package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWrongMachinesRefuse: what the operator signed for other machines is
// refused, whatever the rollout selects, and the refusal is in the audit log.
func TestWrongMachinesRefuse(t *testing.T) {
	if testing.Short() {
		t.Skip("eight rollouts with real processes")
	}
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.agent("a1", "eu", n1, "--label", "hardware=gateway-1", "--label", "ring=early")
	file := m.path("app.bin")
	publish := func(version string, only ...string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte("version "+version), 0o600))
		m.run(append([]string{"publish", file, "--name", "app", "--version", version}, only...)...)
	}
	publish("1.0.0", "--os", "linux,darwin,windows", "--hardware", "gateway-1", "--label", "ring=early", "--min-installed", "0.9")
	require.Equal(t, "done", m.rollOut("--version", "1.0.0", "--to", "all").State, "it is for this machine")
	for version, only := range map[string][]string{
		"2.0.0": {"--os", "plan9"}, "2.1.0": {"--hardware", "gateway-2"}, "2.2.0": {"--min-installed", "1.5"},
	} {
		publish(version, only...)
		r := m.rollOut("--version", version, "--to", "all", "--no-retry")
		c := m.command(r, "a1")
		require.Equal(t, "failed", c.State, only)
		require.Contains(t, c.Failure.Message, "signed for other machines", only)
	}
	require.Contains(t, m.installed("a1"), "1.0.0")

	// The cluster's word on labels opens nothing; the machine's own does.
	publish("3.0.0", "--hardware", "gateway-2")
	m.run("agents", "label", "a1", "hardware=gateway-2")
	r := m.rollOut("--version", "3.0.0", "--to", "label:hardware=gateway-2", "--no-retry")
	require.Contains(t, m.command(r, "a1").Failure.Message, "signed for other machines")
	require.Contains(t, m.run("agents", "show", "a1"), "hardware=gateway-1,ring=early (signed constraints go by these")
	outdated := func() []map[string]any {
		t.Helper()
		var out struct{ Artifacts []map[string]any }
		m.runJSON(&out, "agents", "outdated")
		return out.Artifacts
	}
	require.Empty(t, outdated(), "nothing newer is for this machine")
	m.run("agent", "label", "hardware=gateway-2", "--data-dir", m.path("a1"))
	m.eventually("the machine says what it is now", func() bool { return len(outdated()) == 1 })
	require.Equal(t, map[string]any{"name": "app", "installed": "1.0.0", "newest": "3.0.0", "agents": 1.0, "example": "a1"}, outdated()[0])
	require.Equal(t, "succeeded", m.command(m.rollOut("--version", "3.0.0", "--to", "all"), "a1").State)
	require.Contains(t, m.installed("a1"), "3.0.0")
	m.eventually("nothing is outdated", func() bool { return strings.Contains(m.run("agents", "outdated"), "No artifact is outdated.") })
	m.eventually("the audit log has what the agent refused", func() bool {
		var log []struct{ Who, Action, Detail string }
		m.runJSON(&log, "audit", "--who", "agent a1", "--action", "refused: verify")
		return len(log) == 4
	})
	require.Contains(t, m.run("audit", "--verify"), "records follow from each other")
	_, errOut, err := m.try("publish", file, "--name", "app", "--version", "4.0.0", "--min-installed", "latest")
	require.Error(t, err)
	require.Contains(t, errOut, "no version")
}
