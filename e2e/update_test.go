package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

type agentView struct {
	Presence *struct {
		Version string `json:"version"`
	} `json:"presence"`
	Inventory *struct {
		OS struct {
			ID string `json:"id"`
		} `json:"os"`
	} `json:"inventory"`
}

// TestAgentUpdatesItself brings an agent to a newer build of itself, and then to
// one that polls when it is tried and ends at once when it is started: the
// machine goes back to the build before, and says so.
func TestAgentUpdatesItself(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds another binary")
	}
	m := newMesh(t)
	newer := m.path("newer")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=9.9.9", "-o", newer, "redflag/cmd/redflag")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, string(said))
	t.Parallel() // a build takes both cores
	n1 := m.found()
	agent := m.agent("a1", "eu", n1)
	runs := func(version string) bool {
		var a agentView
		m.runJSON(&a, "agents", "show", "a1")
		return a.Presence != nil && a.Presence.Version == version
	}

	m.run("publish", newer, "--name", "redflag", "--version", "9.9.9", "--type", "self")
	var r rollout
	m.eventually("the agent is enrolled", func() bool {
		_, _, err := m.try("agents", "update", "--version", "9.9.9", "--to", "agent:a1", "--rollout-id", "u1")
		return err == nil
	})
	r.ID = "u1"
	m.eventually("the update ends", func() bool { return m.command(r, "a1").State == "succeeded" })
	m.eventually("the newer build polls", func() bool { return runs("9.9.9") })

	broken := "#!/bin/sh\ncase \"$*\" in *prove*) exec " + newer + " \"$@\" ;; esac\nexit 7\n"
	require.NoError(t, os.WriteFile(m.path("broken"), []byte(broken), 0o755))
	m.run("publish", m.path("broken"), "--name", "redflag", "--version", "10.0.0", "--type", "self")
	m.run("agents", "update", "--version", "10.0.0", "--to", "agent:a1", "--rollout-id", "u2", "--no-retry")
	r.ID = "u2"
	starts := 0
	m.eventually("the broken build is taken back", func() bool {
		select {
		case <-agent.done: // what a service manager does
			agent.start()
			starts++
		default:
		}
		return m.command(r, "a1").State == "rolled_back"
	})
	require.Positive(t, starts, "the broken build was started")
	m.eventually("the build before polls again", func() bool { return runs("9.9.9") })
	require.Contains(t, m.command(r, "a1").Failure.Message, "not started")
}

// TestScanIsSeen has a machine scanned, and looks at what operators see of it.
func TestScanIsSeen(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.agent("a1", "eu", n1, "--metered", "yes", "--window", "daily 00:00-24:00")
	m.eventually("the agent is enrolled", func() bool {
		_, _, err := m.try("rollout", "create", "--kind", "scan", "--to", "all", "--rollout-id", "s1")
		return err == nil
	})
	m.eventually("the scan ends", func() bool { return m.command(rollout{ID: "s1"}, "a1").State == "succeeded" })
	var a agentView
	m.runJSON(&a, "agents", "show", "a1")
	require.NotEmpty(t, a.Inventory.OS.ID)
	text := m.run("agents", "show", "a1", "--packages")
	require.Contains(t, text, "own window     open")
	require.Contains(t, text, "link           metered")
	var counts []struct {
		Region string         `json:"region"`
		Counts map[string]int `json:"counts"`
	}
	m.runJSON(&counts, "agents", "readiness")
	require.Equal(t, 1, counts[0].Counts["reporting"])
	require.Equal(t, 1, counts[0].Counts["metered"])
	var outdated struct {
		Scanned int `json:"scanned"`
	}
	m.runJSON(&outdated, "agents", "outdated")
	require.Equal(t, 1, outdated.Scanned)
}

// TestPoolFailsOver gives an operation to an agent that has died: another one
// carries it out once the lease is over.
func TestPoolFailsOver(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	a1 := m.agent("a1", "eu", n1, "--label", "pool=server")
	m.agent("a2", "us", n1, "--label", "pool=server")
	var pool struct {
		Members []struct {
			Agent string `json:"agent"`
			Unfit string `json:"unfit"`
		} `json:"members"`
	}
	m.eventually("both agents are fit, the near one first", func() bool {
		m.runJSON(&pool, "pools", "--region", "eu")
		return len(pool.Members) == 2 && pool.Members[0].Agent == "a1" && pool.Members[1].Unfit == ""
	})
	a1.kill()
	m.run("pools", "run", "scan", "--region", "eu", "--task-id", "t1")
	m.run("settings", "set", "pool.lease=3s")
	var tasks []struct {
		Agent    string `json:"agent"`
		Attempts int    `json:"attempts"`
		Outcome  string `json:"outcome"`
	}
	m.eventually("the other agent has carried it out", func() bool {
		m.runJSON(&tasks, "pools", "tasks")
		return tasks[0].Agent == "a2" && tasks[0].Outcome == "succeeded"
	})
	require.Equal(t, 2, tasks[0].Attempts)
	m.eventually("nobody waits for the dead one", func() bool {
		return m.command(rollout{ID: "pool.t1.1"}, "a1").State == "cancelled"
	})
	require.Contains(t, m.run("pools", "run", "scan", "--region", "eu", "--task-id", "t1"), "is with a2", "a repeat is harmless")
	m.run("settings", "unset", "pool.lease")
	m.run("settings", "set", "pool.policy=pinned:a2")
	require.Contains(t, m.run("pools", "run", "scan", "--region", "eu", "--task-id", "t2"), "is with a2")
}
