package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDelegation: a product's own key publishes the product and an agent installs
// it; outside its paths the node refuses it, and taken away it counts no more. That
// an agent refuses the same from a node that lets it in is a row of trust/attack.
func TestDelegation(t *testing.T) {
	if testing.Short() {
		t.Skip("several rollouts with real processes")
	}
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.agent("a1", "eu", n1)
	dev := m.path("dev")
	m.run("keys", "new", "dev", "--keys", dev)
	m.run("keys", "delegate", "app", "--public-key", filepath.Join(dev, "keys", "dev.pub"))
	for _, f := range []string{"1.root.json", "root.json", "targets.json"} {
		b, err := os.ReadFile(m.path("keys", f))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dev, f), b, 0o600))
	}
	file := m.path("app.bin")
	publish := func(name, version string, how ...string) error {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(name+" "+version), 0o600))
		_, errOut, err := m.try(append([]string{"publish", file, "--name", name, "--version", version}, how...)...)
		if err != nil {
			t.Log(errOut)
		}
		return err
	}
	byDev := []string{"--role", "app", "--keys", dev}
	require.NoError(t, publish("app", "1.0.0", byDev...))
	require.NoError(t, publish("app", "1.1.0", byDev...))
	require.Equal(t, "done", m.rollOut("--version", "1.1.0", "--to", "all").State)
	require.Equal(t, "app 1.1.0", m.installed("a1"))
	require.Error(t, publish("tools", "1.0.0", byDev...), "its own tool refuses it")
	require.Error(t, publish("app", "1.2.0", "--keys", dev), "it is no key of targets")

	// By hand, as a thief would: what the key has signed rightly, as another role's
	// and as targets.
	signed, err := os.ReadFile(filepath.Join(dev, "roles", "app.json"))
	require.NoError(t, err)
	for _, role := range []string{"", "tools"} {
		require.Contains(t, m.post("/v1/artifacts", map[string]any{"name": "app", "version": "1.1.0", "targets": signed, "role": role}), "is refused", role)
	}

	status := keysStatus(m)
	require.Equal(t, []string{"app/*"}, status["app"].Paths)
	require.Equal(t, int64(2), status["app"].Cluster)
	require.Empty(t, status["app"].Problem)
	require.NotZero(t, status["app"].Expires)

	bundle := m.path("release.tar")
	require.Contains(t, m.run("bundle", "export", bundle, "--only", "app/1.1.0"), "app/1.1.0")

	m.run("keys", "renew", "app", "--keys", dev)
	require.Equal(t, int64(3), keysStatus(m)["app"].Cluster)

	// The key is stolen: another takes its place, and publishes anew.
	require.NoError(t, publish("app", "1.2.0", byDev...))
	m.run("keys", "delegate", "app", "--name", "app-2")
	m.run("keys", "revoke", status["app"].Keys[0])
	require.NotEmpty(t, keysStatus(m)["app"].Problem)
	require.Error(t, publish("app", "6.6.6", byDev...), "the key was taken away")
	r := m.rollOut("--version", "1.2.0", "--to", "all", "--no-retry")
	require.Equal(t, "failed", m.command(r, "a1").State)
	require.Contains(t, m.command(r, "a1").Failure.Message, "not signed by the trusted keys")
	require.Equal(t, "app 1.1.0", m.installed("a1"))
	require.NoError(t, publish("app", "1.3.0", "--role", "app"))
	require.Equal(t, "done", m.rollOut("--version", "1.3.0", "--to", "all").State)
	m.run("keys", "rotate", "app")
	require.NoError(t, publish("app", "1.4.0", "--role", "app"))
	require.Equal(t, "done", m.rollOut("--version", "1.4.0", "--to", "all").State)
	require.Equal(t, "app 1.4.0", m.installed("a1"))

	// The bundle goes into another cluster, under that one's keys.
	there := newMesh(t)
	there.found()
	var keys struct{ Root string }
	m.runJSON(&keys, "keys", "status")
	require.Contains(t, there.run("bundle", "import", bundle, "--root", keys.Root), "app 1.1.0 is published")

	m.run("keys", "delegate", "app", "--remove")
	require.NotContains(t, keysStatus(m), "app")
	require.Error(t, publish("app", "1.5.0", "--role", "app"))
}

type roleStatus struct {
	Role, Problem, Expires string
	Keys, Paths            []string
	Cluster                int64 `json:"cluster_version"`
}

func keysStatus(m *mesh) map[string]roleStatus {
	m.t.Helper()
	var out struct{ Roles []roleStatus }
	m.runJSON(&out, "keys", "status")
	roles := map[string]roleStatus{}
	for _, r := range out.Roles {
		roles[r.Role] = r
	}
	return roles
}

// post sends a request that no command of ours would, and returns the answer.
func (m *mesh) post(path string, body any) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path("n1", "operator.json"))
	require.NoError(m.t, err)
	var cred struct{ Token string }
	require.NoError(m.t, json.Unmarshal(b, &cred))
	text, err := json.Marshal(body)
	require.NoError(m.t, err)
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.first.runtime.API+path, bytes.NewReader(text))
	require.NoError(m.t, err)
	req.Header.Set("Authorization", "Bearer "+cred.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(m.t, err)
	defer resp.Body.Close()
	var answer bytes.Buffer
	_, err = answer.ReadFrom(resp.Body)
	require.NoError(m.t, err)
	return answer.String()
}
