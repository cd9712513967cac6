package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOrders: what is no install. A signed module runs and leaves its output, an
// agent hands in its diagnostics, and a machine reboots once and says that it is back.
func TestOrders(t *testing.T) {
	if testing.Short() {
		t.Skip("several rollouts with real processes")
	}
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	bootID, asked := m.path("boot_id"), m.path("asked")
	require.NoError(t, os.WriteFile(bootID, []byte("one"), 0o600))
	reboot := m.path("reboot.sh")
	require.NoError(t, os.WriteFile(reboot, []byte("#!/bin/sh\necho >> "+asked+"\n"), 0o700))
	a1 := m.agent("a1", "eu", n1, "--allow-reboot", "--reboot-command", reboot, "--boot-id-file", bootID)
	m.agent("a2", "eu", n1)
	order := func(args ...string) rollout {
		t.Helper()
		var r rollout
		m.runJSON(&r, append([]string{"agents"}, args...)...)
		return r
	}
	ends := func(r rollout, agent, state string) command {
		t.Helper()
		m.eventually("command of "+agent+" ends", func() bool { return m.command(r, agent).State == state })
		return m.command(r, agent)
	}

	scripts := m.path("scripts")
	require.NoError(t, os.MkdirAll(scripts, 0o700))
	require.NoError(t, os.WriteFile(scripts+"/run", []byte("#!/bin/sh\necho I ran as $REDFLAG_VERSION\n"), 0o700))
	require.NoError(t, exec.CommandContext(t.Context(), "tar", "-C", scripts, "-cf", m.path("clean.tar"), "run").Run())
	m.run("publish", m.path("clean.tar"), "--name", "clean", "--version", "1", "--type", "exec")
	r := order("run", "clean", "--version", "1", "--to", "agent:a1")
	require.Contains(t, ends(r, "a1", "succeeded").Log.Stdout, "I ran as 1")
	require.NoFileExists(t, m.path("a1", "artifacts", "clean", "current"))

	r = order("collect-logs", "--to", "agent:a1")
	require.Contains(t, ends(r, "a1", "succeeded").Log.Stdout, "readiness")
	m.eventually("the diagnostics are in the log store", func() bool {
		return strings.Contains(m.run("logs", "--correlation", r.CorrelationID), "diagnostics")
	})

	r = order("reboot", "--to", "all", "--no-retry")
	require.Contains(t, ends(r, "a2", "failed").Failure.Message, "--allow-reboot")
	m.eventually("the machine is asked", func() bool { b, _ := os.ReadFile(asked); return len(b) > 0 })
	a1.kill()
	require.NoError(t, os.WriteFile(bootID, []byte("two"), 0o600))
	a1.start()
	ends(r, "a1", "succeeded")
	b, err := os.ReadFile(asked)
	require.NoError(t, err)
	require.Equal(t, "\n", string(b), "once")
}
