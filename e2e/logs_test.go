package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type logLine struct {
	Source string `json:"source"`
	Line   struct {
		Module      string `json:"@module"`
		Message     string `json:"@message"`
		Level       string `json:"@level"`
		Correlation string `json:"correlation_id"`
		Region      string `json:"region"`
	} `json:"line"`
}

// logs runs redflag logs against one node.
func (m *mesh) logs(via *proc, args ...string) []logLine {
	m.t.Helper()
	out := m.run(append([]string{"logs", "--json", "--server", via.runtime.API}, args...)...)
	var lines []logLine
	for l := range strings.Lines(out) {
		var one logLine
		require.NoError(m.t, json.Unmarshal([]byte(l), &one), l)
		lines = append(lines, one)
	}
	return lines
}

// TestOneCorrelationID follows one id from the operator's command over the
// leader's log, the follower that answered the poll and the agent's fetch and
// install to the failed health gate and the way back, asking a node that had no
// part in it.
func TestOneCorrelationID(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	procs := m.cluster()
	leader, others := "", []string{}
	for _, n := range m.nodes(procs["n1"]) {
		if n.Leader {
			leader = n.ID
		} else {
			others = append(others, n.ID)
		}
	}
	handler, bystander := others[0], others[1]
	region := map[string]string{"n1": "eu", "n2": "us", "n3": "ap"}[handler]
	m.agent("a1", region, procs[handler])
	first := payload(1, 1<<20)
	m.publish("1.0.0", first)
	require.NoError(t, os.WriteFile(m.path("second.bin"), payload(2, 1<<20), 0o600))
	m.run("publish", m.path("second.bin"), "--name", "app", "--version", "2.0.0", "--check", "command:exit 3", "--check-within", "1s")
	m.eventually("the agent polls the follower", func() bool {
		return strings.Contains(m.run("agents", "--json"), `"node": "`+handler+`"`)
	})
	var r struct {
		ID            string `json:"id"`
		CorrelationID string `json:"correlation_id"`
		State         string `json:"state"`
	}
	m.rollOut("--version", "1.0.0", "--to", "all")
	m.runJSON(&r, "rollout", "create", "app", "--version", "2.0.0", "--to", "all", "--server", procs[handler].runtime.API)
	m.eventually("the rollout ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	want := map[string]string{ // who must have said what
		handler + " rollout created":    "the operator's request",
		leader + " change applied":      "the leader's Raft log",
		handler + " command handed out": "the follower that answered the poll",
		"a1 command started":            "the agent",
		"a1 signature verified":         "the agent's check",
		"a1 payload downloaded":         "the agent's fetch",
		"a1 version switched":           "the agent's install",
		"a1 health gate failed":         "the gate",
		"a1 version before is back":     "the way back",
		"a1 command failed":             "the agent's end",
		handler + " report committed":   "the report",
	}
	var got map[string]bool
	m.eventually("one call finds every step", func() bool {
		got = map[string]bool{}
		for _, l := range m.logs(procs[bystander], "--correlation", r.CorrelationID) {
			require.Equal(t, r.CorrelationID, l.Line.Correlation)
			require.NotEmpty(t, l.Line.Region, "every line has its region: %v", l)
			require.NotEmpty(t, l.Line.Module)
			got[l.Source+" "+l.Line.Message] = true
		}
		for step := range want {
			if !got[step] {
				return false
			}
		}
		return true
	})
	require.NotEmpty(t, m.logs(procs[bystander], "--agent", "a1", "--grep", "signature verified"))
	require.Empty(t, m.logs(procs[bystander], "--agent", "nobody"))
	require.Equal(t, string(first), m.installed("a1"))
	var c struct{ State string }
	m.runJSON(&c, "commands", r.ID+":a1")
	require.Equal(t, "rolled_back", c.State)
	t.Logf("redflag logs --correlation %s --server %s\n%s", r.CorrelationID, bystander,
		m.run("logs", "--correlation", r.CorrelationID, "--server", procs[bystander].runtime.API))
}

// TestDebugForOneAgent: settings change the level of one agent with its next
// poll, and of no other.
func TestDebugForOneAgent(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.agent("a1", "eu", n1)
	m.agent("a2", "eu", n1)
	m.eventually("both poll", func() bool { return strings.Count(m.run("agents"), " idle ") == 2 })
	m.run("settings", "set", "debug=true", "--agent", "a1", "--for", "1h")
	m.eventually("a1 writes debug lines", func() bool { return strings.Contains(m.log("a1"), `"debug":true`) })
	m.eventually("a2 has heard of the change as well", func() bool {
		return strings.Count(m.log("a2"), "settings applied") >= 2
	})
	require.NotContains(t, m.log("a2"), `"debug":true`)
	require.Contains(t, m.run("settings", "explain", "debug", "--agent", "a1"), "agent:a1")
	m.run("settings", "undo", "2")
	m.eventually("it ends with the undo", func() bool {
		log := m.log("a1")
		return strings.LastIndex(log, `"debug":false`) > strings.LastIndex(log, `"debug":true`)
	})
}

// TestDebugFromTheEnvironment: REDFLAG_DEBUG=true at the start does for one
// process what the setting does for many.
func TestDebugFromTheEnvironment(t *testing.T) {
	m := newMesh(t)
	n1 := m.found()
	m.agent("a1", "eu", n1)
	t.Setenv("REDFLAG_DEBUG", "true")
	m.agent("a2", "eu", n1)
	require.NoError(t, os.Unsetenv("REDFLAG_DEBUG"))
	m.eventually("a2 writes debug lines", func() bool { return strings.Contains(m.log("a2"), `"debug":true`) })
	m.eventually("a1 has started", func() bool { return strings.Contains(m.log("a1"), `"debug":false`) })
	for _, quiet := range []string{"a1", "n1"} {
		require.NotContains(t, m.log(quiet), `"@level":"debug"`)
		require.NotContains(t, m.log(quiet), `"debug":true`)
	}
}

// TestFollowTheLogs: --follow prints lines that come after the call, once.
func TestFollowTheLogs(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	follow := m.start("follow", "logs", "--follow", "--json", "--grep", "agent started",
		"--server", n1.runtime.API, "--credential", m.path("n1", "operator.json"))
	m.agent("a1", "eu", n1)
	m.eventually("the line of the new agent", func() bool { return strings.Contains(m.log("follow"), `"source":"a1"`) })
	m.agent("a2", "eu", n1)
	m.eventually("and that of the next one", func() bool { return strings.Contains(m.log("follow"), `"source":"a2"`) })
	require.Zero(t, follow.stop())
	require.Equal(t, 2, strings.Count(m.log("follow"), "agent started"))
}
