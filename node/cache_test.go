package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/p2p"
)

// bring publishes a version of app from this node, as an upload does.
func (r *running) bring(version string, size int) (api.Artifact, []byte) {
	r.t.Helper()
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%32s", version)))).Read(content)
	torrent, err := p2p.MakeTorrent(bytes.NewReader(content), int64(size))
	require.NoError(r.t, err)
	file := filepath.Join(r.node.path("swarm"), "upload")
	require.NoError(r.t, os.WriteFile(file, content, 0o600))
	require.NoError(r.t, r.node.swarm.Import(torrent, file))
	require.NoError(r.t, r.node.swarm.Seed(torrent.InfoHash, r.node.payloads.announce))
	a := api.Artifact{
		Name: "app", Version: version, Length: int64(size), SHA256: fmt.Sprintf("%064x", torrent.InfoHash)[:64],
		InfoHash: torrent.InfoHash, PieceLength: torrent.PieceLength, OriginNode: r.node.cfg.ID,
	}
	meta := state.Metadata{Version: int64(len(r.node.state().Artifacts()) + 1), Bytes: []byte("{}")}
	_, err = r.node.propose(r.t.Context(), state.TypePublishArtifact, state.PublishArtifact{
		Artifact: a, Targets: meta, Snapshot: meta, Timestamp: meta,
	})
	require.NoError(r.t, err)
	return a, content
}

// TestCacheQuota has two nodes with room for a part of what is published.
func TestCacheQuota(t *testing.T) {
	const size = 1 << 20
	n1 := start(t)
	n2 := n1.join("n2", func(*Config) {})
	_, err := n1.enrol("a1", n1.token(agentToken))
	require.NoError(t, err)
	var all []api.Artifact
	contents := map[string][]byte{}
	for i := range 6 {
		a, content := n1.bring(fmt.Sprintf("1.%d.0", i), size)
		all = append(all, a)
		contents[a.InfoHash] = content
	}
	both := []*running{n1, n2}
	require.True(t, eventually(func() bool { return len(n2.node.swarm.Complete()) == len(all) }), "without a quota each node has everything")

	// The oldest is the one that a rollout needs: it is used least and stays.
	old := all[0]
	for _, n := range both {
		for i, a := range all {
			require.NoError(t, n.node.swarm.Use(a.InfoHash, time.Now().Add(time.Duration(i-100)*time.Hour)))
		}
	}
	n1.do("/v1/rollouts", api.CreateRolloutRequest{
		ID: "r1", Kind: api.KindInstall, Artifact: old.Name, Version: old.Version, Selector: api.Selector{All: true},
	}, nil)
	const quota = 3*size + size/2
	n1.set(map[api.SettingKey]string{api.SettingNodeCacheQuota: fmt.Sprint(quota)})
	kept := map[string]int{"n1": 1, "n2": 1} // by node: old, and what it keeps for the others
	for _, a := range all[1:] {
		kept[keeper(a.InfoHash, []string{"n1", "n2"})]++
	}
	for _, n := range both {
		id := n.node.cfg.ID
		want := max(kept[id], quota/size)
		require.True(t, eventually(func() bool { return len(n.node.swarm.Complete()) == want }), "%s keeps %d: %v", id, want, n.node.swarm.Complete())
		require.True(t, n.node.swarm.Has(old.InfoHash), "%s keeps what a rollout needs", id)
		if kept[id]*size > quota {
			require.Contains(t, n.becomes("swarm", api.StatusWarn).Detail, "more than node.cache_quota")
		} else {
			n.becomes("swarm", api.StatusOK)
		}
	}
	for _, a := range all {
		require.True(t, n1.node.swarm.Has(a.InfoHash) || n2.node.swarm.Has(a.InfoHash), "somebody has %s", a.Version)
	}
	require.Contains(t, n1.scrape(), fmt.Sprintf("redflag_payload_quota_bytes %g", float64(quota)))

	// A rollout brings back what was evicted, and other payloads make room.
	gone, from := api.Artifact{}, n2
	for _, a := range all {
		for _, n := range both {
			if !n.node.swarm.Has(a.InfoHash) {
				gone, from = a, n
			}
		}
	}
	require.NotEmpty(t, gone.InfoHash)
	n1.do("/v1/rollouts", api.CreateRolloutRequest{
		ID: "r2", Kind: api.KindInstall, Artifact: gone.Name, Version: gone.Version, Selector: api.Selector{All: true},
	}, nil)
	require.True(t, eventually(func() bool { return from.node.swarm.Has(gone.InfoHash) }), "%s is back on %s", gone.Version, from.node.cfg.ID)
	f, err := from.node.swarm.Open(gone.InfoHash)
	require.NoError(t, err)
	defer f.Close()
	var got bytes.Buffer
	_, err = got.ReadFrom(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(contents[gone.InfoHash], got.Bytes()))
}

func TestKeeperOfAllIsKeeperOfEveryPart(t *testing.T) {
	nodes := []string{"n1", "n2", "n3", "n4"}
	for i := range 100 {
		hash := fmt.Sprint(i)
		first := keeper(hash, nodes)
		for part := 1; part < 1<<len(nodes); part++ {
			var seen []string
			has := false
			for k, id := range nodes {
				if part&(1<<k) != 0 {
					seen = append(seen, id)
					has = has || id == first
				}
			}
			if has {
				require.Equal(t, first, keeper(hash, seen))
			}
		}
	}
}
