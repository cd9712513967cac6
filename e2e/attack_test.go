package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/p2p"
)

// badPiece is what an agent logs when a piece is not what was signed.
const badPiece = "piece failed its hash"

// payload returns n reproducible bytes that do not compress.
func payload(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = src.Read(b)
	return b
}

// corrupt flips one bit in every piece of the copy of good that id serves.
func (m *mesh) corrupt(id string, good []byte) {
	m.t.Helper()
	files, err := filepath.Glob(m.path(id, "swarm", "*", "data"))
	require.NoError(m.t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(m.t, err)
		if !bytes.Equal(b, good) {
			continue
		}
		for i := 0; i < len(b); i += int(p2p.PieceLengthFor(int64(len(b)))) {
			b[i] ^= 1
		}
		require.NoError(m.t, os.WriteFile(file, b, 0o600))
		return
	}
	m.t.Fatalf("%s serves no such payload", id)
}

// TestPeerTampersWithPayload: a peer that serves changed bytes is found out by
// the piece hash and the right bytes come from elsewhere; when nobody has the
// right bytes, nothing is installed and the old version stays.
func TestPeerTampersWithPayload(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.agent("liar", "eu", n1)
	victim := m.agent("victim", "eu", n1)
	m.eventually("both agents poll", func() bool { return strings.Count(m.run("agents"), " idle ") == 2 })

	good := payload(2, 3<<20)
	m.run("settings", "set", "node.upload_limit=8mbit") // so that it cannot give all before a peer is asked
	m.publish("1.0.0", payload(1, 300<<10))
	m.rollOut("--version", "1.0.0", "--to", "all")
	m.publish("2.0.0", good)
	m.rollOut("--version", "2.0.0", "--to", "agent:liar")
	m.corrupt("liar", good)

	r := m.rollOut("--version", "2.0.0", "--to", "agent:victim")
	require.Equal(t, 1, r.Counts["succeeded"])
	require.Equal(t, string(good), m.installed("victim"))
	require.Contains(t, m.log("victim"), badPiece)

	// Now the node's own copy of a third version is bad as well.
	before := strings.Count(m.log("victim"), badPiece)
	next := payload(3, 1<<20)
	m.publish("3.0.0", next)
	m.corrupt("n1", next)
	var stuck rollout
	m.runJSON(&stuck, "rollout", "create", "app", "--version", "3.0.0", "--to", "agent:victim")
	m.eventually("the victim refuses a piece of the node's", func() bool {
		return strings.Count(m.log("victim"), badPiece) > before
	})
	require.Equal(t, string(good), m.installed("victim"), "the old version runs on")
	require.NotEqual(t, "succeeded", m.command(stuck, "victim").State)
	require.Zero(t, victim.stop(), "an agent in the middle of a download stops cleanly")
}

// TestOlderVersionIsRefused: a command to install what is older than what runs
// is refused; going back is what rollback is for.
func TestOlderVersionIsRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	a := m.agent("a1", "eu", n1)
	first, second := payload(1, 100<<10), payload(2, 100<<10)
	m.publish("1.0.0", first)
	m.publish("2.0.0", second)
	m.eventually("the agent is there", func() bool { return strings.Contains(m.run("agents"), "a1") })
	m.rollOut("--version", "1.0.0", "--to", "all")
	m.rollOut("--version", "2.0.0", "--to", "all")

	r := m.rollOut("--version", "1.0.0", "--to", "all")
	c := m.command(r, "a1")
	require.Equal(t, "failed", c.State)
	require.Equal(t, "downgrade", c.Failure.Class)
	require.Equal(t, string(second), m.installed("a1"))

	r = m.rollOut("--rollback", "--to", "all")
	require.Equal(t, 1, r.Counts["succeeded"]+r.Counts["rolled_back"])
	require.Equal(t, string(first), m.installed("a1"))

	a.kill()
	a.start()
	m.eventually("the agent is back after kill -9 without its token", func() bool {
		return strings.Count(m.log("a1"), "agent started") == 2 && strings.Contains(m.run("agents", "a1", "--json"), `"version": "1.0.0"`)
	})
	require.Zero(t, a.stop())
	require.Zero(t, m.first.stop())
}

// TestBadInput: each mistake gets its own exit code, says what to do next, and
// changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n1 := m.found()
	m.publish("1.0.0", payload(1, 64<<10))
	before := m.run("artifacts", "--json")
	empty := m.path("empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	large := m.path("large")
	require.NoError(t, os.WriteFile(large, payload(1, 2<<20), 0o600))
	m.run("settings", "set", "payload.max_size=1MiB")

	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"rollout create app --version 1.0.0 --to everyone", 2, "use all, region:NAME"},
		{"rollout create app --version 9.9.9 --to all", 3, "9.9.9"},
		{"rollout create app --version 1.0.0 --to region:mars", 2, "next:"},
		{"publish " + m.path("missing") + " --name app --version 2.0.0", 2, "next:"},
		{"publish " + empty + " --name app --version 2.0.0", 2, "empty"},
		{"publish " + large + " --name app --version 2.0.0", 1, "payload.max_size"},
		{"publish " + large + " --name ../app --version 2.0.0", 2, "not a valid name"},
		{"settings set poll.idle=1ns", 2, "minimum"},
		{"settings set nonsense=1", 2, "redflag settings"},
		{"agents nobody", 3, "redflag agents"},
		{"rollout show nothing", 3, "redflag rollout list"},
		{"commands --state dreaming", 2, "use one of"},
		{"agents --credential " + empty, 2, "credential"},
		{"agents --bogus", 2, "--help"},
		{"agent --data-dir " + m.path("x") + " --region eu --node " + n1.runtime.Mesh + " --token rf1.wrong", 2, "token"},
	} {
		out, errOut, err := m.try(strings.Fields(tc.args)...)
		require.Error(t, err, tc.args)
		require.Contains(t, err.Error(), "exit status "+string(rune('0'+tc.code)), "%s\n%s%s", tc.args, out, errOut)
		require.Contains(t, errOut, tc.says, tc.args)
	}
	require.Equal(t, before, m.run("artifacts", "--json"), "nothing changed")
}

// TestPublishingAgainIsHarmless: a repeat after a lost answer changes nothing
// and leaves the way free for the next version; other content under the same
// version is refused.
func TestPublishingAgainIsHarmless(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.found()
	first := payload(1, 100<<10)
	m.publish("1.0.0", first)
	m.publish("1.0.0", first)
	m.publish("1.1.0", payload(2, 100<<10))
	require.NoError(t, os.WriteFile(m.path("app.bin"), payload(3, 100<<10), 0o600))
	_, errOut, err := m.try("publish", m.path("app.bin"), "--name", "app", "--version", "1.0.0")
	require.ErrorContains(t, err, "exit status 1")
	require.Contains(t, errOut, "new version")
	m.publish("1.2.0", payload(3, 100<<10))
	var artifacts []struct{ Version string }
	m.runJSON(&artifacts, "artifacts")
	require.Len(t, artifacts, 3)
}
