package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeyCeremony: two of three people publish and change keys with the binary
// alone; an agent follows through a new root and a new online key.
func TestKeyCeremony(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.first = m.node("n1", "eu")
	m.eventually("the first node makes the keys", func() bool {
		_, _, err := m.try("keys", "init", "--root-keys", "3", "--root-threshold", "2", "--targets-keys", "3", "--targets-threshold", "2")
		return err == nil
	})
	m.run("settings", "set", "poll.idle=1s", "poll.pending=300ms")
	bob := m.path("bob")
	require.NoError(t, os.CopyFS(bob, os.DirFS(m.path("keys"))))
	for dir, others := range map[string]string{m.path("keys"): "23", bob: "13"} {
		for _, other := range others {
			files, err := filepath.Glob(filepath.Join(dir, "keys", "*-"+string(other)+".*"))
			require.NoError(t, err)
			for _, f := range files {
				require.NoError(t, os.Remove(f))
			}
		}
	}
	m.agent("a1", "eu", m.first)

	payload := m.path("app.bin")
	publish := func(version string) {
		t.Helper()
		require.NoError(t, os.WriteFile(payload, []byte("version "+version), 0o600))
		_, errOut, err := m.try("publish", payload, "--name", "app", "--version", version)
		require.Error(t, err)
		require.Contains(t, errOut, "more signatures are needed")
		_, errOut, err = m.try("keys", "push")
		require.Error(t, err)
		require.Contains(t, errOut, "too few keys")
		m.run("keys", "sign", "--keys", bob, "--staged", m.path("keys", "staged"), "--yes")
		m.run("keys", "push")
		require.Equal(t, "done", m.rollOut("--version", version, "--to", "all").State)
	}
	publish("1.0.0")
	m.run("keys", "rotate", "online")
	require.Contains(t, m.run("keys", "status"), "1 of 2")
	m.run("keys", "sign", "--keys", bob, "--staged", m.path("keys", "staged"), "--yes")
	m.run("keys", "push")
	require.NotContains(t, m.run("keys", "status"), "STAGED")
	m.run("keys", "status", "--keys", bob) // brings Bob's metadata up to the new root
	publish("1.1.0")
	require.Contains(t, m.installed("a1"), "1.1.0")
}
