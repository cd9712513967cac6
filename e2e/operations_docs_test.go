package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOperationsDocs types every sh block of the operators' pages into one bash,
// as the quick start says: its own first, then those of the pages that go on
// from its cluster, and at last the one that cleans up.
func TestOperationsDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("founds a cluster, loses it, and gets it back")
	}
	m := newMesh(t) // knows the binary, and the folder
	page := func(name string) []string {
		blocks := shBlocks(t, filepath.Join("..", "docs", "operations", name))
		require.NotEmpty(t, blocks, name)
		return blocks
	}
	quick := page("quickstart.md")
	last := len(quick) - 1
	require.Contains(t, quick[last], "rm -r", "the quick start ends with its clean-up")

	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	add := func(name string, blocks []string) {
		for i, block := range blocks {
			fmt.Fprintf(&script, "echo '== %s, block %d' >&2\n%s\n", name, i+1, block)
		}
	}
	add("quickstart.md", quick[:last])
	for _, name := range []string{"deployment.md", "sizing.md", "network.md", "bandwidth.md", "troubleshooting.md", "upgrade.md", "backup.md"} {
		add(name, page(name))
	}
	add("quickstart.md, the end", quick[last:])

	bin := m.path("bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	require.NoError(t, os.Symlink(m.bin, filepath.Join(bin, "redflag")))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = m.dir
	cmd.Env = []string{"HOME=" + m.dir, "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + m.dir}
	// Not killed at once: the trap ends the nodes and agents first.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoDirExists(t, m.path("redflag-try"), "the clean-up leaves nothing")
}
