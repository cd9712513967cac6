package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBundle: releases of one cluster go on a disk into another, which has no
// way to it, and are installed there under its own keys; a bundle that somebody
// changed on the way is refused before anything is signed.
func TestBundle(t *testing.T) {
	if testing.Short() {
		t.Skip("two clusters of real processes")
	}
	t.Parallel()
	here, there := newMesh(t), newMesh(t)
	here.found()
	n1 := there.found()
	there.agent("a1", "eu", n1)
	good := payload(7, 2<<20)
	here.publish("1.0.0", payload(6, 300<<10))
	file := here.path("app.bin")
	require.NoError(t, os.WriteFile(file, good, 0o600))
	here.run("publish", file, "--name", "app", "--version", "2.0.0", "--os", "linux")

	bundle := here.path("release.tar")
	out := here.run("bundle", "export", bundle, "--only", "app/2.0.0")
	_, root, ok := strings.Cut(out, "--root ")
	require.True(t, ok, out)
	var keys struct{ Root string }
	here.runJSON(&keys, "keys", "status")
	require.Equal(t, keys.Root, root)

	raw, err := os.ReadFile(bundle)
	require.NoError(t, err)
	at := bytes.Index(raw, good[1<<20:1<<20+64])
	require.Positive(t, at)
	raw[at] ^= 1
	spoilt := there.path("spoilt.tar")
	require.NoError(t, os.WriteFile(spoilt, raw, 0o600))
	_, errOut, err := there.try("bundle", "import", spoilt, "--root", root)
	require.Error(t, err)
	require.Contains(t, errOut, "wrong hash")
	_, errOut, err = there.try("bundle", "import", bundle, "--root", strings.Repeat("0", 64))
	require.Error(t, err)
	require.Contains(t, errOut, "first root has hash")
	require.NotContains(t, there.run("artifacts"), "2.0.0")

	require.Contains(t, there.run("bundle", "import", bundle, "--root", root), "app 2.0.0 is published")
	there.run("bundle", "import", bundle, "--root", root) // once more is fine
	require.NotContains(t, there.run("artifacts"), "1.0.0", "it was not asked for")
	require.Equal(t, "done", there.rollOut("--version", "2.0.0", "--to", "all").State)
	require.Equal(t, string(good), there.installed("a1"))
	require.Contains(t, here.run("audit", "--action", "GET /v1/payloads"), "app 2.0.0")
}
