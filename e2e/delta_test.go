package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is 1 MiB that changes a little from version to version: half of it
// can be packed, half cannot.
func program(version byte) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 512<<10)
	_, _ = r.Read(b)
	for i := 0; i < len(b); i += 5000 {
		b[i] ^= version
	}
	for len(b) < 1<<20 {
		b = fmt.Appendf(b, "line %d of the text of this program\n", len(b))
	}
	return b
}

type artifact struct {
	Length int64 `json:"length"`
	Coding *struct {
		Method string `json:"method"`
		Length int64  `json:"length"`
	} `json:"coding"`
	Deltas []struct {
		FromVersion string `json:"from_version"`
		Length      int64  `json:"length"`
	} `json:"deltas"`
}

type transfer struct {
	Transfer struct {
		FromPeers    int64 `json:"from_peers"`
		FromNodes    int64 `json:"from_nodes"`
		FromFallback int64 `json:"from_fallback"`
		Saved        int64 `json:"saved"`
	} `json:"transfer"`
}

func (x transfer) fetched() int64 {
	return x.Transfer.FromPeers + x.Transfer.FromNodes + x.Transfer.FromFallback
}

// update publishes a file, rolls it out and returns what the agent fetched.
func (m *mesh) update(name, version, file string, flags ...string) (a artifact, x transfer) {
	m.t.Helper()
	m.run(append([]string{"publish", file, "--name", name, "--version", version}, flags...)...)
	m.runJSON(&a, "artifacts", "show", name, version)
	var r rollout
	m.runJSON(&r, "rollout", "create", name, "--version", version, "--to", "all")
	m.eventually("rollout "+r.ID+" ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	require.Equal(m.t, 1, r.Counts["succeeded"], m.log("a1"))
	m.runJSON(&x, "commands", r.ID+":a1")
	return a, x
}

func TestDelta(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.agent("a1", "eu", m.found())
	file := m.path("app.bin")
	put := func(version byte) {
		require.NoError(t, os.WriteFile(file, program(version), 0o600))
	}

	put(1)
	whole, x := m.update("app", "1.0", file)
	require.NotNil(t, whole.Coding, "half of it can be packed")
	require.Equal(t, "zstd", whole.Coding.Method)
	require.Empty(t, whole.Deltas)
	require.Equal(t, string(program(1)), m.installed("a1"))
	require.Equal(t, whole.Length, x.fetched())
	require.Equal(t, int64(len(program(1)))-whole.Length, x.Transfer.Saved)

	put(2)
	second, x := m.update("app", "2.0", file)
	require.Len(t, second.Deltas, 1)
	require.Equal(t, "1.0", second.Deltas[0].FromVersion)
	require.Less(t, second.Deltas[0].Length, second.Length/20)
	require.Equal(t, second.Deltas[0].Length, x.fetched(), "the delta and nothing else")
	require.Equal(t, string(program(2)), m.installed("a1"))
	require.Contains(t, m.run("artifacts", "show", "app", "2.0"), "delta")

	// Somebody changes what is installed: no delta can start from there.
	require.NoError(t, os.WriteFile(filepath.Join(m.path("a1", "artifacts", "app", "versions", "2.0"), "app.bin"), program(9), 0o600))
	put(3)
	third, x := m.update("app", "3.0", file)
	require.Len(t, third.Deltas, 1)
	require.Equal(t, third.Length, x.fetched(), "the whole payload")
	require.Equal(t, string(program(3)), m.installed("a1"))
	require.Contains(t, m.log("a1"), "delta not used")

	// The same again, with a delta from an older version, changes nothing else.
	m.run("publish", file, "--name", "app", "--version", "3.0", "--delta-from", "1.0")
	m.runJSON(&third, "artifacts", "show", "app", "3.0")
	require.Len(t, third.Deltas, 2)
}

// An archive is unpacked, so that what a delta made has to be kept for the
// next one.
func TestDeltaOfArchives(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.agent("a1", "eu", m.found())
	file := m.path("site.tar")
	var sums []string
	for i, version := range []string{"1.0", "2.0", "3.0"} {
		require.NoError(t, os.WriteFile(file, tarOf(t, program(byte(i))), 0o600))
		a, x := m.update("site", version, file, "--type", "archive")
		got, err := os.ReadFile(m.path("a1", "artifacts", "site", "current", "bin", "program"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(program(byte(i)), got))
		if i == 0 {
			continue
		}
		require.Equal(t, a.Deltas[0].Length, x.fetched())
		kept, err := os.ReadDir(m.path("a1", "contents"))
		require.NoError(t, err)
		require.Len(t, kept, 1, "what the next delta starts from, and nothing more")
		sums = append(sums, kept[0].Name())
	}
	require.NotEqual(t, sums[0], sums[1])
	require.NotContains(t, strings.Join(sums, " "), ".half")
}

func tarOf(t *testing.T, program []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "bin/program", Mode: 0o755, Size: int64(len(program))}))
	_, err := w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}
