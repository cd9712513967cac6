package node

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/p2p"
)

// published puts content into the store and the state as one artifact, as
// publishing does, without signatures.
func (r *running) published(name, version string, content []byte) api.Artifact {
	r.t.Helper()
	torrent, err := p2p.MakeTorrent(bytes.NewReader(content), int64(len(content)))
	require.NoError(r.t, err)
	path := filepath.Join(r.node.uploadsDir(), torrent.InfoHash)
	require.NoError(r.t, os.WriteFile(path, content, 0o600))
	require.NoError(r.t, r.node.swarm.Import(torrent, path))
	meta := state.Metadata{Version: 1, Bytes: []byte("{}")}
	a := api.Artifact{
		Name: name, Version: version, Length: torrent.Length, SHA256: hex.EncodeToString(make([]byte, 32)),
		InfoHash: torrent.InfoHash, PieceLength: torrent.PieceLength, OriginNode: r.node.cfg.ID,
	}
	_, err = r.node.propose(r.t.Context(), state.TypePublishArtifact, state.PublishArtifact{
		Artifact: a, Targets: meta, Snapshot: meta, Timestamp: meta,
	})
	require.NoError(r.t, err)
	return a
}

func TestPlainModeNeedsFlagAndSetting(t *testing.T) {
	t.Parallel()
	without := start(t)
	without.set(map[api.SettingKey]string{api.SettingSwarmPlain: "true"})
	r := startWith(t, func(c *Config) { c.PlainListen = "127.0.0.1:0" })
	a := r.published("app", "1", bytes.Repeat([]byte("payload"), 1000))
	require.Empty(t, r.node.plain.announceURL(), "the setting is off")

	r.set(map[api.SettingKey]string{api.SettingSwarmPlain: "true"})
	require.True(t, eventually(func() bool { return r.node.plain.announceURL() != "" }))
	require.Empty(t, without.node.plain.announceURL(), "it has no flag")
	at, err := url.Parse(r.node.plain.announceURL())
	require.NoError(t, err)
	ask := func(infoHash string) string {
		hash, err := hex.DecodeString(infoHash)
		require.NoError(t, err)
		q := url.Values{"info_hash": {string(hash)}, "peer_id": {"-XX0001-abcdefghijkl"}, "port": {"6881"}, "left": {"7"}}
		resp, err := http.Get(at.String() + "?" + q.Encode())
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(b)
	}
	require.Contains(t, ask(a.InfoHash), "8:completei1e10:incompletei1e")
	require.Contains(t, ask("00"+a.InfoHash[2:]), "failure reason")
	require.Empty(t, r.node.tracker.Members(a.InfoHash, "eu", r.node.startedAt), "a plain peer is in no table of the mesh")
	require.Empty(t, r.node.swarmHere(a.InfoHash)[r.node.cfg.ID].Peers)
	require.Contains(t, r.scrape(), "redflag_plain_announces_total 1\n")

	torrent := "/v1/artifacts/app/1/torrent"
	_, b := r.ask(http.MethodGet, torrent, nil)
	mi, err := metainfo.Load(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, a.InfoHash, mi.HashInfoBytes().HexString(), "the info hash is the signed one")
	require.Equal(t, r.node.plain.announceURL(), mi.Announce)

	r.set(map[api.SettingKey]string{api.SettingSwarmPlain: "false"})
	require.True(t, eventually(func() bool {
		c, err := net.Dial("tcp", at.Host)
		if err == nil {
			c.Close()
		}
		return err != nil
	}), "nothing listens any more")
	require.Zero(t, r.node.plain.server.Stats().Listed)

	resp, b := r.ask(http.MethodGet, torrent, nil)
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, string(b), "the setting swarm.plain is off")
	resp, b = r.ask(http.MethodGet, torrent+"?tracker=http://tracker.example.org/announce", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", b)
	require.Contains(t, string(b), "35:http://tracker.example.org/announce")
	resp, _ = r.ask(http.MethodGet, torrent+"?tracker=file:///etc/passwd", nil)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}
