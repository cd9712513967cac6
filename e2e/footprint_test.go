package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/bench/row"
)

// The footprint that small machines can rely on, in bytes of memory that is the
// process's own. Pages of the binary are not: the kernel maps in as much of them
// as its cache happens to hold side by side, and takes them back when it likes.
const (
	idleNode  = 32 << 20
	idleAgent = 16 << 20
)

// TestIdleFootprint: a node and an agent with nothing to do fit a small
// machine, also after an install.
func TestIdleFootprint(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("resident memory is read from /proc, which this system lacks")
	}
	m := newMesh(t)
	n1 := m.found()
	a1 := m.agent("a1", "eu", n1)
	m.publish("1.0.0", payload(1, 4<<20))
	m.eventually("the agent polls", func() bool { return strings.Contains(m.run("agents"), " idle ") })
	m.rollOut("--version", "1.0.0", "--to", "all")
	m.eventually("the node shrinks to its idle size", func() bool { return ownMemory(t, n1) < idleNode })
	m.eventually("the agent shrinks to its idle size", func() bool { return ownMemory(t, a1) < idleAgent })
	t.Logf("node %d MiB, agent %d MiB", ownMemory(t, n1)>>20, ownMemory(t, a1)>>20)
	require.NoError(t, row.Add("idle node, without its binary", float64(ownMemory(t, n1)>>20), "MiB", ""))
	require.NoError(t, row.Add("idle agent, without its binary", float64(ownMemory(t, a1)>>20), "MiB", ""))
}

func ownMemory(t *testing.T, p *proc) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	var kib int64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib << 10
}
