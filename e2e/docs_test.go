package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shBlocks returns what stands in the sh blocks of a document.
func shBlocks(t *testing.T, file string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		blocks = append(blocks, string(m[1]))
	}
	return blocks
}

// TestSecurityDoc runs every command of docs/security.md, in order, against three
// nodes and two agents.
func TestSecurityDoc(t *testing.T) {
	if testing.Short() {
		t.Skip("every ceremony takes its while")
	}
	t.Parallel()
	blocks := shBlocks(t, "../docs/security.md")
	require.Greater(t, len(blocks), 10)
	m := newMesh(t)
	m.first = m.node("n1", "eu")
	token := m.run("token", "create", "--kind", "node", "--seats", "2")
	m.node("n2", "us", "--join", m.first.runtime.Mesh, "--token", token)
	m.node("n3", "ap", "--join", m.first.runtime.Mesh, "--token", token)
	m.eventually("three nodes vote", func() bool { return m.voters(m.first) == 3 })
	m.run("settings", "set", "poll.idle=1s")
	require.NoError(t, os.Symlink(m.bin, m.path("redflag")))
	require.NoError(t, os.WriteFile(m.path("app.bin"), []byte("an application"), 0o600))

	for i, block := range blocks {
		// Variables go from block to block.
		script := "set -euo pipefail\ntouch vars\n. ./vars\n" + block + "\ndeclare -p gone root > vars 2>/dev/null || true\n"
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = m.dir
		cmd.Env = append(os.Environ(), "PATH="+m.dir+":"+os.Getenv("PATH"),
			"REDFLAG_CREDENTIAL="+m.path("n1", "operator.json"), "REDFLAG_PLAIN_KEYS=true")
		out, err := cmd.CombinedOutput()
		cancel()
		require.NoError(t, err, "block %d of docs/security.md:\n%s\n%s", i+1, block, out)
		if strings.Contains(block, "agents.token") {
			text, err := os.ReadFile(filepath.Join(m.dir, "agents.token"))
			require.NoError(t, err)
			for _, id := range []string{"a1", "a2"} {
				m.start(id, "agent", "--id", id, "--region", "eu", "--data-dir", m.path(id),
					"--node", m.first.runtime.Mesh, "--swarm-listen", "127.0.0.1:0", "--token", strings.TrimSpace(string(text)))
			}
			m.eventually("two agents poll", func() bool { return strings.Count(m.run("agents"), " idle ") == 2 })
		}
	}
}
