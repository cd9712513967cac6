package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/bench/row"
)

// peakOfAgent bounds what an agent may ever hold of a payload of any size, and
// peakOfNode the same for the node that takes it in, in MB.
const (
	peakOfAgent = 128
	peakOfNode  = 256
)

// TestPayloadMemory fetches a large payload with a real agent. make
// bench-memory does it with 1 GiB.
func TestPayloadMemory(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !strings.Contains(string(status), "VmHWM") {
		t.Skip("this system does not say how much memory a process had")
	}
	mib := int64(96)
	if s := os.Getenv("REDFLAG_MEMORY_MIB"); s != "" {
		mib, err = strconv.ParseInt(s, 10, 64)
		require.NoError(t, err)
	} else if testing.Short() {
		t.Skip("a large payload takes a while")
	}
	m := newMesh(t)
	agent := m.agent("a1", "eu", m.found())
	file := m.path("app.bin")
	out, err := os.Create(file)
	require.NoError(t, err)
	_, err = io.CopyN(out, rand.NewChaCha8([32]byte{7}), mib<<20)
	require.NoError(t, err)
	require.NoError(t, out.Close())

	a, x := m.update("app", "1.0", file)
	require.Equal(t, mib<<20, a.Length, "what is random is not packed")
	require.GreaterOrEqual(t, x.fetched(), a.Length)
	ofAgent, ofNode := peakMemory(t, agent.cmd.Process.Pid), peakMemory(t, m.first.cmd.Process.Pid)
	fmt.Printf("payload %d MiB: peak of the agent %d MB, of the node %d MB\n", mib, ofAgent, ofNode)
	require.NoError(t, row.Add(fmt.Sprintf("agent that fetches %d MiB, peak", mib), float64(ofAgent), "MB", "≤ 128"))
	require.NoError(t, row.Add("node that serves it, peak", float64(ofNode), "MB", ""))
	require.LessOrEqual(t, ofAgent, int64(peakOfAgent))
	require.LessOrEqual(t, ofNode, int64(peakOfNode))
}

// peakMemory is the most that a process had in memory, in MB.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
			require.NoError(t, err)
			return n * 1024 / 1_000_000
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
